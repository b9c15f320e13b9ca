"""The pictures of the README and the guide are those that the commands make."""

import os
import re
import shutil

import guide
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

README = guide.TEXTS["README"]
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


def test_the_first_command_is_the_one_of_the_first_picture():
    command = re.search(r"flower_edges\.png\)\n\n```sh\n(actviz .+?)\n```", README)[1]
    assert command == f"actviz {MADE['flower_edges']} -o flower_edges.png"


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE)
def test_pictures_are_those_that_the_commands_make(tmp_path, name):
    """Pixel for pixel, but for the last color step, in which processors may differ."""
    workplace = guide.make_workplace(tmp_path)
    folder = MADE[name].startswith("diff")  # a figure for each layer
    done = guide.in_shell(f"actviz {MADE[name]} -q -o {'new' if folder else 'new.png'}", workplace)
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


def test_the_gallery_is_complete_and_small():
    assert len(GALLERY) == README.split("## Gallery")[1].split("\n## ")[0].count("![")
    made_by_tools = {"digits_report", "digits_top"}  # tests/tools/make_report_picture.py and make_top_picture.py
    names = {path.stem for path in PICTURES.iterdir()}
    assert names == set(MADE) | made_by_tools
    assert names == set(re.findall(r"pictures/(\w+)\.png\)", "".join(guide.TEXTS.values())))
    assert sum((PICTURES / f"{name}.png").stat().st_size for name in GALLERY) < 900_000
