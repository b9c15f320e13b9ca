"""`actviz.draw`: the figure of an activation as a PIL image."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING

from actviz.api.arguments import check_type, python_errors
from actviz.records import Activation, Context, Style

if TYPE_CHECKING:
    from PIL.Image import Image


@python_errors()
def draw(activation: Activation, index: int = 0, style: Style | None = None, context: Context | None = None) -> Image:
    """Draw the output of a layer for one sample of its batch, as `actviz show` does.

    Parameters
    ----------
    activation
        A value of the dictionary that `Network.activations` returns.
    index
        Index along the batch axis.
    style
        Scale, colors, channels and layout; default: as on the command line. The scale
        ``run`` needs the `ranges` of the layers.
    context
        Names of the model and the input for the caption.

    Raises
    ------
    TypeError, IndexError
        When it is no `Activation`, or has no sample of that index.
    UsageError
        When no renderer supports these axes, or the style does not fit the activation.
    InputError
        When the file that the scale names was not written by actviz.
    """
    hint = 'draw a value of the dictionary, such as activations["conv"]' if isinstance(activation, dict) else ""
    check_type(activation, Activation, "activation", "an Activation", hint)
    check_type(index, numbers.Integral, "index", "a whole number")
    if style is not None:
        check_type(style, Style, "style", "an actviz.Style", "such as actviz.Style(dark=True)")
        for name in ("top", "columns", "zoom"):
            if getattr(style, name) is not None:
                check_type(getattr(style, name), numbers.Integral, f"style.{name}", "a whole number")
    if context is not None:
        check_type(context, Context, "context", "an actviz.Context")
    size = activation.values.shape[0] if activation.values.ndim else 0
    if not -size <= index < size:
        message = f"index: {index} is not in the batch of {size}."
        raise IndexError(message)
    from PIL import Image

    from actviz.batch import color_ranges
    from actviz.figures import renderers

    caption = context or Context(model="", input=f"sample {index}", fed="")
    return Image.fromarray(
        renderers.draw(activation, index, caption, color_ranges.with_known_ranges(style or Style())).pixels
    )
