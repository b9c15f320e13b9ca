"""The commands without their command line: a request in, events out."""
