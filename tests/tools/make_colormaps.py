"""Write the default colormaps, and `tests/COLORMAPS.md`: which of matplotlib's colormaps tell values back.

Run ``python tests/tools/make_colormaps.py``.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np

from actviz.figures import colors

HEAD = """# Which colormaps can be inverted

Made by `python tests/tools/make_colormaps.py` with matplotlib {version}. A figure has 256 colours. Where all of them are
different, each value comes back from its pixels within one colour step; where a map repeats a colour, some steps cannot
be told apart, and the manifest of a figure in it says `"invertible": false`.
{invertible} of the {count} can be inverted, among them the three defaults: `inferno` from zero, `RdBu_r` around zero,
and `berlin` around zero on a dark page.

| colormap | different colours | can be inverted | reversed (`_r`), too |
|---|---|---|---|
"""


def rows() -> list[tuple[str, int, bool, bool]]:
    """Return name, number of different colours and whether it can be inverted, and reversed too, of every map."""
    from matplotlib import colormaps

    names = sorted((name for name in colormaps if not name.endswith("_r")), key=str.lower)
    tables = [colors.table(name) for name in names]
    turned = [colors.table(f"{name}_r").invertible for name in names]
    return [
        (one.name, len(np.unique(one.colors, axis=0)), one.invertible, other)
        for one, other in zip(tables, turned, strict=True)
    ]


def write_shipped() -> None:
    """Write the tables of the default colormaps, from which figures are drawn without matplotlib."""
    names = (colors.SEQUENTIAL, colors.DIVERGING, colors.DIVERGING_DARK)
    tables = {name: base64.b64encode(colors.from_matplotlib(name).tobytes()).decode("ascii") for name in names}
    target = Path(colors.__file__).with_name("colormaps.json")
    target.write_text(json.dumps(tables, indent=1) + "\n", encoding="ascii")


def main() -> None:
    """Write both."""
    write_shipped()
    import matplotlib as mpl

    found = rows()
    head = HEAD.format(version=mpl.__version__, count=len(found), invertible=sum(row[2] for row in found))
    words = {True: "yes", False: "no"}
    lines = [f"| {name} | {count} | {words[own]} | {words[turned]} |" for name, count, own, turned in found]
    target = Path(__file__).parents[1] / "COLORMAPS.md"
    target.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
