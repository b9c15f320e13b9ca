"""Train `photo_features` without labels on patches of real photographs.

Run ``python sample_models/train_photo_features.py``; it takes about three minutes.

The first layer is trained to reconstruct whitened patches from few active filters (a sparse
autoencoder with tied weights), which makes edges and colour contrasts of it. The two layers
above it are trained the same way, one after the other, on the maps below them.
"""

from __future__ import annotations

import json
from pathlib import Path

import keras
import matplotlib as mpl
import numpy as np
from keras import ops
from PIL import Image
from sklearn.datasets import load_sample_images

HERE = Path(__file__).parent
SEED = 7
LAYERS = (("edges", 32, 7, 3), ("textures", 64, 3, 32), ("parts", 96, 3, 64))
PATCH = 44


def photographs() -> list[np.ndarray]:
    """Return real photographs as (row, column, RGB) arrays, 0..1."""
    pictures = [Image.fromarray(image) for image in load_sample_images().images]
    pictures.append(Image.open(Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg"))
    shrunk = [
        picture.convert("RGB").resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS)
        for picture in pictures
    ]
    return [np.asarray(picture, np.float32) / 255 for picture in [*pictures, *shrunk]]


def patches(count: int, random: np.random.Generator) -> np.ndarray:
    """Return random patches as (patch, row, column, RGB), half of them mirrored."""
    pictures = photographs()
    result = np.empty((count, PATCH, PATCH, 3), np.float32)
    for number in range(count):
        picture = pictures[number % len(pictures)]
        row = random.integers(picture.shape[0] - PATCH)
        column = random.integers(picture.shape[1] - PATCH)
        patch = picture[row : row + PATCH, column : column + PATCH]
        result[number] = patch[:, ::-1] if random.random() < 0.5 else patch
    return result


def whitening(values: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and ZCA matrix of `size` x `size` windows of maps (patch, row, column, channel)."""
    random = np.random.default_rng(SEED)
    windows = np.stack(
        [
            values[number % len(values), row : row + size, column : column + size].ravel()
            for number, (row, column) in enumerate(random.integers(0, values.shape[1] - size, (20000, 2)))
        ]
    )
    mean = windows.mean(0)
    eigenvalues, vectors = np.linalg.eigh(np.cov(windows - mean, rowvar=False))
    floor = eigenvalues[-1] * (1e-3 if size > 3 else 1e-2)
    return mean, (vectors / np.sqrt(eigenvalues + floor)) @ vectors.T


def sparse_filters(values: np.ndarray, filters: int, size: int) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Learn non-negative sparse features of windows of `values`.

    Minimises reconstruction of whitened windows by relu(W x + b) with tied weights plus an
    L1 penalty on the features (after Ng, "Sparse autoencoder", 2011).

    Returns
    -------
    kernel : array (row, column, channel, filter)
    bias : array (filter,)
    losses : list of float, one an epoch
    """
    channels = values.shape[-1]
    mean, zca = whitening(values, size)
    random = np.random.default_rng(SEED)
    places = random.integers(0, values.shape[1] - size, (60000, 2))
    windows = np.stack([values[n % len(values), r : r + size, c : c + size].ravel() for n, (r, c) in enumerate(places)])
    white = ((windows - mean) @ zca).astype(np.float32)
    white /= np.linalg.norm(white, axis=1, keepdims=True) + 1.0
    weights = keras.Variable(random.normal(0, 0.1, (white.shape[1], filters)).astype(np.float32))
    bias = keras.Variable(np.zeros(filters, np.float32))
    learned = TiedAutoencoder(weights, bias, penalty=0.15 if size > 3 else 0.08)
    learned.compile("adam", jit_compile=False)
    history = learned.fit(white, epochs=25, batch_size=256, verbose=0)
    directions = np.asarray(weights)
    directions = directions / np.linalg.norm(directions, axis=0)
    kernel = (zca @ directions).astype(np.float32)
    offsets = (np.asarray(bias) - mean @ kernel).astype(np.float32)
    responses = np.maximum(windows @ kernel + offsets, 0)
    strength = np.maximum(np.percentile(responses, 99.5, axis=0), 1e-6)
    kernel, offsets = kernel / strength, offsets / strength
    return kernel.reshape(size, size, channels, filters), offsets, history.history["loss"]


class TiedAutoencoder(keras.Model):
    """relu(x W + b), decoded by the transpose of unit-length W, with a sparsity penalty."""

    def __init__(self, weights: keras.Variable, bias: keras.Variable, penalty: float) -> None:
        super().__init__()
        self.filters, self.bias, self.penalty = weights, bias, penalty
        self._track_variable(weights)
        self._track_variable(bias)

    def call(self, x: object) -> object:
        """Return the reconstruction and add the losses."""
        unit = self.filters / ops.norm(self.filters, axis=0, keepdims=True)
        features = ops.relu(ops.matmul(x, unit) + self.bias)
        rebuilt = ops.matmul(features, ops.transpose(unit))
        self.add_loss(ops.mean(ops.sum(ops.square(rebuilt - x), axis=-1)))
        self.add_loss(self.penalty * ops.mean(ops.sum(features, axis=-1)))
        return rebuilt


def network() -> keras.Model:
    """Return the fully convolutional encoder, free in input size."""
    image = x = keras.Input((None, None, 3), name="image")
    for position, (name, filters, size, _) in enumerate(LAYERS):
        x = keras.layers.Conv2D(filters, size, padding="same", activation="relu", name=name)(x)
        if position < len(LAYERS) - 1:
            x = keras.layers.MaxPooling2D(name=f"pool_{name}")(x)
    return keras.Model(image, x, name="photo_features")


def main() -> None:
    """Train layer by layer and save the model, its history and a photograph."""
    keras.utils.set_random_seed(SEED)
    random = np.random.default_rng(SEED)
    values = patches(1500, random)
    model = network()
    history = {}
    for name, filters, size, _ in LAYERS:
        layer = model.get_layer(name)
        below = keras.Model(model.inputs, layer.input)
        maps = np.concatenate([np.asarray(below(values[start : start + 100])) for start in range(0, len(values), 100)])
        kernel, bias, history[f"{name}_loss"] = sparse_filters(maps, filters, size)
        layer.set_weights([kernel, bias])
        print(name, history[f"{name}_loss"][-1])
    model.save(HERE / "photo_features.keras")
    (HERE / "photo_features.history.json").write_text(json.dumps(history, indent=1) + "\n")
    for picture, name in zip(load_sample_images().images, ("china", "flower"), strict=True):
        Image.fromarray(picture).resize((320, 214), Image.Resampling.LANCZOS).save(HERE / f"{name}.jpg", quality=88)


if __name__ == "__main__":
    main()
