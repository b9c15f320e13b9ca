"""matplotlib as a page: its own defaults, positions in pixels, text that is never a formula."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actviz.figures import text
from actviz.system import file_system
from actviz.system.file_system import without_warnings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from actviz.history.themes import CurveTheme

DPI = 100
POINT = 72 / DPI
_FOLDER = "MPLCONFIGDIR"
_SHAPING = (3, 11)
_LEFT_TO_RIGHT = "\u200e"


@contextlib.contextmanager
def _without_leftovers() -> Iterator[None]:
    before = os.environ.get(_FOLDER)
    try:
        yield
    finally:
        made = os.environ.get(_FOLDER)
        if made is not None and made != before:  # matplotlib sets it to the folder that it made
            atexit.unregister(shutil.rmtree)
            file_system.remove_folder(Path(made))


@contextlib.contextmanager
def settings(theme: CurveTheme) -> Iterator[None]:
    """Run a block in which matplotlib has its own defaults, whatever matplotlibrc says.

    What it would say about that file, or about a home that cannot be written to, is kept
    quiet: it changes nothing here. The temporary folder that it makes in the latter case is
    removed, because the command ends without giving it the occasion.
    """
    logging.getLogger("matplotlib").setLevel(logging.CRITICAL)
    with without_warnings(), _without_leftovers():
        import matplotlib as mpl

        defaults: dict[Any, Any] = {key: value for key, value in mpl.rcParamsDefault.items() if key != "backend"}
        defaults |= {
            "text.parse_math": False,
            "text.hinting": "none",
            "font.family": ["DejaVu Sans"],
            "svg.hashsalt": "actviz",
            "agg.path.chunksize": 20_000,
            "figure.facecolor": theme.page,
            "savefig.facecolor": theme.page,
            "axes.facecolor": theme.page,
        }
        with mpl.rc_context(defaults):
            yield


def readable(words: str, *, bold: bool = False) -> tuple[str, list[str]]:
    """Return a text as matplotlib can draw it, and the families of the fonts that it needs.

    matplotlib 3.10 shapes no text: there, what needs shaping is replaced by the codes of its characters.
    """
    import matplotlib as mpl
    from matplotlib import font_manager

    runs = text.runs_of(words, bold=bold, shaping=mpl.__version_info__ >= _SHAPING)
    families = ["DejaVu Sans"]
    for path in dict.fromkeys(run.path for run in runs if run.path is not None):
        if not any(font.fname == str(path) for font in font_manager.fontManager.ttflist):
            font_manager.fontManager.addfont(path)
        families += [font.name for font in font_manager.fontManager.ttflist if font.fname == str(path)][:1]
    # Raqm takes the direction of a line from its first letter; every line here runs from left to right.
    lead = _LEFT_TO_RIGHT if any(run.direction == "rtl" for run in runs) else ""
    return lead + "".join(run.characters for run in runs), families


@dataclass(frozen=True, slots=True)
class MatplotlibPage:
    """A figure that is written on in pixels from its top left corner."""

    figure: Figure
    width: int
    height: int
    theme: CurveTheme

    def write(self, words: str, corner: tuple[float, float], size: int, color: str, *, bold: bool = False) -> None:
        """Write one line with its top left corner at ``(column, row)``."""
        face = text.face(size, bold=bold)
        drawn, families = readable(words, bold=bold)
        self.figure.text(
            corner[0] / self.width,
            1 - (corner[1] + face.ascent) / self.height,
            drawn,
            size=size * POINT,
            family=families,
            weight="bold" if bold else "normal",
            color=color,
            ha="left",
            va="baseline",
        )

    def axes(self, corner: tuple[int, int], size: tuple[int, int]) -> Axes:
        """Return axes whose top left corner is at ``(column, row)``."""
        left, top = corner
        bottom = 1 - (top + size[1]) / self.height
        return self.figure.add_axes((left / self.width, bottom, size[0] / self.width, size[1] / self.height))

    def line(self, columns: Sequence[float], rows: Sequence[float], **look: Any) -> None:
        """Draw a line through points of the page."""
        from matplotlib.lines import Line2D

        across = [column / self.width for column in columns]
        down = [1 - row / self.height for row in rows]
        self.figure.add_artist(Line2D(across, down, transform=self.figure.transFigure, **look))
