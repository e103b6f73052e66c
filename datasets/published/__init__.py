"""Published data sets under their names, in the layouts in which people have them."""
