"""Counting weights that are no numbers, which a model computes nothing useful with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(slots=True)
class NonfiniteCount:
    """How many of the numbers read since the last question are NaN or infinite."""

    total: int = 0
    nan: int = 0
    infinite: int = 0

    def count(self, values: NDArray[Any]) -> None:
        """Count what is not finite; the sum shows in a tenth of the time that there is nothing."""
        import numpy as np

        self.total += values.size
        if values.dtype.kind not in "fV":  # V: bfloat16 and float8, which read_dataset has typed
            return
        with np.errstate(all="ignore"):
            if not np.isfinite(np.add.reduce(values, axis=None, dtype=np.float32)):
                self.nan += int(np.isnan(values).sum())
                self.infinite += int(np.isinf(values).sum())

    def said(self) -> str:
        """Say what was found (``""``: nothing) and begin again."""
        total, nan, infinite = self.total, self.nan, self.infinite
        self.total = self.nan = self.infinite = 0
        return f"{nan:,} NaN and {infinite:,} infinite values of {total:,}" if nan or infinite else ""
