"""Words below an axis: inside it, apart, and those of its ends always there."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from actviz.figures import text
from actviz.figures.canvas import LIGHT, Canvas

LEFT, TOP = 30, 10


def ticks_written(ticks, width):
    """Return the labels below an axis, and the columns in which a tick stands."""
    canvas = Canvas.blank(40, LEFT + width + 60, LIGHT)
    blank = canvas.pixels.copy()
    canvas.write_ticks(ticks, (TOP, LEFT), width, text.get_font(11))
    return canvas.labels, np.flatnonzero((canvas.pixels != blank)[TOP])


@given(
    st.lists(st.floats(0.001, 0.999), max_size=7).map(lambda inner: [0.0, *sorted(inner), 1.0]),
    st.lists(st.text("0123456789.-", min_size=1, max_size=7), min_size=9, max_size=9),
    st.integers(150, 400),
)
def test_words_of_ticks_are_apart_and_inside_the_axis(shares, words, width):
    ticks = list(zip(shares, words, strict=False))
    labels, marks = ticks_written(ticks, width)
    assert (labels[0].text, labels[-1].text) == (ticks[0][1], ticks[-1][1])
    assert len(marks) <= len(labels) <= len(ticks)
    assert all(label.box[1] >= LEFT and label.box[3] <= LEFT + width for label in labels)
    assert all(before.box[3] < after.box[1] for before, after in itertools.pairwise(labels))


def test_words_at_the_ends_stand_inside_and_push_out_their_neighbours():
    width = 200
    ticks = [(0, "-1,000"), (0.02, "a"), (0.5, "0"), (0.99, "b"), (1, "1,000")]
    labels, marks = ticks_written(ticks, width)
    assert [label.text for label in labels] == ["-1,000", "0", "1,000"]
    assert labels[0].box[1] == LEFT
    assert labels[-1].box[3] == LEFT + width
    middle = labels[1]
    assert abs((middle.box[1] + middle.box[3]) / 2 - (LEFT + width / 2)) <= 1
    assert list(marks) == [LEFT, LEFT + round(0.5 * (width - 1)), LEFT + width - 1]
