"""See what a saved neural network computes, from a shell."""

from actviz.version import VERSION

__version__ = VERSION

__all__ = ["__version__"]
