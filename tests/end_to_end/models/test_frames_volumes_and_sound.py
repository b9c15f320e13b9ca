"""Networks of frames, volumes and sound, run on the files that people have."""

from __future__ import annotations

import json
import wave

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    import keras

    folder = tmp_path_factory.mktemp("networks")
    keras.utils.set_random_seed(1)
    layers = keras.layers
    for name, layer in (("clip", layers.ConvLSTM2D(2, 3, name="c")), ("volume", layers.Conv3D(2, 3, name="c"))):
        given = keras.Input((4, 12, 10, 3))
        keras.Model(given, layer(given)).save(folder / f"{name}.keras")
    sound = keras.Sequential([keras.Input((1600, 1)), layers.Conv1D(3, 9, strides=4, name="c")])
    sound.save(folder / "sound.h5")
    return folder


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
@pytest.mark.parametrize("name", ["clip", "volume"])
def test_frames(actviz, networks, tmp_path, suffix, name):
    frames = [Image.new("RGB", (20, 24), (60 * level, 0, 0)) for level in range(4)]
    path = tmp_path / f"a.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], **({"lossless": True} if suffix == "webp" else {}))
    done = actviz("extract", networks / f"{name}.keras", path, "-l", "0", "-l", "c", "-o", "a.npz")
    assert done.code == 0, done.err
    with np.load(tmp_path / "a.npz") as file:
        fed = file[next(key for key in file if file[key].shape[1:] == (4, 12, 10, 3))]
        sample = json.loads(str(file["actviz.json"]))["samples"][0]
    np.testing.assert_allclose(fed[0, :, 0, 0, 0], np.arange(4) * 60 / 255, atol=0.02)
    assert sample["fed"].startswith("4 frames, 12 ")
    done = actviz("show", networks / f"{name}.keras", path, "-l", "c", "-o", "a_c.png")
    assert done.code == 0, done.err
    frames[0].save(tmp_path / "one.png")
    done = actviz("show", networks / f"{name}.keras", "one.png", "-l", "c", "-o", "b.png")
    assert done.code == 3
    assert "the image has one frame" in done.error


def test_sound(actviz, networks, tmp_path):
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 32_000, 0, "NONE", ""))
        file.writeframes(np.arange(3200, dtype="<i2").tobytes())
    done = actviz("show", networks / "sound.h5", "a.wav", "-l", "c", "-o", "a.png")
    assert done.code == 3
    assert "3,200 samples (0.1 s at 32,000 Hz), the input takes 1,600; --sample-rate 16000" in done.error
    done = actviz("show", networks / "sound.h5", "a.wav", "-l", "c", "-o", "a.png", "--sample-rate", "16000")
    assert done.code == 0, done.err
    assert "resampled from 32,000 to 16,000 Hz" in done.err
    with Image.open(tmp_path / "a.png") as image:
        assert json.loads(image.text["actviz"])["fed"] == "1,600 samples at 16,000 Hz, mono, -1..1"
    assert actviz("check", networks / "sound.h5", tmp_path, "--no-nan", "--sample-rate", "16000").code == 0
