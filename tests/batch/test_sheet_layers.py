"""The layers of a default sheet."""

from __future__ import annotations

import pytest

from actviz.batch import sheet_layers
from actviz.records import LayerInfo

AXES = {
    "map": ("batch", "row", "column", "channel"),
    "sequence": ("batch", "step", "unit"),
    "vector": ("batch", "unit"),
    "attention": ("batch", "head", "query", "key"),
}


def layers(*described: str) -> list[LayerInfo]:
    """Return layers from descriptions such as ``conv1 Conv2D map``."""
    parts = [text.split() for text in described]
    return [
        LayerInfo(address, address, index, kind, (None, *(4 for _ in AXES[axes][1:])), "float32", 0, AXES[axes])
        for index, (address, kind, axes) in enumerate(parts)
    ]


def residual(blocks: int) -> list[LayerInfo]:
    """Return a residual network with eight layers in a block."""
    names = "pad ZeroPadding2D", "conv1 Conv2D", "norm BatchNormalization", "relu ReLU", "conv2 Conv2D"
    names = (*names, "drop Dropout", "add Add", "out Activation")
    stem = ("in InputLayer map", "stem Conv2D map", "pool MaxPooling2D map")
    block = [f"b{number}_{name} map" for number in range(blocks) for name in names]
    return layers(*stem, *block, "mean GlobalAveragePooling2D vector", "scores Dense vector")


def shown(items: list[LayerInfo]) -> list[str]:
    return [item.address for item in sheet_layers.drawable(items)]


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_copies_are_left_out_and_the_class_scores_are_the_last(blocks: int) -> None:
    each = [f"b{number}_{name}" for number in range(blocks) for name in ("conv1", "conv2", "add")]
    assert shown(residual(blocks)) == ["stem", "pool", *each, "scores"]
    assert sheet_layers.left_out(residual(blocks), {"stem", "pool", *each, "scores"}) == (
        (
            f"left out ({5 * blocks} only normalized, padded, rectified or passed on, 1 vector; --layer '**' --sheet for all)",
            5 * blocks + 1,
        ),
    )


def test_a_nested_network_is_shown_by_its_layers_and_a_resized_input_by_the_layers_after_it() -> None:
    items = layers(
        "in InputLayer map", "resizing Resizing map", "stem Functional map", "stem/edges Conv2D map",
        "stem/batch_normalization BatchNormalization map", "stem/parts Conv2D map", "re_lu ReLU map",
        "mean GlobalAveragePooling2D vector",
    )  # fmt: skip
    assert shown(items) == ["stem/edges", "stem/parts", "mean"]


def test_a_wrapper_is_shown_and_not_the_layer_in_it_and_neither_if_that_is_a_copy() -> None:
    items = layers(
        "embedding Embedding sequence", "norm TimeDistributed sequence", "norm/one LayerNormalization sequence",
        "tags TimeDistributed sequence", "tags/tag Dense sequence",
        "both Bidirectional sequence", "both/forward LSTM sequence", "both/backward LSTM sequence",
    )  # fmt: skip
    assert shown(items) == ["embedding", "tags", "both", "both/forward", "both/backward"]


def test_a_network_of_copies_alone_is_shown() -> None:
    assert shown(layers("in InputLayer map", "scaled Rescaling map", "relu ReLU map")) == ["scaled", "relu"]


def test_ends_of_blocks_are_shown_of_a_deep_network() -> None:
    assert shown(residual(16)) == ["stem", "pool", *(f"b{number}_add" for number in range(16)), "scores"]


def test_class_scores_are_one_of_the_most_layers() -> None:
    chosen = shown(layers(*(f"conv{number} Conv2D map" for number in range(100)), "scores Dense vector"))
    assert len(chosen) == sheet_layers.MOST_LAYERS
    assert chosen[-2:] == ["conv99", "scores"]


def test_a_network_without_blocks_shows_evenly_spaced_layers_with_the_first_and_the_last() -> None:
    plain = layers(*(f"conv{number} Conv2D map" for number in range(100)))
    chosen = shown(plain)
    assert len(chosen) == sheet_layers.MOST_LAYERS
    assert (chosen[0], chosen[-1]) == ("conv0", "conv99")
    assert sheet_layers.left_out(plain, set(chosen)) == (("left out (--layer '**' --sheet for all)", 76),)


def test_tokens_and_heads_are_shown_beside_maps_and_scores_of_long_sequences_are_not() -> None:
    items = layers(
        "patches Conv2D map", "tokens Reshape sequence", "attend MultiHeadAttention sequence",
        "attend@scores Scores attention", "mlp Dense sequence", "class Dense vector",
    )  # fmt: skip
    assert shown(items) == ["patches", "attend", "attend@scores", "mlp", "class"]
    assert sheet_layers.left_out(items, {"patches", "attend@scores", "mlp", "class"}) == (
        ("left out (1 only normalized, padded, rectified or passed on; --layer '**' --sheet for all)", 1),
    )
    long = [*items]
    long[3] = LayerInfo("attend@scores", "s", None, "Scores", (None, 16, 4096, 4096), "float32", 0, AXES["attention"])
    assert shown(long) == ["patches", "attend", "mlp", "class"]
