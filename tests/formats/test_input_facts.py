"""What the first layers say about the inputs: tables, vocabularies, splitting, dependence."""

import pytest
from keras_configs import layer, model, node, shared_encoder, source, tensor

from actviz.formats.keras.input_facts import index_limit, input_readers, known_words, required_inputs, text_split
from actviz.formats.keras.parse_graph import parse_graph


def graph_of(*layers, inputs=("x",), outputs=None):
    sources = [source(name, [5]) for name in inputs]
    last = outputs or layers[-1]["name"]
    return parse_graph(model("m", [*sources, *layers], [[name, 0, 0] for name in inputs], [last, 0, 0]), "m.keras")


def entries_of(*layers, **options):
    graph = graph_of(*layers, **options)
    return input_readers(graph)[graph.inputs[0]]


def embedding(name="embedding", source_name="x", size=30):
    return layer(name, "Embedding", [node(tensor(source_name))], input_dim=size, output_dim=4)


def through(kind, **config):
    return layer("first", kind, [node(tensor("x"))], **config)


@pytest.mark.parametrize(
    "kind", ["Cast", "Identity", "StopGradient", "Reshape", "Flatten", "Permute", "ExpandDims", "RepeatVector"]
)
def test_a_table_is_seen_through_what_keeps_every_value(kind):
    assert index_limit(entries_of(through(kind), embedding(source_name="first"))) == 30


@pytest.mark.parametrize("kind", ["GetItem", "Masking", "Rescaling", "Maximum", "Dense", "OneHot"])
def test_a_table_behind_anything_else_says_nothing_of_the_input(kind):
    assert index_limit(entries_of(through(kind), embedding(source_name="first"))) is None


def test_saved_functions_of_tensorflow_that_keep_values_are_looked_through():
    for function, limit in (("cast", 30), ("expand_dims", 30), ("add", None)):
        assert (
            index_limit(entries_of(through("TFOpLambda", function=function), embedding(source_name="first"))) == limit
        )


def test_the_smallest_table_counts():
    both = layer("sum", "Add", [node(tensor("a"), tensor("b"))])
    assert index_limit(entries_of(embedding("a", size=30), embedding("b", size=20), both)) == 20
    encoding = layer("a", "CategoryEncoding", [node(tensor("x"))], num_tokens=7)
    assert index_limit(entries_of(encoding)) == 7
    inner = {"class_name": "Embedding", "config": {"input_dim": 11, "output_dim": 2}}
    assert index_limit(entries_of(layer("a", "TimeDistributed", [node(tensor("x"))], layer=inner))) == 11


@pytest.mark.parametrize("size", [None, "30", 0, -1, True, 2.5, [30]])
def test_a_size_that_is_none_is_no_limit(size):
    assert index_limit(entries_of(embedding(size=size))) is None
    assert (
        index_limit(
            entries_of(
                layer("a", "TimeDistributed", [node(tensor("x"))], layer={"class_name": "Embedding", "config": [size]})
            )
        )
        is None
    )


def test_a_table_in_a_nested_model_counts():
    inner = model("inner", [source("y", [5]), embedding(source_name="y")], ["y", 0, 0], ["embedding", 0, 0])
    inner["inbound_nodes"] = [node(tensor("x"))]
    assert index_limit(entries_of(inner)) == 30


def lookup(kind, **config):
    return layer("lookup", kind, [node(tensor("x"))], **config)


@pytest.mark.parametrize(
    ("kind", "config", "words"),
    [
        ("StringLookup", {"vocabulary": ["a", "", "[UNK]", "two words", "b\n", "c"]}, ("a", "c")),
        ("StringLookup", {"vocabulary": ["a", "?", "m"], "oov_token": "?", "mask_token": "m"}, ("a",)),
        ("StringLookup", {"vocabulary": ["a"], "oov_token": ["?"]}, ("a",)),
        ("StringLookup", {"vocabulary": [None, {}, "a"]}, ("a",)),
        ("IntegerLookup", {"vocabulary": [5, "7", "x", 10**30]}, ("5", "7")),
        ("TextVectorization", {"vocabulary": None}, ("kept", "beside")),
        ("TextVectorization", {"vocabulary": "vocabulary.txt"}, ("kept", "beside")),
        ("Hashing", {"vocabulary": ["a"]}, ()),
    ],
)
def test_words_of_the_vocabulary(kind, config, words):
    assert known_words(entries_of(lookup(kind, **config)), lambda _: ["[UNK]", "kept", "beside"]) == words


def test_a_vocabulary_that_cannot_be_read_has_no_words():
    assert known_words(entries_of(lookup("TextVectorization")), lambda _: None) == ()


@pytest.mark.parametrize(
    ("config", "split"),
    [
        ({"split": "whitespace", "standardize": "lower_and_strip_punctuation"}, "punctuation"),
        ({"split": "whitespace", "standardize": "lower"}, "whitespace"),
        ({"split": "whitespace", "standardize": None}, "whitespace"),
        ({"split": "character", "standardize": "lower"}, "character"),
        ({"split": "character", "standardize": "strip_punctuation"}, ""),
        ({"split": None, "standardize": "lower"}, ""),
        ({"split": "whitespace", "standardize": {"class_name": "function"}}, ""),
        ({"split": "whitespace", "standardize": "lower", "ngrams": 2}, ""),
        ({"split": "whitespace", "standardize": "lower", "output_mode": "multi_hot"}, ""),
    ],
)
def test_how_a_text_is_taken_apart(config, split):
    assert text_split(entries_of(lookup("TextVectorization", **config))) == split


def test_two_rules_are_none():
    first, second = (
        layer(name, "TextVectorization", [node(tensor("x"))], split=split, standardize="lower")
        for name, split in (("a", "whitespace"), ("b", "character"))
    )
    joined = layer("c", "Add", [node(tensor("a"), tensor("b"))])
    assert text_split(entries_of(first, second, joined)) == ""


def test_every_call_knows_the_inputs_that_it_depends_on():
    graph = parse_graph(shared_encoder(), "m.keras")
    found = dict(zip((entry.address for entry in graph.nodes), required_inputs(graph), strict=True))
    assert found == {
        "left": ("left",),
        "right": ("right",),
        "encoder#0/hidden": ("left",),
        "encoder#1/hidden": ("right",),
        "difference": ("left", "right"),
        "score": ("left", "right"),
    }


def test_dependence_through_keyword_arguments():
    attention = layer("a", "MultiHeadAttention", [{"args": [tensor("x")], "kwargs": {"value": tensor("y")}}])
    assert required_inputs(graph_of(attention, inputs=("y", "x")))[-1] == ("y", "x")


def test_a_graph_of_very_many_inputs_is_not_followed():
    graph = graph_of(embedding(source_name="x0"), inputs=tuple(f"x{number}" for number in range(300)))
    assert set(required_inputs(graph)) == {None}
    assert index_limit(input_readers(graph)[graph.inputs[0]]) is None
