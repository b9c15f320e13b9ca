"""Train `digits_cnn` on scikit-learn's handwritten digits and save it with two inputs.

Run ``python sample_models/train_digits_cnn.py``; it takes about a quarter of a minute on two cores.
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
MARGIN = 2
SHOWN = {"seven": (7, 15), "three": (3, 11)}  # which of the test part's sevens and threes; chosen by eye


def enlarged(images: np.ndarray) -> np.ndarray:
    """Return 8 x 8 digits (0..16) as (sample, row, column, channel), 28 x 28 with a black margin, 0..1."""
    inner = (SIDE - 2 * MARGIN, SIDE - 2 * MARGIN)
    pictures = [
        Image.fromarray(np.round(image * 255 / 16).astype(np.uint8)).resize(inner, Image.Resampling.BICUBIC)
        for image in images
    ]
    values = np.stack([np.asarray(picture) for picture in pictures])[..., None].astype(np.float32) / 255
    return np.pad(values, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)))


def shifted(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return the images, each moved by at most the margin, so that no ink leaves the frame."""
    steps = random.integers(-MARGIN, MARGIN + 1, (len(images), 2))
    return np.stack([np.roll(image, tuple(step), (0, 1)) for image, step in zip(images, steps, strict=True)])


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


def save_digits(images: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> None:
    """Save the shown digits of the test part as PNG files; each must be recognised."""
    for name, (digit, place) in SHOWN.items():
        number = np.flatnonzero(labels == digit)[place]
        if scores[number].argmax() != digit:
            message = f"the {name} is not recognised"
            raise ValueError(message)
        print(f"{name}: score {scores[number].max():.3f}")
        Image.fromarray(np.round(images[number, :, :, 0] * 255).astype(np.uint8)).save(HERE / f"{name}.png")


def main() -> None:
    """Train, save the model in both formats, its history and two held-out digits."""
    keras.utils.set_random_seed(SEED)
    random = np.random.default_rng(SEED)
    digits = load_digits()
    images, labels = enlarged(digits.images), digits.target
    images, test_x, labels, test_y = train_test_split(images, labels, test_size=0.2, random_state=SEED)
    train_x, val_x, train_y, val_y = train_test_split(images, labels, test_size=0.1, random_state=SEED)
    train_x = np.concatenate([train_x, shifted(train_x, random), shifted(train_x, random)])
    model = network()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(
        train_x, np.tile(train_y, 3), validation_data=(val_x, val_y), epochs=12, batch_size=64, verbose=2
    )
    scores = model.predict(test_x, verbose=0)
    print(f"test accuracy {np.mean(scores.argmax(1) == test_y):.4f} of {len(test_y)} digits")
    plain = keras.Model(model.input, model.output, name=model.name)  # without the optimizer's state
    plain.save(HERE / "digits_cnn.keras")
    plain.save(HERE / "digits_cnn.h5", include_optimizer=False)
    (HERE / "digits_cnn.history.json").write_text(json.dumps(history.history, indent=1) + "\n")
    save_digits(test_x, test_y, scores)


if __name__ == "__main__":
    main()
