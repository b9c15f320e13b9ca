"""Train `photo_features` without labels on patches of real photographs.

Run ``python sample_models/train_photo_features.py``; it takes half a minute on two cores.

The photographs are the two that come with scikit-learn and the one that comes with matplotlib,
each in three sizes. Each layer learns to rebuild whitened windows of the maps below it from
few strong responses (reconstruction independent component analysis: Le et al., "ICA with
reconstruction cost for efficient overcomplete feature learning", 2011); on pixels this finds
edges and colour contrasts. A bias then lets only the strongest responses pass the relu.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import keras
import matplotlib as mpl
import numpy as np
from keras import ops
from PIL import Image
from sklearn.datasets import load_sample_images

HERE = Path(__file__).parent
SEED = 7
WINDOWS = 60_000
SHRUNK = (1, 2, 3)  # the photographs' sizes are divided by these
SHOWN = (320, 214)
SPARSITY = 2.0  # weight of the penalty beside the mean squared error
ACTIVE = 0.25  # share of places at which a filter responds


class Level(NamedTuple):
    """How one convolution is learnt."""

    name: str
    filters: int
    size: int
    components: int  # principal components that are kept; fewer make smoother filters
    both: int  # learnt filters that are used with either sign


LEVELS = (Level("edges", 32, 7, 28, 6), Level("textures", 64, 5, 48, 16), Level("parts", 96, 3, 72, 24))


def photographs() -> list[np.ndarray]:
    """Return real photographs as (1, row, column, RGB) arrays, 0..1, and their mirror images."""
    pictures = [Image.fromarray(image) for image in load_sample_images().images]
    with Image.open(Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg") as portrait:
        pictures.append(portrait.convert("RGB"))
    sized = [
        picture.resize((picture.width // divisor, picture.height // divisor), Image.Resampling.LANCZOS)
        for divisor in SHRUNK
        for picture in pictures
    ]
    values = [np.asarray(picture, np.float32)[None] / 255 for picture in sized]
    return [*values, *(value[:, :, ::-1] for value in values)]


def windows(maps: list[np.ndarray], size: int) -> np.ndarray:
    """Return random windows of the maps as rows, away from the borders that padding touches."""
    random = np.random.default_rng(SEED)
    result = np.empty((WINDOWS, size, size, maps[0].shape[-1]), np.float32)
    for number in range(WINDOWS):
        (values,) = maps[number % len(maps)]
        row, column = (random.integers(size, length - 2 * size + 1) for length in values.shape[:2])
        result[number] = values[row : row + size, column : column + size]
    return result.reshape(WINDOWS, -1)


def round_window(size: int, channels: int) -> np.ndarray:
    """Return one weight per value of a window, least in the corners, which centres the filters."""
    place = np.arange(size) - size // 2
    falloff = np.exp(-np.square(place) / np.square(size / 1.75))
    return np.repeat(np.outer(falloff, falloff).ravel(), channels).astype(np.float32)


def whitening(values: np.ndarray, components: int) -> np.ndarray:
    """Return the matrix from centred windows to decorrelated components of equal variance."""
    variances, vectors = np.linalg.eigh(np.cov(values, rowvar=False))
    variances, vectors = variances[-components:], vectors[:, -components:]
    return (vectors / np.sqrt(variances + 1e-5 * variances[-1])).astype(np.float32)


class Ica(keras.Model):
    """Rebuilds x from responses x W by the transpose of unit-length W, with a sparsity penalty."""

    def __init__(self, components: int, filters: int) -> None:
        """Start from random filters."""
        super().__init__()
        self.filters = self.add_weight((components, filters), initializer=keras.initializers.RandomNormal(0, 0.1))

    def unit(self) -> object:
        """Return the filters with unit length."""
        return self.filters / ops.norm(self.filters, axis=0, keepdims=True)

    def call(self, x: object) -> object:
        """Return the reconstruction; the penalty is a smooth sum of the responses' sizes."""
        responses = ops.matmul(x, self.unit())
        self.add_loss(SPARSITY * ops.mean(ops.sqrt(ops.square(responses) + 0.01)))
        return ops.matmul(responses, ops.transpose(self.unit()))


