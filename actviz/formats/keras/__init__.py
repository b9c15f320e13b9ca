"""Keras files of every version: read, checked, flattened to a graph of layer calls, and run."""
