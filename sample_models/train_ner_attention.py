"""Train `ner_attention`, a tagger of names that is a small transformer, on the sentences of `ner_bilstm`.

It takes the same tokens, so that `sentence.npy` and the lists of words and tags serve both.

Run ``python sample_models/train_ner_attention.py``; it takes about a quarter of a minute.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from train_ner_bilstm import HELD_OUT, HIDDEN, SEED, SENTENCES, SHOWN, STEPS, TAGS, padded, sentence

HERE = Path(__file__).parent
WIDTH = 24


def network(vocabulary: int) -> keras.Model:
    """Return the untrained tagger: (step,) tokens to (step, tag) scores."""
    tokens = keras.Input((STEPS,), dtype="int32", name="tokens")
    words = keras.layers.Embedding(vocabulary, WIDTH, mask_zero=True, name="words")(tokens)
    near = keras.layers.Conv1D(WIDTH, 3, padding="same", activation="relu", name="neighbours")(words)
    taken = keras.layers.MultiHeadAttention(4, 8, name="attention")(near, near)
    x = keras.layers.LayerNormalization(name="norm")(keras.layers.Add(name="add")([near, taken]))
    tags = keras.layers.Dense(len(TAGS), activation="softmax", name="tags")(x)
    return keras.Model(tokens, tags, name="ner_attention")


def main() -> None:
    """Train on the sentences that `ner_bilstm` is trained on, and save the model."""
    keras.utils.set_random_seed(SEED)
    random = np.random.default_rng(SEED)
    made: dict[tuple[str, ...], tuple[int, ...]] = {tuple(SHOWN.split()): ()}  # which is not trained on
    while len(made) <= SENTENCES:
        words, answer = sentence(random)
        made.setdefault(words, answer)
    del made[tuple(SHOWN.split())]
    vocabulary = (HERE / "ner_vocabulary.txt").read_text(encoding="utf-8").split()
    numbers = {word: number for number, word in enumerate(vocabulary)}
    tokens = padded([[numbers[word] for word in words] for words in made])
    tags = padded([list(answer) for answer in made.values()])
    tokens[(random.random(tokens.shape) < HIDDEN) & (tokens > 0)] = numbers["<unk>"]
    model = network(len(vocabulary))
    model.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(tokens[:-HELD_OUT], tags[:-HELD_OUT], epochs=10, batch_size=64, verbose=2)
    test_x, test_y = tokens[-HELD_OUT:], tags[-HELD_OUT:]
    right = model.predict(test_x, verbose=0).argmax(-1) == test_y
    print(f"test accuracy {right[test_x > 0].mean():.4f} of {(test_x > 0).sum()} words in {HELD_OUT} sentences")
    keras.Model(model.input, model.output, name=model.name).save(HERE / "ner_attention.keras")


if __name__ == "__main__":
    main()
