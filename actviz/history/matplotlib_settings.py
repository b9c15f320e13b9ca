"""matplotlib with its own defaults: independent of matplotlibrc, no temporary files, no math text."""

from __future__ import annotations

import atexit
import contextlib
import io
import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actviz.figures import text_runs
from actviz.system import folders
from actviz.system.warning_filters import without_warnings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure

    from actviz.history.themes import CurveTheme

DPI = 100
POINT = 72 / DPI
_CONFIG_FOLDER = "MPLCONFIGDIR"
_SHAPING_VERSION = (3, 11)
_LEFT_TO_RIGHT = "\u200e"


@contextlib.contextmanager
def _temporary_folder_removed() -> Iterator[None]:
    before = os.environ.get(_CONFIG_FOLDER)
    try:
        yield
    finally:
        created = os.environ.get(_CONFIG_FOLDER)
        if created is not None and created != before:  # matplotlib sets the variable to the folder it creates
            atexit.unregister(shutil.rmtree)
            folders.remove_folder(Path(created))


@contextlib.contextmanager
def settings(theme: CurveTheme) -> Iterator[None]:
    """Run a block with matplotlib's default settings, whatever matplotlibrc contains.

    Warnings about that file, or about a home folder that is not writable, are suppressed: they
    have no effect here. The temporary folder that matplotlib creates in the latter case is
    removed, because the command exits without running exit handlers.
    """
    logging.getLogger("matplotlib").setLevel(logging.CRITICAL)
    with without_warnings(), _temporary_folder_removed():
        import matplotlib as mpl

        defaults: dict[Any, Any] = {key: value for key, value in mpl.rcParamsDefault.items() if key != "backend"}
        defaults |= {
            "text.parse_math": False,
            "text.hinting": "none",
            "font.family": ["DejaVu Sans"],
            "svg.hashsalt": "actviz",
            "svg.fonttype": "none",
            "pdf.fonttype": 42,
            "pdf.compression": 9,
            "agg.path.chunksize": 20_000,
            "figure.facecolor": theme.page,
            "savefig.facecolor": theme.page,
            "axes.facecolor": theme.page,
        }
        with mpl.rc_context(defaults):
            yield


def save_vector(figure: Figure, suffix: str) -> bytes:
    """Return a figure as SVG or PDF with text as text and without a date; call it inside `settings`."""
    stream = io.BytesIO()
    left_out = dict.fromkeys(("Date", "Creator", "Format", "Type") if suffix == ".svg" else ("CreationDate",))
    figure.savefig(stream, format=suffix[1:], metadata=left_out)
    return stream.getvalue()


def text_style(label: str, size: int, color: str, *, bold: bool = False) -> dict[str, Any]:
    """Return properties of a matplotlib text that shows `label` at `size` pixels, with fonts that have its characters.

    matplotlib 3.10 shapes no text: there, characters that need shaping are replaced by their codes.
    """
    import matplotlib as mpl
    from matplotlib import font_manager

    runs = text_runs.runs_of(label, bold=bold, shaping=mpl.__version_info__ >= _SHAPING_VERSION)
    families = ["DejaVu Sans"]
    for path in dict.fromkeys(run.path for run in runs if run.path is not None):
        if not any(font.fname == str(path) for font in font_manager.fontManager.ttflist):
            font_manager.fontManager.addfont(path)
        families += [font.name for font in font_manager.fontManager.ttflist if font.fname == str(path)][:1]
    # Raqm takes the direction of a line from its first letter; every line here runs from left to right.
    lead = _LEFT_TO_RIGHT if any(run.direction == "rtl" for run in runs) else ""
    return {
        "text": lead + "".join(run.characters for run in runs),
        "family": families,
        "size": size * POINT,
        "weight": "bold" if bold else "normal",
        "color": color,
    }
