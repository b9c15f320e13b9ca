"""Ranges of an earlier run and of a whole run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from picture_helpers import SPATIAL
from PIL import Image

import actviz
from actviz.batch import color_ranges
from actviz.cli.program import program
from actviz.errors import ActvizError, InputError, UsageError
from actviz.records import Activation, Style
from actviz.results import output_files

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: Any) -> list[str]:
    """Run a command; return the lines that it prints, or raise what it fails with."""
    done = CliRunner().invoke(program, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


def batch(*scales: float) -> dict[str, Activation]:
    """Return two layers for as many inputs, each a ramp to its scale; one of them signed."""
    ramp = np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 3, 2)
    values = np.stack([ramp * scale for scale in scales])
    both = values * np.where(np.arange(4) % 2, -1, 1)[None, :, None, None]
    return {
        "plain": Activation("plain", "Conv2D", values, SPATIAL),
        "both": Activation("both", "Conv2D", both.astype(np.float32), SPATIAL),
    }


def numbers(path: Path | str) -> dict[str, Any]:
    """Return what a figure's provenance says of its numbers."""
    found = output_files.read_provenance(Path(path))
    assert found is not None
    return found["numbers"]


# ------------------------------------------------------------------ one range for a run
def run_ranges(batches):
    ranges = color_ranges.RunRanges(Style())
    for batch_of_run in batches:
        ranges.add(batch_of_run)
    return ranges.style().ranges


@given(st.lists(arrays(np.float64, (2, 3), elements=st.floats()), min_size=1, max_size=4), st.booleans())
def test_a_run_has_the_range_of_all_its_inputs(values: list[np.ndarray], signed: bool) -> None:
    found = run_ranges({"a": Activation("a", "Dense", one, ("batch", "unit"), signed)} for one in values)

    finite = np.concatenate([one[np.isfinite(one)] for one in values])
    largest = np.abs(finite).max(initial=0)
    assert found == {"a": (-largest if signed or (finite < 0).any() else 0, largest)}


def test_what_holds_no_numbers_has_no_range_and_masked_steps_count_for_nothing() -> None:
    words = Activation("words", "StringLookup", np.array([["a"]]), ("batch", "step"))
    steps = np.array([[[1.0, 2.0], [50.0, 60.0]]])
    masked = Activation("masked", "LSTM", steps, ("batch", "step", "unit"), mask=np.array([[True, False]]))

    assert run_ranges([{"words": words, "masked": masked}]) == {"masked": (0, 2)}
    assert run_ranges([]) == {}


def test_every_figure_of_a_run_has_one_range() -> None:
    actviz.save("in.npz", batch(1, 5, 2), model="m.h5")

    run("render", "in.npz", "-l", "plain,both", "--scale", "run", "-o", "out/")

    records = json.loads((Path("out") / "manifest.json").read_text())["figures"]
    assert len(records) == 6
    found = {(one["address"], one["numbers"]["low"], one["numbers"]["high"]) for one in records}
    assert {address: (low, high) for address, low, high in found} == {"plain": (0, 5), "both": (-5, 5)}
    assert len(found) == 2
    assert {one["numbers"]["scale"] for one in records} == {"run"}
    assert {one["numbers"]["clipped"] for one in records} == {0}


@pytest.mark.parametrize("more", [("-l", "conv"), ("--sheet",)])
def test_reduced_figures_of_a_run_have_the_range_of_what_is_drawn(more: tuple[str, ...]) -> None:
    values = np.stack([np.full((6, 5, 7), 2.0), np.full((6, 5, 7), 3.0)])
    actviz.save("conv.npz", {"conv": Activation("conv", "Conv2D", values, SPATIAL)})

    paths = run("render", "conv.npz", *more, "--reduce", "l2", "--scale", "run", "-q", "-o", "out/")

    for path in paths:
        found = numbers(path)
        one = found.get("layers", {"conv": found})["conv"]
        assert (one["low"], one["high"]) == (0, pytest.approx(3 * 7**0.5))
        assert one["clipped"] == 0
    assert len(paths) == 2


