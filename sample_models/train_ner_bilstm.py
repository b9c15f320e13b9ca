"""Train `ner_bilstm`, a tagger of persons, places and organisations, on made sentences.

The tags follow the BIO scheme: B- begins a name, I- goes on with it, O stands outside of names.
Padding is masked: it counts in no loss, and what the tagger says of it means nothing.
One word in ten is hidden as ``<unk>``, so that the words around a name count as well.

Run ``python sample_models/train_ner_bilstm.py``; it takes about ten seconds.
"""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np

HERE = Path(__file__).parent
SEED = 7
STEPS = 12
SENTENCES = 4000
HELD_OUT = 500
HIDDEN = 0.1
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"]
NAMES = {
    "PER": [
        *("Ada", "Ada Lovelace", "Alan Turing", "Barbara Liskov", "Donald Knuth", "Edsger Dijkstra", "Grace"),
        *("Grace Hopper", "Hedy Lamarr", "Katherine Johnson", "Margaret Hamilton", "Niklaus Wirth", "Alan"),
    ],
    "LOC": [
        *("Bergen", "Buenos Aires", "Cape Town", "Hanoi", "Kyoto", "Lagos", "Leeds", "Lima", "Nairobi"),
        *("New York", "Oslo", "Paris", "Porto", "Quito", "San Juan", "Turin"),
    ],
    "ORG": [
        *("Cern", "Esa", "Interpol", "Nasa", "Red Cross", "Royal Society", "Unesco", "Unicef"),
        *("World Bank", "Red Crescent"),
    ],
}
PATTERNS = [
    "PER works for ORG in LOC",
    "PER and PER flew from LOC to LOC",
    "last year ORG opened an office in LOC",
    "the director of ORG met PER",
    "in LOC it rained when PER arrived",
    "PER left ORG and moved to LOC",
    "nobody in LOC had heard of ORG",
    "yesterday PER wrote a long letter to PER",
]
SHOWN = "Ada Lovelace left Nasa and moved to New York"


def sentence(random: np.random.Generator) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the words of one made sentence and the number of each word's tag."""
    words: list[str] = []
    tags: list[str] = []
    for part in PATTERNS[random.integers(len(PATTERNS))].split():
        if part in NAMES:
            first, *rest = str(random.choice(NAMES[part])).split()
            words += [first, *rest]
            tags += [f"B-{part}", *[f"I-{part}"] * len(rest)]
        else:
            words.append(part)
            tags.append("O")
    return tuple(words), tuple(TAGS.index(tag) for tag in tags)


def padded(rows: list[list[int]]) -> np.ndarray:
    """Return rows of numbers as int32 (row, step), filled up with 0."""
    return np.array([[*row, *[0] * (STEPS - len(row))] for row in rows], np.int32)


def network(vocabulary: int) -> keras.Model:
    """Return the untrained tagger: (step,) tokens to (step, tag) scores."""
    return keras.Sequential(
        [
            keras.Input((STEPS,), dtype="int32", name="tokens"),
            keras.layers.Embedding(vocabulary, 24, mask_zero=True, name="embedding"),
            keras.layers.Bidirectional(keras.layers.LSTM(24, return_sequences=True, name="lstm"), name="bilstm"),
            keras.layers.TimeDistributed(keras.layers.Dense(len(TAGS), activation="softmax", name="tag"), name="tags"),
        ],
        name="ner_bilstm",
    )


def save_sentence(model: keras.Model, vocabulary: list[str]) -> None:
    """Save the shown sentence, encoded and as words, with the vocabulary and the tags."""
    words = SHOWN.split()
    encoded = padded([[vocabulary.index(word) for word in words]])
    answer = model.predict(encoded, verbose=0)[0].argmax(-1)
    print(" ".join(f"{word}/{TAGS[tag]}" for word, tag in zip(words, answer, strict=False)))
    np.save(HERE / "sentence.npy", encoded)
    shown = [*words, *["<pad>"] * (STEPS - len(words))]
    for name, lines in (("sentence", shown), ("ner_vocabulary", vocabulary), ("ner_labels", TAGS)):
        (HERE / f"{name}.txt").write_text("\n".join(lines) + "\n")


def main() -> None:
    """Train, and save the model, its history, vocabulary, tags and one sentence."""
    keras.utils.set_random_seed(SEED)
    random = np.random.default_rng(SEED)
    made: dict[tuple[str, ...], tuple[int, ...]] = {tuple(SHOWN.split()): ()}  # which is not trained on
    while len(made) <= SENTENCES:
        words, answer = sentence(random)
        made.setdefault(words, answer)
    del made[tuple(SHOWN.split())]
    vocabulary = ["<pad>", "<unk>", *sorted({word for words in [*made, SHOWN.split()] for word in words})]
    numbers = {word: number for number, word in enumerate(vocabulary)}
    tokens = padded([[numbers[word] for word in words] for words in made])
    tags = padded([list(answer) for answer in made.values()])
    tokens[(random.random(tokens.shape) < HIDDEN) & (tokens > 0)] = numbers["<unk>"]
    train_x, val_x, test_x = np.split(tokens, [-2 * HELD_OUT, -HELD_OUT])
    train_y, val_y, test_y = np.split(tags, [-2 * HELD_OUT, -HELD_OUT])
    model = network(len(vocabulary))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(train_x, train_y, validation_data=(val_x, val_y), epochs=8, batch_size=64, verbose=2)
    right = model.predict(test_x, verbose=0).argmax(-1) == test_y
    print(f"test accuracy {right[test_x > 0].mean():.4f} of {(test_x > 0).sum()} words in {len(test_x)} sentences")
    model.save(HERE / "ner_bilstm.h5", include_optimizer=False)
    (HERE / "ner_bilstm.history.json").write_text(json.dumps(history.history, indent=1) + "\n")
    save_sentence(model, vocabulary)


if __name__ == "__main__":
    main()
