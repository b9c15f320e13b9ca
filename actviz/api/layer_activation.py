"""Activations as Python users and notebooks expect them: arrays, labelled arrays and figures."""

from __future__ import annotations

import io
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from actviz.api.arguments import library_missing
from actviz.api.drawing import draw
from actviz.errors import ActvizError, escape
from actviz.records import Activation, Style

if TYPE_CHECKING:
    import numpy as np
    import xarray
    from numpy.typing import DTypeLike, NDArray

MAXIMUM_SIDE = 1600
"""Largest width and height in pixels of a figure in a notebook."""
MAXIMUM_CHANNELS = 128
"""Largest number of maps in it: more would be too small to be read at that size."""


class LayerActivation(Activation):
    """An `Activation` that is an array to NumPy, and its figure in a notebook.

    ``np.asarray(activation)`` are its `values`, with the batch axis first.
    """

    __slots__ = ()

    @classmethod
    def of(cls, activation: Activation) -> LayerActivation:
        """Return an activation as this class, with the same values."""
        return cls(**{field.name: getattr(activation, field.name) for field in fields(Activation)})

    def __repr__(self) -> str:
        """Return the layer, its class, and dtype, shape and axes of the values, on one line."""
        shape = ", ".join(f"{axis} {size}" for axis, size in zip(self.axes, self.shape, strict=False))
        return f"<actviz activation {escape(self.address)}: {escape(self.kind)}, {self.dtype} ({shape})>"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the values, batch axis first."""
        return tuple(self.values.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the values."""
        dtype: np.dtype[Any] = self.values.dtype
        return dtype

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: FBT001  (as NumPy calls it)
        """Return the values, copied only where the dtype or `copy` requires it."""
        import numpy as np

        return np.array(self.values, dtype=dtype, copy=copy)  # type: ignore[call-overload, no-any-return, unused-ignore]  # NumPy 1 has no type for None

    def to_xarray(self) -> xarray.DataArray:
        """Return the values as a DataArray with named axes, called by the address of the layer.

        Raises
        ------
        ImportError
            When xarray is not installed.
        """
        try:
            import xarray
        except ImportError as failure:
            raise library_missing("to_xarray", "xarray") from failure
        return xarray.DataArray(self.values, dims=self.axes, name=self.address, attrs={"layer_class": self.kind})

    def _repr_png_(self) -> bytes | None:
        """Return the figure of the first sample, at most `MAXIMUM_SIDE` pixels wide and high; None if there is none."""
        maps = self.axes == ("batch", "row", "column", "channel") and self.shape[-1] > MAXIMUM_CHANNELS
        try:
            image = draw(self, 0, Style(channels=f"0:{MAXIMUM_CHANNELS}" if maps else None))
        except (ActvizError, IndexError):  # no sample, text, or too large: a notebook then shows the repr
            return None
        image.thumbnail((MAXIMUM_SIDE, MAXIMUM_SIDE))
        file = io.BytesIO()
        image.save(file, "PNG")
        return file.getvalue()