def test_every_sheet_of_a_run_has_one_range() -> None:
    actviz.save("in.npz", batch(1, 5), model="m.h5")

    paths = run("render", "in.npz", "--scale", "run", "-o", "out/")

    layers = [numbers(path)["layers"] for path in paths]
    assert [one["plain"]["high"] for one in layers] == [5, 5]


@pytest.mark.tensorflow
def test_show_takes_one_range_for_all_inputs(samples) -> None:
    inputs = [samples / "seven.png", samples / "three.png"]

    paths = run("show", "-q", samples / "digits_cnn.h5", *inputs, "-l", "conv", "--scale", "run", "-o", "out/")

    found = [numbers(path) for path in paths]
    assert found[0]["high"] == found[1]["high"] == max(one["max"] for one in found)
    assert found[0]["max"] != found[1]["max"]


# ------------------------------------------------------------------ those of an earlier run
def test_an_earlier_run_gives_its_ranges() -> None:
    actviz.save("before.npz", batch(2), model="m.h5")
    actviz.save("after.npz", batch(3), model="m.h5")
    run("render", "before.npz", "-l", "plain,both", "-o", "before/")

    paths = run("render", "after.npz", "-l", "plain,both", "--scale", "from:before/manifest.json", "-o", "after/")

    for path, low in zip(paths, (0, -2), strict=True):
        found = numbers(path)
        assert (found["low"], found["high"]) == (low, 2)
        assert found["scale"] == "from:manifest.json"
        assert found["clipped"] > 0
    again = run("render", "before.npz", "-l", "both", "--scale", "from:" + paths[1], "-o", "again.png")
    assert numbers(again[0])["low"] == -2


def test_pictures_on_the_same_range_are_the_same_whatever_drew_the_range() -> None:
    actviz.save("in.npz", batch(2), model="m.h5")
    run("render", "in.npz", "-l", "both", "--scale", "layer", "--bare", "-o", "one.png")
    run("render", "in.npz", "-l", "both", "--scale", "from:one.png", "--bare", "-o", "two.png")
    run("render", "in.npz", "-l", "both", "--scale", "run", "--bare", "-o", "three.png")

    with Image.open("one.png") as one, Image.open("two.png") as two, Image.open("three.png") as three:
        assert one.tobytes() == two.tobytes() == three.tobytes()


def test_a_sheet_and_several_inputs_give_ranges_too() -> None:
    actviz.save("in.npz", batch(1, 4), model="m.h5")
    run("render", "in.npz", "-o", "sheets/")
    run("render", "in.npz", "-l", "plain", "-o", "figures/")

    assert color_ranges.read_ranges(Path("sheets/manifest.json")) == {"plain": (0, 4), "both": (-4, 4)}
    assert color_ranges.read_ranges(Path("figures/manifest.json")) == {"plain": (0, 4)}


@pytest.mark.slow
def test_a_figure_of_a_hundred_thousand_dead_units_tells_its_range() -> None:
    values = np.zeros((1, 150_000), np.float32)
    values[0, 3] = 2
    actviz.save("in.npz", {"wide": Activation("wide", "Flatten", values, ("batch", "unit"))}, model="m.h5")
    run("render", "in.npz", "-l", "wide", "-o", "one.png")

    assert color_ranges.read_ranges(Path("one.png")) == {"wide": (0, 2)}
    assert run("render", "in.npz", "-l", "wide", "-o", "one.png") == ["one.png"]