def filters_of(values: np.ndarray, level: Level) -> tuple[np.ndarray, dict[str, list[float]]]:
    """Return one filter a column for windows given as centred rows, and the training's history."""
    white = whitening(values, level.components)
    components = values @ white
    length = np.linalg.norm(components, axis=1, keepdims=True)
    components /= length + 0.3 * np.sqrt(level.components)  # plain windows count less
    components /= components.std()
    learned = Ica(level.components, level.filters - level.both)
    learned.compile(keras.optimizers.Adam(3e-3), "mse")
    history = learned.fit(
        components, components, validation_split=0.1, epochs=20, batch_size=512, verbose=0, shuffle=True
    ).history
    return white @ np.asarray(learned.unit()), history


def signed(kernel: np.ndarray, responses: np.ndarray, both: int) -> np.ndarray:
    """Return the filters from coarse to fine, the first `both` with either sign, the rest with one.

    Coarse filters are those whose responses vary most. A relu shows one side of a filter: of a
    plain colour both sides tell something, of the rest the rarer and stronger side is taken.
    """
    order = np.argsort(-responses.var(0))
    kernel, skew = kernel[:, order], (responses[:, order] ** 3).mean(0)
    kernel = kernel * np.sign(skew)
    either = np.stack([kernel[:, :both], -kernel[:, :both]], axis=-1).reshape(len(kernel), 2 * both)
    return np.concatenate([either, kernel[:, both:]], axis=1)


def learn(maps: list[np.ndarray], level: Level) -> tuple[list[np.ndarray], dict[str, list[float]]]:
    """Return the kernel and bias of a convolution over the maps, and the training's history."""
    channels = maps[0].shape[-1]
    values = windows(maps, level.size)
    weight = round_window(level.size, channels)
    mean = values.mean(0)
    centred = (values - mean) * weight
    kernel, history = filters_of(centred, level)
    kernel = signed(kernel, centred @ kernel, level.both)
    responses = centred @ kernel
    threshold = np.quantile(responses, 1 - ACTIVE, axis=0)
    strength = np.quantile(responses, 0.995, axis=0) - threshold
    kernel = weight[:, None] * kernel / strength
    bias = -mean @ kernel - threshold / strength
    return [kernel.reshape(level.size, level.size, channels, level.filters), bias], history


def network() -> keras.Model:
    """Return the fully convolutional encoder, free in input size."""
    image = x = keras.Input((None, None, 3), name="image")
    for level in LEVELS:
        x = keras.layers.Conv2D(level.filters, level.size, padding="same", activation="relu", name=level.name)(x)
        if level is not LEVELS[-1]:
            x = keras.layers.MaxPooling2D(name=f"pool_{level.name}")(x)
    return keras.Model(image, x, name="photo_features")


def main() -> None:
    """Train layer by layer and save the model, its history and two photographs."""
    keras.utils.set_random_seed(SEED)
    photos = photographs()
    model = network()
    history = {}
    for level in LEVELS:
        layer = model.get_layer(level.name)
        below = keras.Model(model.input, layer.input)
        weights, losses = learn([np.asarray(below(photo)) for photo in photos], level)
        layer.set_weights(weights)
        history[f"{level.name}_loss"] = losses["loss"]
        history[f"val_{level.name}_loss"] = losses["val_loss"]
        print(f"{level.name}: loss {losses['loss'][-1]:.4f}, on validation windows {losses['val_loss'][-1]:.4f}")
    model.save(HERE / "photo_features.keras")
    (HERE / "photo_features.history.json").write_text(json.dumps(history, indent=1) + "\n")
    for picture, name in zip(load_sample_images().images, ("china", "flower"), strict=True):
        Image.fromarray(picture).resize(SHOWN, Image.Resampling.LANCZOS).save(HERE / f"{name}.jpg", quality=88)


if __name__ == "__main__":
    main()
