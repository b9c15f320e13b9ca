"""The README cannot lie: its commands are run, its pictures made again."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

README = (ROOT / "README.md").read_text(encoding="utf-8")
PICTURES = ROOT / "sample_models" / "pictures"
MADE = {
    "flower_edges": "show sample_models/photo_features.keras sample_models/flower.jpg -l edges --channels 1:4,5:8,11,15,28",
    "china_sheet": "show sample_models/photo_features.keras sample_models/china.jpg",
    "seven_conv_intermediate": "show sample_models/digits_cnn.h5 --layer conv_intermediate sample_models/seven.png",
    "digits_channels": "check sample_models/digits_cnn.h5 sample_models/seven.png sample_models/three.png -l '@Conv2D'",
    "digits_quantised": "diff sample_models/digits_cnn.h5 sample_models/digits_cnn_int8.tflite sample_models/seven.png -l conv_intermediate --fail-on 'cosine<0.99'",
    "dense_curves": "history sample_models/dense.history.json",
}
GALLERY = dict(re.findall(r"\]\(sample_models/pictures/(\w+)\.png\)<br>`actviz ([^`]+)`", README))
MADE |= GALLERY


@pytest.fixture
def workplace(tmp_path):
    """A folder that has the sample models and the command, as a clone does."""
    shutil.copytree(ROOT / "sample_models", tmp_path / "sample_models")
    commands = tmp_path / "bin"
    commands.mkdir()
    script = commands / "actviz"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m actviz "$@"\n')
    script.chmod(0o755)
    return tmp_path


def in_shell(command, folder):
    environment = {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def examples():
    blocks = re.findall(r"<!-- output -->\n```console\n\$ (.+?)\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 4
    return blocks


@pytest.mark.parametrize(("command", "output"), examples(), ids=lambda text: text.split("\n")[0][:50])
def test_examples_print_what_the_readme_says(workplace, command, output):
    for one, said in re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", f"$ {command}\n{output}", re.MULTILINE):
        done = in_shell(f"{{ {one}; }} 2>&1", workplace)
        assert done.returncode == 0
        assert done.stdout == said


def test_the_example_with_numpy_runs(workplace):
    command = re.search(r"^\$ (actviz extract .+)$", README, re.MULTILINE)[1]
    assert in_shell(command, workplace).returncode == 0
    (workplace / "example.txt").write_text(re.search(r"```pycon\n(.+?)```", README, re.DOTALL)[1])
    done = in_shell(f"{sys.executable} -m doctest example.txt", workplace)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_first_command_is_the_one_under_the_first_picture(workplace):
    command = re.search(r"flower_edges\.png\)\n\n```sh\n(actviz .+?)\n```", README)[1]
    assert command == f"actviz {MADE['flower_edges']} -o flower_edges.png"
    assert in_shell(command, workplace).returncode == 0
    assert (workplace / "flower_edges.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE)
def test_pictures_are_those_that_the_commands_make(workplace, name):
    """Pixel for pixel, but for the last colour step, in which processors may differ."""
    assert f"sample_models/pictures/{name}.png" in README
    folder = MADE[name].startswith("diff")  # a figure for each layer
    done = in_shell(f"actviz {MADE[name]} -q -o {'new' if folder else 'new.png'}", workplace)
    assert done.returncode == 0, done.stderr
    if folder:
        (made,) = (workplace / "new").glob("*.png")
        made.rename(workplace / "new.png")
    if os.environ.get("ACTVIZ_UPDATE_GOLDEN"):
        shutil.copy(workplace / "new.png", PICTURES / f"{name}.png")
    with Image.open(workplace / "new.png") as new, Image.open(PICTURES / f"{name}.png") as old:
        difference = np.abs(np.asarray(new).astype(int) - np.asarray(old).astype(int))
    # matplotlib sets the text of curves, from one version to the next a fraction of a pixel aside.
    assert (difference > 12).mean() < (0.02 if "history" in MADE[name] else 0.001)


def marked(name):
    """The code under a mark of the README."""
    return re.search(rf"<!-- {name} -->\n```\w+\n(.+?)```", README, re.DOTALL)[1]


@pytest.fixture
def project(workplace):
    """A folder as in the recipes: a model and images."""
    shutil.copy(ROOT / "sample_models" / "digits_cnn.keras", workplace / "model.keras")
    (workplace / "images").mkdir()
    for name in ("seven.png", "three.png"):
        shutil.copy(ROOT / "sample_models" / name, workplace / "images" / name)
    return workplace


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_recipe_for_make(project):
    (project / "Makefile").write_text(marked("makefile"))
    first, second = in_shell("make", project), in_shell("make", project)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert "up to date" in second.stdout
    assert len(list(project.glob("maps/*/*.png"))) == 4


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("parallel") is None, reason="GNU parallel is not installed")
def test_the_recipe_for_parallel(project):
    done = in_shell(marked("shards"), project)
    assert done.returncode == 0, done.stderr
    assert len(list(project.glob("maps/*.png")) + list(project.glob("maps/*/*.png"))) == 2
    assert len(json.loads((project / "maps" / "manifest.json").read_text())["figures"]) == 2


def test_the_gallery_is_complete_and_small():
    assert len(GALLERY) == README.split("## Gallery")[1].split("\n## ")[0].count("![")
    made_by_a_browser = {"digits_report"}  # tests/tools/make_report_picture.py
    assert {path.stem for path in PICTURES.iterdir()} == set(MADE) | made_by_a_browser
    assert sum((PICTURES / f"{name}.png").stat().st_size for name in GALLERY) < 600_000


def test_the_python_example_runs(workplace):
    code = re.search(r"```python\n(.+?)```", README, re.DOTALL)[1]
    prepared = "import numpy as np\nbatch = np.zeros((2, 28, 28, 1))\n" + code
    done = subprocess.run(
        [sys.executable, "-c", prepared], cwd=workplace, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_exit_codes_and_addresses_are_documented():
    from actviz import errors

    section = README.split("## Exit codes")[1].split("##")[0]
    codes = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.ActvizError)
    }
    assert {str(code) for code in codes} <= set(re.findall(r"\d+", section))


def test_options_that_the_readme_names_exist():
    from click.testing import CliRunner

    from actviz.cli.program import COMMANDS, program

    known = "".join(CliRunner().invoke(program, [name, "--help"]).output for name in COMMANDS) + "--version --no-config"
    for option in set(re.findall(r"`(--[a-z-]+)", README)):
        assert option in known, option
