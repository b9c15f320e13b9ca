"""Train `digits_moving` to tell which way a handwritten digit slides through a short clip.

The first layer (ConvLSTM2D `motion`) keeps time as steps, the second (Conv3D `space_time`)
looks through time as through the planes of a volume.

Run ``python sample_models/train_digits_moving.py``; it takes about a minute on two cores.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HERE = Path(__file__).parent
SEED = 7
STEPS, SIDE = 8, 16
WAYS = {"right": (0, 1), "left": (0, -1), "down": (1, 0), "up": (-1, 0)}
SHOWN = 5, "right"  # the first such digit of the test part, sliding this way


def clip(digit: np.ndarray, way: tuple[int, int], start: tuple[int, int]) -> np.ndarray:
    """Return a digit (row, column) that moves a pixel a step: (step, row, column, channel), 0..1."""
    frames = np.zeros((STEPS, SIDE, SIDE, 1), np.float32)
    for step in range(STEPS):
        top, left = (begin + by * step for begin, by in zip(start, way, strict=True))
        frames[step, top : top + 8, left : left + 8, 0] = digit / 16
    return frames


def clips(digits: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a clip of each digit, moving a way of its own, and the numbers of the ways."""
    numbers = random.integers(len(WAYS), size=len(digits))
    made = []
    for digit, number in zip(digits, numbers, strict=True):
        way = list(WAYS.values())[number]
        start = [
            {0: int(random.integers(9)), 1: int(random.integers(2)), -1: 7 + int(random.integers(2))}[by] for by in way
        ]
        made.append(clip(digit, way, (start[0], start[1])))
    return np.stack(made), numbers


def network() -> keras.Model:
    """Return the untrained network: (step, row, column, channel) to scores of ways."""
    frames = keras.Input((STEPS, SIDE, SIDE, 1), name="clip")
    x = keras.layers.ConvLSTM2D(6, 3, return_sequences=True, name="motion")(frames)
    x = keras.layers.Conv3D(8, 3, activation="relu", name="space_time")(x)
    x = keras.layers.GlobalAveragePooling3D(name="pool")(x)
    scores = keras.layers.Dense(len(WAYS), activation="softmax", name="way")(x)
    return keras.Model(frames, scores, name="digits_moving")


def main() -> None:
    """Train, and save the model and one clip that it was not trained on."""
    keras.utils.set_random_seed(SEED)
    random = np.random.default_rng(SEED)
    digits = load_digits()
    train, test, _, labels = train_test_split(digits.images, digits.target, test_size=0.2, random_state=SEED)
    train_x, train_y = clips(train, random)
    test_x, test_y = clips(test, random)
    model = network()
    model.compile(keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(train_x, train_y, epochs=8, batch_size=32, verbose=2)
    print(f"test accuracy {np.mean(model.predict(test_x, verbose=0).argmax(1) == test_y):.4f} of {len(test_y)} clips")
    keras.Model(model.input, model.output, name=model.name).save(HERE / "digits_moving.keras")
    digit, way = SHOWN
    shown = clip(test[np.flatnonzero(labels == digit)[0]], WAYS[way], (4, 0))[None]
    print({name: round(float(score), 3) for name, score in zip(WAYS, model.predict(shown, verbose=0)[0], strict=True)})
    np.savez_compressed(HERE / "five_moving.npz", clip=shown)


if __name__ == "__main__":
    main()
