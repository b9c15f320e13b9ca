"""Figures of curves: what the axes say, where text stands, the same bytes each time."""

import hashlib
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from matrices import matrix
from PIL import Image

from actviz.errors import LimitError, UsageError
from actviz.figures import text
from actviz.history import Curve, CurveStyle, TrainingRun, curves_figure, diagnosis, layout, panel
from actviz.history.figure_data import CurvesFigureData
from actviz.history.matplotlib_settings import settings as page_settings
from actviz.history.panel import nonfinite_ranges, smoothed
from actviz.history.themes import DARK, LIGHT

GOLDEN = ROOT / "tests" / "golden" / "history.png"
FINITE = st.floats(-layout.LARGEST_VALUE, layout.LARGEST_VALUE, allow_subnormal=True)


def falling(count, low=0.1, speed=4.0):
    return [low + math.exp(-speed * place / count) for place in range(count)]


def run(values, name="h.json", seams=()):
    """A run of metrics given as ``{name: values}``."""
    count = max(map(len, values.values()))
    found = (Curve(key, tuple(range(1, len(row) + 1)), tuple(map(float, row))) for key, row in values.items())
    return TrainingRun(name, "", tuple(range(1, count + 1)), tuple(found), seams)


def subject(
    *runs, style=None, names=None, title="h.json", facts=("31 epochs", "val_loss best 0.21 at epoch 12"), caption=()
):
    style = style or CurveStyle()
    names = names or tuple(one.file for one in runs)
    return CurvesFigureData(runs, names, diagnosis.metrics_of(runs, style.metrics), style, title, facts, caption)


def pair(count=30, low=0.1):
    return {
        "loss": falling(count),
        "val_loss": falling(count, low * 2),
        "accuracy": falling(count),
        "val_accuracy": falling(count),
    }


# ------------------------------------------------------------------ axes
@given(st.lists(FINITE, min_size=1, max_size=20), st.booleans())
def test_limits_include_every_value(values, log):
    low, high = layout.axis_limits(values, log=log and min(values) > 0)
    assert low < high
    assert low <= min(values)
    assert max(values) <= high
    assert math.isfinite(high - low)
    assert low > 0 or not (log and min(values) > 0)


@settings(deadline=None)
@given(st.lists(FINITE, min_size=1, max_size=20), st.booleans(), st.integers(3, 8))
def test_tick_labels_are_true_and_distinct(values, log, count):
    log = log and min(values) > 0
    limits = layout.axis_limits(values, log=log)
    ticks = layout.value_ticks(limits, count, log=log)
    labels = layout.tick_labels(ticks)
    assert 1 <= len(ticks) <= 4 * count
    assert len(set(labels)) == len(labels)
    for value, label in zip(ticks, labels, strict=True):
        assert limits[0] <= value <= limits[1]
        read = float(label.replace(text.MINUS, "-"))
        fraction = math.log10(read / value) if log else (read - value) / (limits[1] - limits[0])
        assert abs(fraction) < 0.05


@pytest.mark.parametrize(
    ("low", "high", "log", "labels"),
    [
        (0.02, 1.2, False, ["0", "0.5", "1"]),
        (0.5, 0.5, False, ["0.45", "0.5", "0.55"]),
        (0, 0, False, ["−1", "−0.5", "0", "0.5", "1"]),
        (0.90001, 0.90005, False, ["0.90001", "0.90002", "0.90003", "0.90004", "0.90005"]),
        (1e-6, 1e-3, True, ["1e−6", "1e−5", "1e−4", "0.001"]),
        (0.05, 0.4, True, ["0.05", "0.1", "0.2"]),
        (1e-9, 1, True, ["1e−8", "1e−6", "1e−4", "0.01", "1"]),
    ],
)
def test_ticks_are_round_numbers(low, high, log, labels):
    limits = layout.axis_limits([low, high], log=log)
    assert layout.tick_labels(layout.value_ticks(limits, 5, log=log)) == labels


@settings(deadline=None)
@given(st.integers(-1000, 10**6), st.integers(0, 10**6), st.integers(2, 12))
def test_epoch_ticks_are_whole_and_few(first, more, count):
    ticks = layout.epoch_ticks(first, first + more, count)
    assert 1 <= len(ticks) <= count + 2
    assert ticks == sorted(set(ticks))
    assert first <= ticks[0]
    assert ticks[-1] <= first + more


