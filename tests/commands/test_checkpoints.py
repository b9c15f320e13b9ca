"""`show` with several checkpoints."""

import shutil

import pytest
from conftest import SAMPLES
from PIL import Image

from actviz.commands.checkpoints import find_checkpoints
from actviz.results.animation import read_provenance

DIGITS, SEVEN = SAMPLES / "digits_cnn.keras", SAMPLES / "seven.png"


@pytest.fixture
def folder(tmp_path):
    for number in (1, 2, 10):
        shutil.copy(DIGITS, tmp_path / f"epoch_{number}.keras")
    return tmp_path


def test_checkpoints_of_a_folder_are_in_natural_order_and_those_of_a_command_line_as_given(folder):
    (folder / "notes.txt").write_text("-")
    names = [path.name for path in find_checkpoints(folder, ())]
    assert names == ["epoch_1.keras", "epoch_2.keras", "epoch_10.keras"]
    first, second = folder / "epoch_10.keras", folder / "epoch_1.keras"
    assert find_checkpoints(first, (second, SEVEN)) == (first, second)
    assert find_checkpoints(first, (SEVEN,)) == ()
    (folder / "saved_model.pb").touch()
    assert find_checkpoints(folder, ()) == ()


@pytest.mark.usefixtures("warm_worker")
def test_a_page_or_an_animation_of_all_checkpoints(actviz, folder):
    given = ("epoch_10.keras", "epoch_1.keras", "--input", SEVEN, "-l", "conv", "--channels", "3,17", "-q")
    ran = actviz("show", *given, "-o", "epochs.gif")
    assert (ran.code, ran.out, ran.err) == (0, "epochs.gif\n", "")
    about = read_provenance(folder / "epochs.gif")
    assert about["numbers"]["checkpoints"] == ["epoch_10.keras", "epoch_1.keras"]
    assert about["numbers"]["channels"] == [3, 17]
    with Image.open(folder / "epochs.gif") as image:
        assert image.n_frames == 2
    assert actviz("show", *given, "-o", "epochs.gif").code == 0  # its own file is replaced
    assert actviz("show", *given).out == "conv_checkpoints.png\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-l", "conv", "--overlay", "--shard", "1/2"], "leave out --overlay, --shard."),
        (["-l", "conv", "-o", "epochs.jpg"], "checkpoints are drawn as PNG, SVG, PDF, GIF or WebP"),
        (["-l", "0:3"], "selects 3 layers; several checkpoints are drawn for one."),
    ],
)
@pytest.mark.usefixtures("warm_worker")
def test_refusals(actviz, folder, arguments, words):
    ran = actviz("show", "epoch_1.keras", "epoch_2.keras", "--input", SEVEN, "-q", *arguments, cwd=folder)
    assert (ran.code, ran.out) == (2, "")
    assert words in ran.error
