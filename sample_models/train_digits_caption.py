"""Train `digits_caption`, which says whether a caption is true of a handwritten digit.

It has two inputs, an image and a text. The captions are made here, half of them true of their
digit: "this is a seven", "not a three", "an even digit".

Run ``python sample_models/train_digits_caption.py``; it takes about half a minute on two cores.
"""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from train_digits_cnn import SIDE, enlarged, shifted

HERE = Path(__file__).parent
SEED = 7
STEPS = 6
CAPTIONS = 6  # of each digit, in training
NAMES = "zero one two three four five six seven eight nine".split()
POSITIVE = ("a {}", "this is a {}", "the digit is a {}")
NEGATIVE = ("not a {}", "this is not a {}")
SHOWN = "This is a seven!"


def statements() -> tuple[list[str], np.ndarray]:
    """Return every caption and for which digits it is true, bool (caption, digit)."""
    digits = np.arange(10)
    found = {}
    for digit, name in enumerate(NAMES):
        found |= {pattern.format(name): digits == digit for pattern in POSITIVE}
        found |= {pattern.format(name): digits != digit for pattern in NEGATIVE}
    found |= {"an even digit": digits % 2 == 0, "an odd digit": digits % 2 == 1}
    return list(found), np.stack(list(found.values()))


def captioned(labels: np.ndarray, times: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return captions for each digit `times` over: places of digits, captions, whether true (half of them)."""
    texts, truth = statements()
    places = np.repeat(np.arange(len(labels)), times)
    wanted = random.random(len(places)) < 0.5
    numbers = [
        random.choice(np.flatnonzero(truth[:, labels[place]] == true))
        for place, true in zip(places, wanted, strict=True)
    ]
    return places, np.array(texts)[numbers], wanted.astype(np.float32)


def network(vectorization: keras.layers.Layer) -> keras.Model:
    """Return the untrained model: an image and a text to the probability that the text is true."""
    image = keras.Input((SIDE, SIDE, 1), name="image")
    x = keras.layers.Conv2D(12, 5, strides=2, activation="relu", name="strokes")(image)
    x = keras.layers.Conv2D(16, 3, strides=2, activation="relu", name="shapes")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    picture = keras.layers.Dense(32, activation="relu", name="picture")(x)
    text = keras.Input((1,), dtype="string", name="text")
    y = vectorization(text)
    y = keras.layers.Embedding(vectorization.vocabulary_size(), 12, name="words")(y)
    y = keras.layers.GlobalAveragePooling1D(name="sentence")(y)
    meaning = keras.layers.Dense(32, name="meaning")(y)
    z = keras.layers.Multiply(name="both")([picture, meaning])
    z = keras.layers.Dense(32, activation="relu", name="comparison")(z)
    true = keras.layers.Dense(1, activation="sigmoid", name="true")(z)
    return keras.Model({"image": image, "text": text}, true, name="digits_caption")


def fed(images: np.ndarray, texts: np.ndarray) -> dict[str, object]:
    """Return a batch by the names of the inputs."""
    return {"image": images, "text": tf.constant(texts[:, None])}


def main() -> None:
    """Train, save the model, its history and one caption."""
    keras.utils.set_random_seed(SEED)
    random = np.random.default_rng(SEED)
    digits = load_digits()
    images, labels = enlarged(digits.images), digits.target
    images, test_x, labels, test_y = train_test_split(images, labels, test_size=0.2, random_state=SEED)
    train_x, val_x, train_y, val_y = train_test_split(images, labels, test_size=0.1, random_state=SEED)
    vectorization = keras.layers.TextVectorization(output_sequence_length=STEPS, name="tokens")
    vectorization.adapt(statements()[0])
    model = network(vectorization)
    model.compile(keras.optimizers.Adam(3e-3), "binary_crossentropy", metrics=["accuracy"])
    places, texts, truth = captioned(train_y, CAPTIONS, random)
    val_places, val_texts, val_truth = captioned(val_y, CAPTIONS, random)
    history = model.fit(
        fed(shifted(train_x[places], random), texts),
        truth,
        validation_data=(fed(val_x[val_places], val_texts), val_truth),
        epochs=16,
        batch_size=64,
        verbose=2,
    )
    test_places, test_texts, test_truth = captioned(test_y, 3, random)
    scores = model.predict(fed(test_x[test_places], test_texts), verbose=0)[:, 0]
    print(
        f"test accuracy {np.mean((scores > 0.5) == test_truth):.4f} of {len(test_truth)} captions of {len(test_y)} digits"
    )
    plain = keras.Model(model.input, model.output, name=model.name)  # without the optimizer's state
    plain.save(HERE / "digits_caption.keras")
    (HERE / "digits_caption.history.json").write_text(json.dumps(history.history, indent=1) + "\n")
    (HERE / "caption.txt").write_text(SHOWN + "\n")


if __name__ == "__main__":
    main()
