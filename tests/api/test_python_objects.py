"""What Python users and notebooks see: names, help, short reprs, tables, arrays, figures, and errors in their words."""

import inspect
import io
import pydoc
import sys
import warnings
from dataclasses import replace
from importlib.resources import files as resources

import numpy as np
import pytest
from conftest import SAMPLES
from PIL import Image

import actviz
from actviz import records
from actviz.api.arguments import python_words
from actviz.api.layer_activation import MAXIMUM_CHANNELS, MAXIMUM_SIDE, LayerActivation
from actviz.api.layer_table import MAXIMUM_ROWS, as_html
from actviz.errors import ActvizError, InputError, OutputError, UsageError

pytestmark = pytest.mark.filterwarnings("ignore:preprocessing")
PUBLIC = ("Activation", "Context", "Network", "Style", "draw", "explain", "load", "open", "preprocess", "save", "top")
AXES = ("batch", "row", "column", "channel")


@pytest.fixture(scope="module")
def network():
    with actviz.open(SAMPLES / "digits_cnn.h5") as opened:
        yield opened


def activation(shape=(2, 6, 6, 4), axes=AXES, values=None):
    return LayerActivation("conv", "Conv2D", np.ones(shape, np.float32) if values is None else values, axes)


def test_public_names_are_listed_and_explained():
    assert {name for name in dir(actviz) if not name.startswith("_")} - {"errors"} == set(PUBLIC)
    text = pydoc.plain(pydoc.render_doc(actviz))
    for name in PUBLIC:
        thing = getattr(actviz, name)
        assert inspect.getdoc(thing), name
        assert name in text
        members = vars(thing).items() if inspect.isclass(thing) else ()
        for key, member in members:
            own = not key.startswith("_") and (inspect.isroutine(member) or isinstance(member, property))
            assert not own or inspect.getdoc(member), (name, key)


def test_the_package_is_typed():
    assert (resources("actviz") / "py.typed").is_file()


def test_a_network_has_a_short_repr_and_a_table(network):
    assert repr(network) == "<actviz network digits_cnn.h5: Keras 3.15.1, 7 layers>"
    page = network._repr_html_()
    assert page.count("<tr>") == 8
    assert (
        "<td>3</td><td>conv_intermediate</td><td>Conv2D</td><td>11 x 11 x 64</td><td>18,496</td><td>grid</td>" in page
    )


def test_a_table_is_bounded_and_its_texts_are_escaped(network):
    layers = tuple(replace(network.layers[1], address=f"<b>{number}", kind="<i>") for number in range(1000))
    page = as_html(replace(network.facts, file="<u>", layers=layers))
    assert page.count("<tr>") == MAXIMUM_ROWS + 1
    assert "and 940 more" in page
    assert "&lt;b&gt;0" in page
    assert "<b>" not in page
    assert "<u>" not in page
    assert len(page) < 20_000


def test_layers_as_a_data_frame(network):
    frame = network.to_pandas()
    assert list(frame["address"]) == [layer.address for layer in network.layers]
    row = frame.set_index("address").loc["conv_intermediate"]
    assert (row["class"], row["parameters"], row["index"], row["drawn_as"]) == ("Conv2D", 18496, 3, "grid")


def test_an_activation_is_an_array():
    values = np.arange(288, dtype=np.float32).reshape(2, 6, 6, 4)
    item = activation(values=values)
    assert (item.shape, item.dtype) == ((2, 6, 6, 4), np.float32)
    assert np.shares_memory(np.asarray(item), values)
    assert not np.shares_memory(np.array(item), values)
    assert np.asarray(item, np.float64).dtype == np.float64
    np.testing.assert_array_equal(np.maximum(item, 5), np.maximum(values, 5))
    assert repr(item) == "<actviz activation conv: Conv2D, float32 (batch 2, row 6, column 6, channel 4)>"


def test_an_activation_as_a_labelled_array():
    labelled = activation().to_xarray()
    assert (labelled.dims, labelled.name) == (AXES, "conv")
    assert float(labelled.mean("channel").sel(batch=1, row=0, column=0)) == 1


@pytest.mark.parametrize(("library", "method"), [("pandas", "to_pandas"), ("xarray", "to_xarray")])
def test_a_missing_library_is_named(network, monkeypatch, library, method):
    monkeypatch.setitem(sys.modules, library, None)
    item = network if method == "to_pandas" else activation()
    with pytest.raises(ImportError, match=f"{method} needs {library}, .* pip install {library}"):
        getattr(item, method)()


@pytest.mark.parametrize("shape", [(1, 6, 6, 4), (1, 200, 3000, 1), (1, 56, 56, 3 * MAXIMUM_CHANNELS)])
def test_the_figure_in_a_notebook_is_bounded(shape):
    content = activation(shape)._repr_png_()
    with Image.open(io.BytesIO(content)) as image:
        assert 100 < max(image.size) <= MAXIMUM_SIDE
    assert len(content) < 4_000_000


