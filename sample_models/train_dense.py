"""Train `dense` on ten measurements of scikit-learn's breast-cancer data.

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
    """Train on standardised measurements; save the model, its history and one patient."""
    keras.utils.set_random_seed(SEED)
    data = load_breast_cancer()
    values = data.data[:, :MEASUREMENTS].astype(np.float32)
    train_x, test_x, train_y, test_y = train_test_split(values, data.target, test_size=0.2, random_state=SEED)
    mean, std = train_x.mean(0), train_x.std(0)
    train_x, test_x = (train_x - mean) / std, (test_x - mean) / std
    model = network()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(train_x, train_y, validation_data=(test_x, test_y), epochs=30, batch_size=32, verbose=2)
    plain = keras.Model(model.inputs, model.outputs, name=model.name)
    plain.save(HERE / "dense.h5", include_optimizer=False)
    (HERE / "dense.history.json").write_text(json.dumps(history.history, indent=1) + "\n")
    np.save(HERE / "patient.npy", test_x[:1])


if __name__ == "__main__":
    main()
