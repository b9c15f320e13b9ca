"""Train `digits_cnn` on scikit-learn's handwritten digits and save it with two inputs.

Run ``python sample_models/train_digits_cnn.py``; it takes about a minute on two cores.
"""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HERE = Path(__file__).parent
SEED = 7
SIDE = 28
EPOCHS, BATCH = 8, 64
SHOWN = {"seven": 7, "three": 3}


def enlarged(images: np.ndarray) -> np.ndarray:
    """Return 8 x 8 digits (0..16) as (sample, row, column, channel), 28 x 28, 0..1."""
    pictures = [
        Image.fromarray((image * 255 / 16).astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        for image in images
    ]
    return np.stack([np.asarray(picture) for picture in pictures])[..., None].astype(np.float32) / 255


def moved(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the images and four copies of each, moved by two pixels in each direction."""
    moves = [(0, 0), (2, 0), (-2, 0), (0, 2), (0, -2)]
    return np.concatenate([np.roll(images, move, (1, 2)) for move in moves]), np.tile(labels, len(moves))


def network() -> keras.Model:
    """Return the untrained CNN of the classic example."""
    image = keras.Input((SIDE, SIDE, 1), name="image")
    x = keras.layers.Conv2D(32, 3, activation="relu", name="conv")(image)
    x = keras.layers.MaxPooling2D(name="pool")(x)
    x = keras.layers.Conv2D(64, 3, activation="relu", name="conv_intermediate")(x)
    x = keras.layers.MaxPooling2D(name="pool_intermediate")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    scores = keras.layers.Dense(10, activation="softmax", name="scores")(x)
    return keras.Model(image, scores, name="digits_cnn")


def main() -> None:
    """Train, save the model in both formats, its history and two held-out digits."""
    keras.utils.set_random_seed(SEED)
    digits = load_digits()
    images, labels = enlarged(digits.images), digits.target
    train_x, test_x, train_y, test_y = train_test_split(images, labels, test_size=0.2, random_state=SEED)
    moved_x, moved_y = moved(train_x, train_y)
    model = network()
    rate = keras.optimizers.schedules.CosineDecay(2e-3, EPOCHS * len(moved_x) // BATCH)
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(moved_x, moved_y, validation_data=(test_x, test_y), epochs=EPOCHS, batch_size=BATCH, verbose=2)
    plain = keras.Model(model.inputs, model.outputs, name=model.name)
    plain.save(HERE / "digits_cnn.keras")
    plain.save(HERE / "digits_cnn.h5", include_optimizer=False)
    (HERE / "digits_cnn.history.json").write_text(json.dumps(history.history, indent=1) + "\n")
    scores = model.predict(test_x, verbose=0)
    for name, digit in SHOWN.items():
        sure = np.where((test_y == digit) & (scores.argmax(1) == digit), scores[:, digit], 0)
        best = test_x[sure.argmax(), :, :, 0]
        Image.fromarray(np.round(best * 255).astype(np.uint8)).save(HERE / f"{name}.png")


if __name__ == "__main__":
    main()
