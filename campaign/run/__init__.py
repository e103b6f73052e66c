"""Running units: batch by batch, in this process or in others, to the end or until enough is known."""
