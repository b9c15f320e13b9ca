"""Heat maps: which part of an input a score depends on; one module for each method."""
