"""Figures of several checkpoints: one scale, the same channels and sizes, animations with their provenance."""

import numpy as np
import pytest
from PIL import Image

from actviz.errors import UsageError
from actviz.figures.checkpoints_figure import Checkpoint, CheckpointFigure
from actviz.records import Activation, Context, Style
from actviz.results.animation import encode_animation, read_provenance

AXES = ("batch", "row", "column", "channel")
CONTEXT = Context("3 checkpoints", "digit.png", "4 x 4 x 1")


def checkpoints(values=None, axes=AXES, **more):
    values = np.arange(48, dtype=np.float32).reshape(1, 4, 4, 3) if values is None else values
    names = ("epoch_1.keras", "epoch_2_with_a_long_name.keras", "epoch_10.keras")
    return [
        Checkpoint(name, Activation("conv", "Conv2D", values * (index + 1), axes, False, **more))
        for index, name in enumerate(names)
    ]


def test_a_row_for_each_checkpoint_on_one_scale():
    picture = CheckpointFigure.of(checkpoints(), CONTEXT, Style(channels="2,0")).draw()
    assert [tile.indices for tile in picture.tiles] == [(row, channel) for row in range(3) for channel in (2, 0)]
    assert {(tile.low, tile.high) for tile in picture.tiles} == {(0.0, 3 * 47.0)}
    boxes = [tile.box for tile in picture.tiles]
    assert boxes[0][1] == boxes[2][1] == boxes[4][1] < boxes[1][1]
    assert boxes[0][0] < boxes[2][0] < boxes[4][0]
    said = [label.text for label in picture.labels]
    assert [name for name in said if name.startswith("epoch_")] == [
        "epoch_1.keras", "epoch_2_with_a_long_name.keras", "epoch_10.keras",
    ]  # fmt: skip
    first, last = (picture.pixels[box[0] : box[2], box[1] : box[3]] for box in (boxes[0], boxes[4]))
    assert last.mean() > first.mean()  # the same values, three times as large


def test_the_channels_strongest_at_the_last_checkpoint_are_drawn_by_default():
    values = np.zeros((1, 4, 4, 12), np.float32) + np.arange(12)
    figure = CheckpointFigure.of(checkpoints(values), CONTEXT, Style())
    assert figure.channels == list(range(11, 3, -1))
    assert any("strongest by mean |value| at epoch_10.keras" in label.text for label in figure.draw().labels)


def test_frames_have_one_size_and_one_scale_each_with_its_name():
    frames = CheckpointFigure.of(checkpoints(), CONTEXT, Style()).frames()
    assert len({picture.size for picture in frames}) == 1
    assert {tile.high for picture in frames for tile in picture.tiles} == {3 * 47.0}
    assert ["epoch_10.keras" in [label.text for label in picture.labels] for picture in frames] == [False, False, True]


def test_a_vector_is_one_strip():
    values = np.arange(10, dtype=np.float32)[None]
    picture = CheckpointFigure.of(checkpoints(values, ("batch", "unit")), CONTEXT, Style()).draw()
    assert len(picture.tiles) == 3


def test_other_shapes_are_refused_with_the_file():
    several = checkpoints()
    other = Checkpoint("other.keras", Activation("conv", "Conv2D", np.zeros((1, 5, 5, 3), np.float32), AXES))
    with pytest.raises(UsageError, match=r"^other\.keras: layer 'conv' has 3 . 5 . 5 values"):
        CheckpointFigure.of([*several, other], CONTEXT, Style())


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_an_animation_loops_has_its_durations_and_its_provenance(tmp_path, suffix):
    frames = [np.full((20, 30, 3), value, np.uint8) for value in (0, 90, 255)]
    about = {"model": "epoch_1.keras", "text": "x" * 700}
    content = encode_animation(frames, [600, 600, 1800], suffix, about)
    assert content == encode_animation(frames, [600, 600, 1800], suffix, about)
    path = tmp_path / f"epochs{suffix}"
    path.write_bytes(content)
    assert read_provenance(path) == about
    with Image.open(path) as image:
        assert (image.n_frames, image.size, image.info["loop"]) == (3, (30, 20), 0)
        durations = []
        for index in range(3):
            image.seek(index)
            image.load()
            durations.append(image.info["duration"])
            assert np.abs(np.asarray(image.convert("RGB")).astype(int) - frames[index]).max() <= 1
    assert durations == [600, 600, 1800]
    path.write_bytes(b"GIF89a")
    assert read_provenance(path) is None