def test_the_first_epoch_has_a_tick():
    assert layout.epoch_ticks(1, 1, 10) == [1]
    assert layout.epoch_ticks(1, 20, 10) == [1, 5, 10, 15, 20]
    assert layout.epoch_ticks(1, 10_000, 10) == [1, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10000]


@pytest.mark.parametrize(
    ("values", "way", "rate", "wanted"),
    [
        ([1, 0.009], "min", False, True),
        ([1, 0.011], "min", False, False),
        ([1, 0.001], "max", False, False),
        ([1, 0.001], None, True, True),
        ([1, 0.001, 0], "min", False, False),
        ([], "min", False, False),
    ],
)
def test_a_range_of_two_decades_asks_for_a_logarithm(values, way, rate, wanted):
    assert layout.wants_log(values, way, rate=rate) is wanted


@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=1, max_size=30), st.integers(1, 40))
def test_smoothing_is_a_mean_of_what_is_there(values, width):
    array = np.array(values)
    found = smoothed(array, width)
    wide = min(width, 2 * len(values) - 1)
    for place, value in enumerate(values):
        start = place - wide + 1 + (wide - 1) // 2
        window = array[max(0, start) : start + wide]
        if math.isnan(value):
            assert math.isnan(found[place])
        else:
            assert found[place] == pytest.approx(np.nanmean(window), abs=1e-6)
    np.testing.assert_array_equal(array, np.array(values))


def test_stretches_without_values():
    curve = Curve("loss", (1, 2, 3, 5, 6), (math.nan, math.inf, 1, 1e301, 2))
    assert nonfinite_ranges(curve) == [(1, 2), (5, 5)]


