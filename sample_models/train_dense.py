"""Train `dense` on ten measurements of scikit-learn's breast-cancer data.

The measurements are the data's first ten, the "mean" features of the cell nuclei (radius,
texture, perimeter and so on), standardised with the training part's mean and deviation. The
two scores are those of "malignant" and "benign".

Run ``python sample_models/train_dense.py``; it takes a few seconds.
"""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

HERE = Path(__file__).parent
SEED = 7
MEASUREMENTS = 10


def network() -> keras.Model:
    """Return the untrained network: 10 measurements to 2 class scores."""
    measurements = keras.Input((MEASUREMENTS,), name="measurements")
    x = keras.layers.Dense(32, activation="relu", name="wide")(measurements)
    x = keras.layers.Dense(16, activation="relu", name="intermediate")(x)
    x = keras.layers.Dense(8, activation="relu", name="narrow")(x)
    scores = keras.layers.Dense(2, activation="softmax", name="scores")(x)
    return keras.Model(measurements, scores, name="dense")


def main() -> None:
    """Train on standardised measurements; save the model, its history and one held-out patient."""
    keras.utils.set_random_seed(SEED)
    data = load_breast_cancer()
    values = data.data[:, :MEASUREMENTS].astype(np.float32)
    values, test_x, labels, test_y = train_test_split(values, data.target, test_size=0.2, random_state=SEED)
    train_x, val_x, train_y, val_y = train_test_split(values, labels, test_size=0.1, random_state=SEED)
    mean, deviation = train_x.mean(0), train_x.std(0)
    train_x, val_x, test_x = ((part - mean) / deviation for part in (train_x, val_x, test_x))
    model = network()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(train_x, train_y, validation_data=(val_x, val_y), epochs=30, batch_size=32, verbose=2)
    scores = model.predict(test_x, verbose=0)
    print(f"test accuracy {np.mean(scores.argmax(1) == test_y):.4f} of {len(test_y)} patients")
    print(f"patient: {data.target_names[test_y[0]]}, scores {scores[0]}")
    model.save(HERE / "dense.h5", include_optimizer=False)
    (HERE / "dense.history.json").write_text(json.dumps(history.history, indent=1) + "\n")
    np.save(HERE / "patient.npy", test_x[:1])


if __name__ == "__main__":
    main()
