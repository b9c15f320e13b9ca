"""See what a saved neural network computes, from a shell."""

from actviz.version import VERSION as __version__

__all__ = ["__version__"]
