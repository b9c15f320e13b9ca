"""Every command that draws a figure writes SVG and PDF: text as text, and only its own earlier result is replaced."""

import json

import numpy as np
import pytest
from conftest import SAMPLES

import actviz as package
from actviz.records import Activation
from actviz.results.output_files import read_provenance

DIGITS, SEVEN, THREE = SAMPLES / "digits_cnn.keras", SAMPLES / "seven.png", SAMPLES / "three.png"
COMMANDS = {
    "check": [DIGITS, SEVEN, THREE, "-l", "conv"],
    "diff": ["a.npz", "b.npz", "--exit-zero", "-l", "conv"],
    "history": ["conv.json"],
    "top": [DIGITS, SEVEN, THREE, "--channels", "0:2", "-l", "conv"],
}
OTHER = {"check": [SAMPLES / "digits_cnn.h5", SEVEN], "diff": ["b.npz", "a.npz", "--exit-zero", "-l", "conv"],
         "history": ["other.json"], "top": [SAMPLES / "digits_cnn.h5", SEVEN, "-l", "conv"]}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    generator = np.random.default_rng(0)
    for name in ("a.npz", "b.npz"):
        layers = [Activation(key, "Conv2D", generator.random((1, 6, 6, 4), np.float32),
                             ("batch", "row", "column", "channel")) for key in ("conv", "last")]  # fmt: skip
        package.save(tmp_path / name, {layer.address: layer for layer in layers}, model="m.keras")
    for name in ("conv.json", "other.json"):
        (tmp_path / name).write_text(json.dumps({"conv": [1.0, 0.5]}))
    return tmp_path


@pytest.mark.parametrize("command", [pytest.param(name, marks=pytest.mark.slow) for name in ("check", "top")]
                         + ["diff", "history"])  # fmt: skip
@pytest.mark.usefixtures("warm_worker")
def test_every_figure_is_written_as_svg_and_pdf(actviz, folder, command):
    for name in ("figure.svg", "figure.pdf", "figure.svg"):
        ran = actviz(command, *COMMANDS[command], "-o", name, "-q")
        assert (ran.code, ran.err) == (0, ""), ran
        assert read_provenance(folder / name)
    content = (folder / "figure.svg").read_bytes()
    assert b">conv" in content
    assert b"</text>" in content
    assert (folder / "figure.pdf").read_bytes().startswith(b"%PDF")
    refused = actviz(command, *OTHER[command], "-o", "figure.svg", "-q")
    assert (refused.code, len(refused.err.splitlines())) == (7, 1)
    assert "--overwrite" in refused.err
    assert (folder / "figure.svg").read_bytes() == content


def test_a_figure_of_diff_is_for_one_layer(actviz, folder):
    ran = actviz("diff", "a.npz", "b.npz", "-o", "one.png", "-q")
    assert (ran.code, ran.out) == (2, "")
    assert "2 figures do not fit into one file" in ran.error
    assert actviz("diff", "a.npz", "b.npz", "-o", "one.png", "--figures", "1", "--exit-zero").code == 0
    assert read_provenance(folder / "one.png")["a"] == "a.npz"
    assert "written as PNG, SVG or PDF" in actviz("diff", "a.npz", "b.npz", "-o", "one.jpg").error


def test_a_report_is_html(actviz):
    ran = actviz("report", DIGITS, SEVEN, "-o", "report.pdf", "-q")
    assert (ran.code, ran.out) == (2, "")
    assert ran.error.endswith("a report is written as HTML; give a name that ends in .html.")
