"""Files of figures in a folder: the index of the layer, if it has one, and its address."""

from actviz.batch.output_paths import OutputOptions, choose
from actviz.records import LayerInfo


def layer(address, index=None):
    return LayerInfo(address, address, index, "Conv2D", (None, 4), "float32", 0, ("batch", "unit"))


LAYERS = [
    layer("image", 0),
    layer("back/conv"),
    layer("back-conv"),
    layer("lstm@0", 1),
    layer("lstm@1", 1),
    layer("end", 2),
]


def names(*keys, layers=LAYERS):
    return choose(OutputOptions(keys, "out/", "m.keras"), layers, 1).names


def test_the_number_is_the_index_that_layers_prints_or_none():
    found = names("image", "back/conv", "lstm@1", "end")
    assert [found[key] for key in ("image", "back/conv", "lstm@1", "end")] == [
        "000_image.png", "back-conv.png", "001_lstm_1.png", "002_end.png",
    ]  # fmt: skip


def test_a_sheet_has_none():
    assert names(layers=[*LAYERS, layer("sheet", 3)])["sheet"] == "sheet.png"


def test_names_do_not_depend_on_the_layers_that_are_drawn():
    assert names("back-conv", "end")["back-conv"] == names("back/conv", "back-conv")["back-conv"] != "back-conv.png"