# ------------------------------------------------------------------ the page
def boxes(subject_):
    """Draw a figure; return its size and every text that is seen, with its box in pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    with page_settings(subject_.theme):
        canvas = FigureCanvasAgg(curves_figure.figure_of(subject_))
        canvas.draw()
        shown = [item for item in canvas.figure.findobj(Text) if item.get_visible() and item.get_text().strip()]
        found = [(item.get_text(), item.get_window_extent(canvas.get_renderer())) for item in shown]
        axes = [one.get_window_extent() for one in canvas.figure.axes]
        return canvas.get_width_height(), found, axes


def assert_apart(subject_):
    (width, height), found, axes = boxes(subject_)
    for words, box in found:
        assert box.x0 >= 0, words
        assert box.y0 >= 0, words
        assert box.x1 <= width, words
        assert box.y1 <= height, words
    for place, (words, box) in enumerate(found):
        for other, there in found[place + 1 :]:
            crossing = min(box.x1, there.x1) - max(box.x0, there.x0), min(box.y1, there.y1) - max(box.y0, there.y0)
            assert min(crossing) <= 1, (words, other)
        for area in axes:
            crossing = min(box.x1, area.x1) - max(box.x0, area.x0), min(box.y1, area.y1) - max(box.y0, area.y0)
            assert min(crossing) <= 1 or words == "nothing to draw", words
    for place, area in enumerate(axes):
        for there in axes[place + 1 :]:
            assert area.x1 <= there.x0 or there.x1 <= area.x0 or area.y1 <= there.y0 or there.y1 <= area.y0


HOSTILE = "$x_{" * 2500
LAYOUTS = {
    "one run": lambda: subject(run(pair())),
    "dark": lambda: subject(run(pair()), style=CurveStyle(dark=True)),
    "one epoch": lambda: subject(run(pair(1))),
    "two epochs": lambda: subject(run(pair(2))),
    "ten thousand epochs": lambda: subject(run(pair(10_000))),
    "one metric": lambda: subject(run({"loss": falling(9)})),
    "thirty metrics": lambda: subject(run({f"head_{n}_categorical_accuracy": falling(30) for n in range(30)})),
    "five runs": lambda: subject(*(run(pair(20 + n), f"run_{n}.json") for n in range(5))),
    "forty runs": lambda: subject(*(run(pair(20), f"{n}-{'long' * 30}.json") for n in range(40))),
    "hostile names": lambda: subject(
        run({"loss": [1, 2], HOSTILE: [1, 2], "a\n\x1b[31mb\u202e": [1, 2], "\\frac{$": [3, 4]}), title=HOSTILE, facts=(HOSTILE,) * 3, caption=(HOSTILE,)
    ),
    "hostile runs": lambda: subject(run(pair(), HOSTILE), run(pair(), "_hidden")),
    "nothing finite": lambda: subject(run({"loss": [math.nan] * 3, "val_loss": [math.inf] * 3})),
    "huge and tiny": lambda: subject(run({"a": [1e308, -1e308], "b": [5e-324, 0], "c": [1e300, -1e300], "d": [1.0, 1.0 + 1e-9]})),
    "many epochs in": lambda: subject(replace(run({"loss": [1, 2]}), epochs=(2**50, 2**50 + 1))),
    "seams and gaps": lambda: subject(run({"loss": [1, math.nan, 2, 3], "val_loss": [1, 2]}, seams=(3,)), style=CurveStyle(smooth=3)),
    "small": lambda: subject(run(pair()), style=CurveStyle(size=(460, 340))),
    "large": lambda: subject(run(pair()), style=CurveStyle(size=(2400, 1600), zoom=2)),
    "one column": lambda: subject(run(pair()), style=CurveStyle(columns=1)),
    "six columns": lambda: subject(run({f"m{n}": [1, 2] for n in range(9)}), style=CurveStyle(columns=6)),
    "a long caption": lambda: subject(run(pair()), caption=("left out: something (3 values for 10 epochs)",) * 30),
}  # fmt: skip


@pytest.mark.parametrize("name", matrix(LAYOUTS, fast=lambda name: name not in {"thirty metrics", "forty runs"}))
def test_no_text_leaves_the_page_or_lies_on_another(name):
    assert_apart(LAYOUTS[name]())


def test_the_test_of_layouts_can_fail(monkeypatch):
    monkeypatch.setattr(panel, "TITLE_PAD", 12)
    with pytest.raises(AssertionError):
        assert_apart(LAYOUTS["one run"]())


def test_no_text_is_a_formula():
    _, found, _ = boxes(subject(run({"$x^2$": [1, 2], "a$": [1, 2]}), title="$\\alpha$"))
    words = [word for word, _ in found]
    assert "$x^2$" in words
    assert "$\\alpha$" in words


def test_training_and_validation_share_a_panel_and_a_color():
    from matplotlib.colors import to_hex

    with page_settings(LIGHT):
        figure = curves_figure.figure_of(subject(run(pair())))
    assert len(figure.axes) == 2
    training, validation, *_ = figure.axes[0].lines[1:]  # the first is the line of the best epoch
    assert training.get_linestyle() == "--"
    assert validation.get_linestyle() == "-"
    assert to_hex(validation.get_color()) == LIGHT.runs[0]


def test_best_epochs_are_marked_on_the_validation():
    values = {"loss": [3, 2, 1, 0.5], "val_loss": [3, 1, 2, 2], "accuracy": [1, 2, 3, 4], "val_accuracy": [1, 2, 3, 1]}
    with page_settings(LIGHT):
        figure = curves_figure.figure_of(subject(run(values)))
    marks = [[line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"] for axes in figure.axes]
    assert marks == [[2], [3]]


def test_gaps_are_gaps_and_marked():
    with page_settings(LIGHT):
        figure = curves_figure.figure_of(subject(run({"loss": [1, math.nan, 2, 3, math.inf]})))
    curve, *bars = figure.axes[0].lines
    assert np.isnan(curve.get_ydata()).tolist() == [False, True, False, False, True]
    spans = [tuple(line.get_xdata()) for line in bars if line.get_color() == LIGHT.alarm]
    assert spans == [(1.5, 2.5), (4.5, 5.5)]
    assert any(line.get_marker() == "." for line in bars)


def contrast(one, other):
    def luminance(color):
        parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_colors_can_be_seen_on_the_page(theme):
    assert contrast(theme.ink, theme.page) > 7
    assert contrast(theme.muted, theme.page) > 4.5
    assert contrast(theme.runs[0], theme.page) > 4.5
    assert all(contrast(color, theme.page) > 2 for color in (*theme.runs, theme.alarm))
    assert len(set(theme.runs)) == len(theme.runs)


def test_sizes_are_what_was_asked_for():
    pixels = curves_figure.draw_png(subject(run(pair()), style=CurveStyle(size=(900, 500), zoom=2)))
    assert pixels.shape == (1000, 1800, 3)
    with pytest.raises(UsageError, match=r"--size 300x200: 2 panels need \d+x\d+ to be read"):
        curves_figure.draw_png(subject(run(pair()), style=CurveStyle(size=(300, 200))))
    with pytest.raises(LimitError, match="pixels; at most 100 megapixels"):
        curves_figure.draw_png(subject(run(pair()), style=CurveStyle(size=(16_000, 8_000))))


@pytest.mark.slow
@settings(max_examples=15)
@given(
    st.dictionaries(st.text(), st.lists(st.floats(), min_size=1, max_size=12), min_size=1, max_size=3),
    st.sampled_from([None, True, False]),
    st.integers(1, 5),
)
def test_any_history_is_drawn_without_a_warning(values, log, smooth):
    one = run(values)
    before = one.curves
    curves_figure.draw_png(subject(one, style=CurveStyle(log=log, smooth=smooth)))
    assert one.curves is before


@pytest.mark.slow
def test_the_same_curves_give_the_same_bytes_whatever_matplotlibrc_says(tmp_path):
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import hashlib, test_curves_figure as t;"
        "s = t.subject(t.run(t.pair()));"
        "print(hashlib.sha256(t.curves_figure.draw_png(s).tobytes()).hexdigest(), hashlib.sha256(t.curves_figure.draw_vector(s, '.svg')).hexdigest())"
    )
    (tmp_path / "matplotlibrc").write_text(
        "lines.linewidth: 9\nfont.size: 30\ntext.usetex: True\nsvg.fonttype: path\nbackend: tkagg\n"
    )
    command = [sys.executable, "-c", program, str(Path(__file__).parent)]
    here = subject(run(pair()))
    drawn = curves_figure.draw_png(here).tobytes(), curves_figure.draw_vector(here, ".svg")
    answers = {" ".join(hashlib.sha256(content).hexdigest() for content in drawn) + "\n"}
    for cwd, env in ((tmp_path, {}), (ROOT, {"MATPLOTLIBRC": str(tmp_path), "SOURCE_DATE_EPOCH": "5"})):
        path = os.pathsep.join(map(str, [ROOT, ROOT / "tests", ROOT / "tests" / "helpers"]))
        done = subprocess.run(
            command, cwd=cwd, env=os.environ | {"PYTHONPATH": path} | env, capture_output=True, text=True, check=True
        )
        answers.add(done.stdout)
    assert len(answers) == 1


def test_svg_has_no_date_and_text_of_the_file_only_as_text():
    content = curves_figure.draw_vector(subject(run({"<script>alert(1)</script>": [1, 2]})), ".svg")
    assert b"<script" not in content
    assert b"&lt;script&gt;alert(1)&lt;/script&gt;</text>" in content
    assert not re.search(rb"\d{4}-\d{2}-\d{2}T", content)
    assert b"dc:date" not in content


def test_pixels_of_curves_are_those_that_were_looked_at():
    """Compared where no text is: the axes of two panels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    values = {
        "loss": falling(20),
        "val_loss": [*falling(12, 0.2), *[0.3 + n / 50 for n in range(8)]],
        "lr": [0.1] * 10 + [0.001] * 10,
    }
    with page_settings(LIGHT):
        canvas = FigureCanvasAgg(curves_figure.figure_of(subject(run(values), style=CurveStyle(size=(640, 400)))))
        canvas.draw()
        pixels = np.asarray(canvas.buffer_rgba())[:, :, :3]
        height = len(pixels)
        parts = []
        for axes in canvas.figure.axes:
            box = axes.get_window_extent()
            parts.append(pixels[round(height - box.y1) : round(height - box.y0), round(box.x0) : round(box.x1)])
    found = np.concatenate(parts, axis=1)
    if os.environ.get("ACTVIZ_UPDATE_GOLDEN"):
        Image.fromarray(found).save(GOLDEN)
    with Image.open(GOLDEN) as kept:
        wanted = np.asarray(kept.convert("RGB")).astype(int)
    assert found.shape == wanted.shape
    assert (np.abs(found - wanted) > 24).mean() < 0.002
    # What does not trust the golden picture: both curves and the line of the page are there.
    colors = {tuple(color) for color in found.reshape(-1, 3).tolist()}
    assert {(0, 114, 178), (255, 255, 255)} <= colors