def test_python_reads_ranges_too() -> None:
    actviz.save("in.npz", batch(2), model="m.h5")
    run("render", "in.npz", "-l", "plain", "-o", "one.png", "--bare", "--scale", "layer")

    drawn = actviz.draw(batch(2)["plain"], style=Style(scale="from:one.png", bare=True))

    with Image.open("one.png") as before:
        assert np.array_equal(np.asarray(drawn), np.asarray(before.convert("RGB")))
    with pytest.raises(UsageError, match="no range is known of layer 'plain'"):
        actviz.draw(batch(2)["plain"], style=Style(scale="run"))
    with pytest.raises(UsageError, match="the range 2 to 1 is not valid"):
        actviz.draw(batch(2)["plain"], style=Style(scale="run", ranges={"plain": (2, 1)}))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a manifest"),
        (b"[]", "not a manifest"),
        (b"[" * 100_000, "not a manifest"),
        (b"\xff\xfe", "not a manifest"),
        (b"{}", "no ranges of figures in it"),
        (b'{"figures": 3}', "no ranges of figures in it"),
        (b'{"figures": [3, {"numbers": []}, {"address": 1, "numbers": {}}]}', "no ranges of figures in it"),
        (b'{"figures": [{"numbers": {"layers": [1]}}]}', "no ranges of figures in it"),
        (b'{"figures": [{"address": "a", "numbers": {"low": 2, "high": 1}}]}', 'the range of layer "a" is (2, 1)'),
        (b'{"figures": [{"address": "a", "numbers": {"low": NaN, "high": 1}}]}', 'the range of layer "a" is (nan, 1)'),
        (b'{"figures": [{"address": "a", "numbers": {"low": "0", "high": 1}}]}', "is ('0', 1)"),
        (b'{"figures": [{"address": "a", "numbers": {"high": 1}}]}', "is (None, 1)"),
        (b'{"figures": [{"address": "a", "numbers": {"low": 0, "high": 1e999}}]}', "is (0, inf)"),
        (b'{"figures": [{"address": "a\\u001b", "numbers": {"low": 1, "high": 1}}]}', "a\\x1b"),
        (b'{"address": "a", "numbers": {"low": true, "high": 1}}', "is (True, 1)"),
        (b'{"address": "a", "numbers": {"low": 0, "high": 1' + b"0" * 400 + b"}}", "two finite numbers"),
    ],
)
def test_files_without_ranges(content: bytes, said: str, workplace) -> None:
    (workplace / "manifest.json").write_bytes(content)
    actviz.save("in.npz", batch(1), model="m.h5")

    with pytest.raises(InputError) as caught:
        run("render", "in.npz", "-l", "plain", "--scale", "from:manifest.json", "-o", "out.png")

    assert said in caught.value.message
    assert "\n" not in caught.value.message
    assert sorted(os.listdir()) == ["in.npz", "manifest.json"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--scale", "from:nowhere.json"], 3, "nowhere.json: no such file"),
        (["--scale", "from:."], 3, ".: "),
        (["--scale", "from:"], 2, "names no file"),
        (["--scale", "5:1"], 2, "5 is not below 1"),
        (["--scale", "nan:1"], 2, "finite"),
        (["--scale", "p99:1"], 2, "99 is not below 1"),
        (["--scale", "p-1:5"], 2, "percentiles lie between 0 and 100"),
        (["--scale", "everything"], 2, "p1:99"),
        (["--scale", "from:before.png"], 2, 'before.png: no range of layer "plain" in it; it has those of both.'),
        (["--cmap", "viridsi"], 2, "did you mean viridis"),
        (["--channels", "5:5"], 2, "channels"),
        (["--channels", "7"], 2, "channel 7 does not exist"),
        (["--bare", "--histogram"], 2, "leave --bare or --histogram out"),
    ],
)
def test_what_cannot_be_drawn_leaves_nothing(arguments: list[str], code: int, said: str) -> None:
    actviz.save("in.npz", batch(1), model="m.h5")
    run("render", "in.npz", "-l", "both", "-o", "before.png")

    with pytest.raises(ActvizError) as caught:
        run("render", "in.npz", "-l", "plain", "-o", "out.png", *arguments)

    assert caught.value.exit_code == code
    assert said in caught.value.message
    assert "\n" not in caught.value.message
    assert sorted(os.listdir()) == ["before.png", "in.npz"]


def test_near_names_come_first() -> None:
    style = Style(
        scale="from:x.json", ranges={f"layer{number}": (0.0, 1.0) for number in range(200)} | {"conv": (0, 1)}
    )

    with pytest.raises(UsageError, match=r"it has those of conv, layer0, .*, \.\.\.") as caught:
        color_ranges.check_addresses(style, ["layer3", "convv"])

    assert len(caught.value.message) < 300
    color_ranges.check_addresses(Style(scale="run"), ["anything"])
