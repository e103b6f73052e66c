"""One file per kind of thing that is read, with a class for each reader."""
