"""Words in a figure: numbers as they are written, and a reader that draws them again and looks for them.

It shares no code with actviz: Pillow reads the file and draws the words in DejaVu Sans.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

INKS = (34, 108)  # of words, and of those that stand back, as gray


def number(value, digits=3):
    size = abs(value)
    if size == 0:
        return "0"
    if 1e-3 <= size < 1e5:
        words = f"{size:.{digits}g}"
        words = f"{size:.0f}" if "e" in words else words
    else:
        first, last = f"{size:.{digits - 1}e}".split("e")
        first = first.rstrip("0").rstrip(".") if "." in first else first
        words = f"{first}e{int(last)}"
    return (("-" if value < 0 else "") + words).replace("-", "\N{MINUS SIGN}")


def close(value):
    """Return a value and two beside it: Keras and the command may round in other places."""
    return (value, value * (1 + 3e-6), value * (1 - 3e-6))


def pairs(low, high, digits):
    """Return how both ends may be written with so many digits, more where they would look the same."""
    found = set()
    for first in close(low):
        for last in close(high):
            for count in range(digits, 12):
                words = number(first, count), number(last, count)
                if words[0] != words[1]:
                    break
            found.add("..".join(words))
    return found


def listing(channels):
    channels = [int(channel) for channel in channels]
    rest = len(channels) - 8
    return ", ".join(map(str, channels[:8])) + (f" \N{HORIZONTAL ELLIPSIS} {rest} more" if rest > 0 else "")


class Page:
    """The pixels of a figure, in which words can be looked for."""

    def __init__(self, path):
        with Image.open(path) as picture:
            self.record = json.loads(picture.info["actviz"])
            self.gray = np.asarray(picture.convert("L")).astype(int)

    def has(self, words, box=(0, 0, None, None), sizes=(12, 15, 18, 10, 11)):
        """Tell whether words stand alone somewhere in a box ``(top, left, bottom, right)``."""
        part = self.gray[max(0, box[0]) : box[2], max(0, box[1]) : box[3]]
        part = np.pad(part, 4, constant_values=255)
        return any(contains(part, drawn, ink) for size in sizes for drawn in renderings(words, size) for ink in INKS)


def renderings(words, size):
    """Draw words in one go, and letter by letter as numbers are written: coverage ``(row, column)``, cropped."""
    import matplotlib as mpl

    font = ImageFont.truetype(
        str(Path(mpl.get_data_path(), "fonts/ttf/DejaVuSans.ttf")), size, layout_engine=ImageFont.Layout.BASIC
    )

    def draw(part):
        image = Image.new("L", (int(np.ceil(max(font.getbbox(part, anchor="ls")[2], font.getlength(part)))), 3 * size))
        ImageDraw.Draw(image).text((0, 2 * size), part, fill=255, font=font, anchor="ls")
        return np.asarray(image)

    for alpha in (draw(words), np.concatenate([draw(letter) for letter in words], axis=1)):
        rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
        yield alpha[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def contains(page, alpha, ink):
    height, width = alpha.shape
    rows, columns = page.shape[0] - height + 1, page.shape[1] - width + 1
    if min(rows, columns) < 1:
        return False
    wanted = np.rint(255 + (ink - 255) * alpha.astype(float) / 255).astype(int)
    places = np.argsort(wanted, axis=None)[:: max(1, (wanted < 200).sum() // 40)][:40]
    found = np.ones((rows, columns), dtype=bool)
    for row, column in zip(*np.unravel_index(places, wanted.shape), strict=True):
        found &= np.abs(page[row : row + rows, column : column + columns] - wanted[row, column]) <= 3
    for top, left in np.argwhere(found):
        block = page[top : top + height, left : left + width]
        around = page[top : top + height, [left - 2, left - 1, min(left + width, page.shape[1] - 1)]]
        if (np.abs(block - wanted) <= 3).all() and (around == 255).all():
            return True
    return False
