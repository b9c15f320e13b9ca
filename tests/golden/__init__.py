"""Golden pictures: decoded pixels, compared without text.

``ACTVIZ_UPDATE_GOLDEN=1 pytest`` writes them anew. Every test that uses one also checks
something that does not trust it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDER = Path(__file__).parent


def assert_golden(name: str, pixels: NDArray[np.uint8]) -> None:
    """Compare ``(row, column, RGB)`` with the stored picture of that name."""
    path = FOLDER / f"{name}.png"
    if os.environ.get("ACTVIZ_UPDATE_GOLDEN") == "1":
        Image.fromarray(pixels).save(path, optimize=True)
    with Image.open(path) as image:
        stored = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(pixels, stored)