@pytest.mark.parametrize("values", [np.array([["word"]]), np.zeros((0, 6, 6, 4), np.float32)])
def test_what_has_no_figure_is_shown_by_its_repr(values):
    assert activation(values=values, axes=AXES[: values.ndim])._repr_png_() is None


def test_activations_of_the_library_and_of_the_command_are_drawn_alike():
    plain = records.Activation("conv", "Conv2D", activation().values, AXES)
    assert actviz.draw(plain).tobytes() == actviz.draw(LayerActivation.of(plain)).tobytes()


BATCH = np.zeros((1, 28, 28, 1), np.float32)
MISTAKES = {
    "number as address": (lambda network: network.activations(BATCH, [3]), 'addresses: a layer address (str) was expected, got int; layers are chosen by text such as "conv" or "-1".'),
    "address is no list": (lambda network: network.activations(BATCH, 3), "addresses: a layer address or a list of them was expected, got int"),
    "dictionary drawn": (lambda _: actviz.draw({"conv": activation()}), 'activation: an Activation was expected, got dict; draw a value of the dictionary, such as activations["conv"].'),
    "array drawn": (lambda _: actviz.draw(BATCH), "activation: an Activation was expected, got ndarray."),
    "style is text": (lambda _: actviz.draw(activation(), style="dark"), "style: an actviz.Style was expected, got str; such as actviz.Style(dark=True)."),
    "size is text": (lambda _: actviz.draw(activation(), style=actviz.Style(top="4")), "style.top: a whole number was expected, got str."),
    "path computed": (lambda network: network.activations("cat.png", "conv"), "inputs: an array was expected, got str; read files with actviz.preprocess(files, network)."),
    "nothing computed": (lambda network: network.activations(None), "inputs: an array was expected, got NoneType; read files with actviz.preprocess(files, network)."),
    "index is text": (lambda _: actviz.draw(activation(), "0"), "index: a whole number was expected, got str."),
    "save exchanged": (lambda _: actviz.save({"conv": activation()}, "x.npz"), "path: a path (str or os.PathLike) was expected, got dict; the order is save(path, activations)."),
    "arrays saved": (lambda _: actviz.save("x.npz", {"conv": BATCH}), "activations: a dictionary of activations by address was expected, got ndarray"),
    "one activation saved": (lambda _: actviz.save("x.npz", activation()), "activations: a dictionary of activations by address was expected, got LayerActivation"),
    "number opened": (lambda _: actviz.open(3), "path: a path (str or os.PathLike) was expected, got int."),
    "number loaded": (lambda _: actviz.load(3), "path: a path (str or os.PathLike) was expected, got int."),
    "array preprocessed": (lambda network: actviz.preprocess(BATCH, network), "inputs: a path (str or os.PathLike) was expected, got ndarray; arrays are given to network.activations as they are."),
    "preprocess exchanged": (lambda network: actviz.preprocess(network, "x.png"), "network: what actviz.open returns was expected, got str; the order is preprocess(inputs, network)."),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_wrong_types_are_type_errors_that_say_what_was_expected(network, name):
    call, message = MISTAKES[name]
    with pytest.raises(TypeError) as caught:
        call(network)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("name", ["x.npy", "x"])
def test_activations_are_saved_as_npz_only(tmp_path, name):
    with pytest.raises(UsageError, match=r"activations are written as \.npz; give a name that ends in \.npz"):
        actviz.save(tmp_path / name, {"conv": activation()})
    assert not list(tmp_path.iterdir())


def test_an_index_outside_the_batch_is_an_index_error():
    with pytest.raises(IndexError, match="index: 2 is not in the batch of 2"):
        actviz.draw(activation(), 2)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("x.npz: a folder stands there; choose another name with -o.", "x.npz: a folder stands there; choose another name."),
        ("use --preprocess 0..255, or give an array.", 'use preprocess="0..255", or give an array.'),
        ("smaller or raise --max-pixels.", "smaller or raise maximum_pixels=."),
        ("Use --allow-code if you trust it.", "Use allow_code=True if you trust it."),
        ("give it with --custom-objects module:Block or file.py.", 'give it with custom_objects="module:Block" or file.py.'),
        ("--preprocess foo: choose one of auto, torch.", "preprocess='foo': choose one of auto, torch."),
        ("--background a: b: not a color.", "background='a': b: not a color."),
        ("give it with --input right=FILE. The", 'give it with inputs={"right": FILE}. The'),
        ("/tmp/a--dark.png: is missing, or x/--bare", "/tmp/a--dark.png: is missing, or x/--bare"),
        ("or list them with: actviz layers my model.h5", "or list them with: network.layers"),
        ("Or list them with: python -m zipfile -l 'my out.npz'", "Or list them with: list(actviz.load(path))"),
        ("a.png: this is an image, not a model; the model is the first argument and the inputs follow it.", "a.png: this is an image, not a model; read inputs with actviz.preprocess(files, network)."),
        ("no input given: zeros used; give text after the model.", "no input given: zeros used; give text as inputs."),
        ("there is no frame 7; the first is --frame 0.", "there is no frame 7; the first is frame=0."),
        ("frame 0 is read (--frame N for another).", "frame 0 is read (frame=N for another)."),
        ("--frame 70000: at most 1,000 is read.", "frame=70000: at most 1,000 is read."),
        ("--input a=b.png: there is no input a.", "inputs={'a': 'b.png'}: there is no input a."),
        ('--custom-objects "a b": expected file.py.', "custom_objects='a b': expected file.py."),
        ("draw its curves with: actviz history h.json; the model", "draw its curves with, in a shell: actviz history h.json; the model"),
        ("the graph has no placeholder; name the node that takes the input with --input NAME=FILE.", 'the graph has no placeholder; name the node that takes the input with inputs=["NAME"].'),
        ("choose fewer layers, or raise --max-memory.", "choose fewer layers."),
    ],
)  # fmt: skip
def test_messages_name_keywords(message, words):
    assert python_words(message) == words


