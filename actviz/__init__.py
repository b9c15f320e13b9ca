"""See what a saved neural network computes, from a shell or from Python.

From Python::

    network = actviz.open("sample_models/digits_cnn.h5")
    digits = actviz.preprocess("sample_models/seven.png", network)
    activations = network.activations(digits, ["conv"])
    figure = actviz.draw(activations["conv"])

`open` opens a model as a `Network`, `preprocess` reads inputs for it, `draw` draws an
`Activation` in a `Style` with a `Context`, `explain` returns heat maps, `top` the inputs on
which channels are strongest, `save` and `load` keep activations in files.
Errors are in `actviz.errors`. The guide is printed by ``actviz help``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actviz.version import VERSION

if TYPE_CHECKING:
    from actviz.api import (
        Activation,
        Context,
        Network,
        Style,
        draw,
        explain,
        load,
        open,  # noqa: A004  (actviz.open reads as what it does)
        preprocess,
        save,
        top,
    )

__version__ = VERSION

__all__ = [
    "Activation",
    "Context",
    "Network",
    "Style",
    "__version__",
    "draw",
    "explain",
    "load",
    "open",
    "preprocess",
    "save",
    "top",
]


def __getattr__(name: str) -> Any:
    """Import the Python interface on first use, so that the command line starts without it."""
    if name not in __all__:
        message = f"module 'actviz' has no attribute {name!r}"
        raise AttributeError(message)
    from actviz import api

    return getattr(api, name)


def __dir__() -> list[str]:
    """Return the public names, also those that are imported on first use, without what this file imports for itself."""
    return sorted({*(name for name in globals() if name.startswith("__") or name == "errors"), *__all__})
