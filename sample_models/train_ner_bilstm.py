"""Train `ner_bilstm`, a tagger of persons, places and organisations, on made sentences.

Run ``python sample_models/train_ner_bilstm.py``; it takes about half a minute.
"""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np

HERE = Path(__file__).parent
SEED = 7
STEPS = 12
SENTENCES = 3000
TAGS = ["O", "PERSON", "PLACE", "ORGANISATION"]
WORDS = {
    "PERSON": "Ada Grace Alan Edsger Barbara Donald Katherine Dennis Hedy Niklaus Margaret Claude".split(),
    "PLACE": "Paris Lagos Kyoto Lima Oslo Nairobi Quito Hanoi Turin Porto Leeds Bergen".split(),
    "ORGANISATION": "Unesco Cern Nasa Interpol Oxfam Fifa Unicef Esa Opec Nato".split(),
}
PATTERNS = [
    "PERSON works for ORGANISATION in PLACE",
    "PERSON and PERSON flew from PLACE to PLACE",
    "last year ORGANISATION opened an office in PLACE",
    "the director of ORGANISATION met PERSON",
    "in PLACE it rained when PERSON arrived",
    "PERSON left ORGANISATION and moved to PLACE",
    "nobody in PLACE had heard of ORGANISATION",
    "yesterday PERSON wrote a long letter to PERSON",
]


def sentence(random: np.random.Generator) -> tuple[list[str], list[int]]:
    """Return the words of one made sentence and the number of each word's tag."""
    words, tags = [], []
    for word in PATTERNS[random.integers(len(PATTERNS))].split():
        tag = word if word in WORDS else "O"
        words.append(str(random.choice(WORDS[word])) if word in WORDS else word)
        tags.append(TAGS.index(tag))
    return words, tags


def network(vocabulary: int) -> keras.Model:
    """Return the untrained tagger: (step,) tokens to (step, tag) scores."""
    return keras.Sequential(
        [
            keras.Input((STEPS,), dtype="int32", name="tokens"),
            keras.layers.Embedding(vocabulary, 24, mask_zero=True, name="embedding"),
            keras.layers.Bidirectional(keras.layers.LSTM(24, return_sequences=True), name="bilstm"),
            keras.layers.TimeDistributed(keras.layers.Dense(len(TAGS), activation="softmax"), name="tags"),
        ],
        name="ner_bilstm",
    )


def main() -> None:
    """Train, and save the model, its history, vocabulary, tags and one sentence."""
    keras.utils.set_random_seed(SEED)
    random = np.random.default_rng(SEED)
    made = [sentence(random) for _ in range(SENTENCES)]
    vocabulary = ["<pad>", *sorted({word for words, _ in made for word in words})]
    numbers = {word: number for number, word in enumerate(vocabulary)}
    tokens = np.zeros((SENTENCES, STEPS), np.int32)
    tags = np.zeros((SENTENCES, STEPS), np.int32)
    for row, (words, answer) in enumerate(made):
        tokens[row, : len(words)] = [numbers[word] for word in words]
        tags[row, : len(words)] = answer
    model = network(len(vocabulary))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(tokens, tags, validation_split=0.1, epochs=4, batch_size=64, verbose=2)
    model.save(HERE / "ner_bilstm.h5", include_optimizer=False)
    (HERE / "ner_bilstm.history.json").write_text(json.dumps(history.history, indent=1) + "\n")
    shown = "Grace left Nasa and moved to Kyoto".split()
    encoded = np.zeros((1, STEPS), np.int32)
    encoded[0, : len(shown)] = [numbers[word] for word in shown]
    np.save(HERE / "sentence.npy", encoded)
    (HERE / "sentence.txt").write_text("\n".join(shown) + "\n")
    (HERE / "ner_vocabulary.txt").write_text("\n".join(vocabulary) + "\n")
    (HERE / "ner_labels.txt").write_text("\n".join(TAGS) + "\n")


if __name__ == "__main__":
    main()