def test_errors_keep_their_class_and_name_no_option(network, tmp_path):
    taken = tmp_path / "taken.npz"
    taken.write_text("mine")
    seven = SAMPLES / "seven.png"
    for error, call in (
        (OutputError, lambda: actviz.save(taken, {"conv": activation()})),
        (OutputError, lambda: actviz.save(tmp_path, {"conv": activation()})),
        (UsageError, lambda: network.activations(BATCH, "convv")),
        (UsageError, lambda: actviz.preprocess(seven, network, preprocess="foo")),
        (UsageError, lambda: actviz.preprocess(seven, network, sample_rate=8)),
        (UsageError, lambda: actviz.preprocess({"picture": seven}, network)),
        (InputError, lambda: actviz.preprocess(seven, network, frame=3)),
        (InputError, lambda: actviz.preprocess([], network)),
        (ActvizError, lambda: actviz.preprocess(seven, network, maximum_pixels=3)),
    ):
        with pytest.raises(error) as caught:
            call()
        assert "--" not in caught.value.message
        assert " -o" not in caught.value.message
    assert taken.read_text() == "mine"


# ------------------------------------------------------------------ inputs
def test_files_are_prepared_as_the_command_does(network):
    from actviz.inputs import InputArguments, InputOptions, load_samples

    paths = (SAMPLES / "seven.png", SAMPLES / "three.png")
    for options in ({}, {"invert": True, "preprocess": "-1..1", "resize": "pad"}):
        reading = InputOptions(**options)
        samples = load_samples(InputArguments(paths), network.facts, network.layers, reading).samples
        expected = np.concatenate([sample.values["image"] for sample in samples])
        batch = actviz.preprocess(list(paths), network, **options)
        assert batch.dtype == np.float32
        np.testing.assert_array_equal(batch, expected)
        np.testing.assert_array_equal(actviz.preprocess(str(paths[0]), network, **options), expected[:1])


def test_inputs_by_name_and_only_those_that_the_layers_need():
    with actviz.open(SAMPLES / "digits_caption.keras") as network:
        files = {"image": SAMPLES / "seven.png", "text": SAMPLES / "caption.txt"}
        batch = actviz.preprocess(files, network)
        assert {name: values.shape[1:] for name, values in batch.items()} == {"image": (28, 28, 1), "text": (1,)}
        assert list(actviz.preprocess({"image": files["image"]}, network, "strokes")) == ["image"]
        with pytest.raises(InputError, match=r'also need the input text; give it with inputs=\{"text": FILE}'):
            actviz.preprocess({"image": files["image"]}, network)


def test_what_the_command_prints_as_notes_are_warnings_at_the_callers_line(network, tmp_path):
    np.save(tmp_path / "bytes.npy", np.full((1, 28, 28, 1), 255.0))
    with pytest.warns(UserWarning, match="its largest value is 255") as caught:
        actviz.preprocess(tmp_path / "bytes.npy", network)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="no input given"):
        assert actviz.preprocess(None, network).shape == (1, 28, 28, 1)


def test_a_range_that_is_a_guess_is_a_warning_unless_it_is_given(network):
    with pytest.warns(UserWarning, match=r"preprocessing: 0\.\.1 \(a guess.*give preprocess= if it is another"):
        actviz.preprocess(SAMPLES / "seven.png", network)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        actviz.preprocess(SAMPLES / "seven.png", network, preprocess="0..1")


def test_files_of_different_sizes_are_no_batch():
    with (
        actviz.open(SAMPLES / "photo_features.keras") as network,
        pytest.raises(InputError, match="different sizes"),
    ):
        actviz.preprocess([SAMPLES / "flower.jpg", SAMPLES / "seven.png"], network)
