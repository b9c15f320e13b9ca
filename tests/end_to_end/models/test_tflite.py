"""Layers of real `.tflite` files: their values, what is said of those that are gone, the command."""

import os

import numpy as np
import pytest
import tflite_files
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from actviz.errors import InputError, ModelError, UsageError
from actviz.formats import open_network
from actviz.formats.tflite import tflite_interpreter
from actviz.formats.tflite.truncate import needed_operators
from actviz.gate.tflite import Quantization, TFLiteTensor
from actviz.inputs.preprocessing import choose_preprocessing
from actviz.system.warning_filters import without_warnings

DATA = tflite_files.DATA
FUSED = DATA / "tf215" / "a03a_seq_bn.f32.tflite"
MIX = DATA / "tf221" / "mix.f32.tflite"
whole_collection = pytest.mark.skipif(not tflite_files.WHOLE, reason="the whole collection is not beside this checkout")


@pytest.fixture(params=["ai_edge_litert", "tensorflow"])
def interpreter(request, monkeypatch):
    """Run with LiteRT's own package, then with TensorFlow's interpreter."""
    if request.param == "tensorflow":
        monkeypatch.setattr(tflite_interpreter, "LITERT", "no_such_package")
    else:
        pytest.importorskip("ai_edge_litert")
    return request.param


def noise(network, count=1, seed=0):
    generator = np.random.default_rng(seed)
    return {
        spec.name: generator.random((count, *(size or 1 for size in spec.shape[1:])), np.float32)
        for spec in network.inputs
    }


# ------------------------------------------------------------------ values
@pytest.mark.parametrize("path", tflite_files.PART, ids=tflite_files.name_of)
def test_every_layer_in_the_file_has_the_models_numbers(path, interpreter):
    outcome = tflite_files.check(path)
    assert not outcome.refused
    assert not outcome.wrong
    assert set(outcome.lost) <= {"enc/input_layer"}, "only the name of the input stands in the file"
    assert len(outcome.right) >= 4


@pytest.mark.slow
@whole_collection
def test_the_whole_collection():
    outcomes = [tflite_files.check(path) for path in tflite_files.WHOLE]
    assert not [outcome for outcome in outcomes if outcome.refused or outcome.wrong or outcome.lost]


@pytest.mark.parametrize("path", tflite_files.PART, ids=tflite_files.name_of)
def test_a_layer_alone_is_exactly_what_it_is_among_all(path):
    with open_network(path) as network:
        inputs = tflite_files.fed(tflite_files.truth(path)[0], network)
        together = network.activations(inputs)
        for address, item in together.items():
            np.testing.assert_array_equal(network.activations(inputs, [address])[address].values, item.values, address)


@pytest.mark.parametrize("path", [FUSED, MIX, DATA / "tf215" / "a01_seed_cnn.int8.tflite"], ids=tflite_files.name_of)
def test_no_tensor_lost_its_memory_to_another(path):
    """The same as with an interpreter that is told to keep every tensor."""
    from tensorflow.lite.python.interpreter import Interpreter, OpResolverType

    with open_network(path) as network:
        inputs = noise(network)
        found = network.activations(inputs)
        numbers = {address: item.tensor for address, item in network._named.items()}
        tensors = network._model.graph.tensors
    with without_warnings():
        keeping = Interpreter(
            str(path),
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
    keeping.allocate_tensors()
    (values,) = inputs.values()
    keeping.set_tensor(keeping.get_input_details()[0]["index"], values)
    keeping.invoke()
    for address, number in numbers.items():
        right = tflite_interpreter.from_stored(keeping.get_tensor(number), tensors[number])
        np.testing.assert_allclose(found[address].values, right, rtol=1e-5, atol=1e-6, err_msg=address)


def test_only_the_operators_upstream_are_run():
    with open_network(FUSED) as network:
        graph = network._model.graph
        first, last = network._named["relu6"].tensor, network._named["out"].tensor
    assert len(needed_operators(graph, [first])) == 1
    assert len(needed_operators(graph, [last])) == len(graph.operators)


def test_a_batch_is_its_samples():
    with open_network(FUSED) as network:
        inputs = noise(network, 3)
        together = network.activations(inputs, ["relu6", "out"])
        assert together["relu6"].values.shape == (3, 8, 8, 8)
        for number in range(3):
            alone = network.activations({name: values[number : number + 1] for name, values in inputs.items()})
            np.testing.assert_array_equal(together["out"].values[number], alone["out"].values[0])


def test_a_graph_for_sixteen_samples_takes_any_number():
    with open_network(DATA / "tf221" / "a11a_subclassed.f32.tflite") as network:
        assert network.inputs[0].shape[0] is None
        assert network.activations(noise(network, 3), ["pool"])["pool"].values.shape[0] == 3


def test_the_same_weights_and_configuration_have_the_same_hash(tmp_path):
    copy = tmp_path / "other.tflite"
    content = bytearray(FUSED.read_bytes())
    copy.write_bytes(content)
    with open_network(FUSED) as first, open_network(copy) as second:
        ours, theirs = (one.activations(noise(one), ["out"])["out"].weights_digest for one in (first, second))
        assert first.facts.digest == second.facts.digest
        assert ours == theirs
        kernel = next(t for t in first._model.graph.tensors if t.constant and t.name == "sequential/c1/Conv2D")
    content[kernel.start] ^= 1
    copy.write_bytes(content)
    with open_network(copy) as changed:
        assert changed.facts.digest == first.facts.digest
        assert changed.activations(noise(changed), ["out"])["out"].weights_digest != ours


# ------------------------------------------------------------------ against the Keras model
@pytest.mark.parametrize("name", ["mix.f32.tflite", "mix.int8.tflite"])
def test_the_model_before_and_after_conversion(name):
    with open_network(DATA / "tf221" / "mix.keras") as before, open_network(DATA / "tf221" / name) as after:
        inputs = noise(before, 2)
        right = before.activations(inputs)
        found = after.activations(inputs)
        gone = after.facts.removed_layers
    shared = [address for address in right if address in found]
    assert {"act", "sep", "lin_b", "after_plus", "bn_after_relu", "up", "tr", "gap", "r", "hid2"} <= set(shared)
    assert {"c_nobias", "bn", "lin", "plus", "hid", "bn_dense", "logits"} <= set(gone)
    for address in shared:
        values, correct = found[address].values, right[address].values
        tolerance = 1e-4 if "f32" in name else 0.08 * np.abs(correct).max()
        np.testing.assert_allclose(values, correct, atol=tolerance, rtol=1e-4, err_msg=address)
        assert found[address].axes == right[address].axes, address


@pytest.mark.parametrize("address", ["act", "after_plus", "bn_after_relu", "tr"])
def test_the_same_figure(address):
    """Pixel-equal within a colour step, scale and all."""
    from actviz import api

    pictures = []
    for file in ("mix.keras", "mix.f32.tflite"):
        with api.open(DATA / "tf221" / file) as network:
            (spec,) = network.inputs
            values = np.random.default_rng(0).uniform(0, 255, (1, *spec.shape[1:])).astype(np.float32)
            item = network.activations(values, address)[address]
            pictures.append(np.asarray(api.draw(item, style=api.Style(bare=True)), dtype=int))
    assert pictures[0].shape == pictures[1].shape
    assert np.abs(pictures[0] - pictures[1]).max() <= 6  # what one of 256 steps of the colormap is at most


# ------------------------------------------------------------------ what is said
def test_what_the_converter_took_away_is_said():
    with open_network(FUSED) as network:
        assert network.facts.removed_layers == {
            "c1": "fused into relu6 by the converter",
            "c2": "fused into batch_normalization_1 by the converter",
            "batch_normalization": "fused into relu6 by the converter",
        }


def test_what_may_not_be_the_layer_s_own_end_is_not_called_so():
    """A last Softmax may belong to the layer before or be one of its own: the file does not tell."""
    with open_network(MIX) as network:
        addresses = [layer.address for layer in network.layers]
        assert "logits" not in addresses
        assert {"logits/BiasAdd", "output_0"} <= set(addresses)
        assert "does not tell" in network.facts.removed_layers["logits"]


def test_asking_for_what_is_gone(actviz):
    ran = actviz("show", FUSED, "-l", "c1")
    assert ran.code == 2
    assert '"c1" has no values of its own in this file: fused into relu6 by the converter; list' in ran.error


def test_layers(actviz):
    ran = actviz("layers", FUSED)
    assert ran.code == 0
    assert "  c1                   fused into relu6 by the converter\n" in ran.out
    assert "       relu6                     Conv2D      8 x 8 x 8            224  grid\n" in ran.out


def test_layers_needs_no_interpreter(actviz, tmp_path):
    for package in ("tensorflow", "ai_edge_litert", "keras"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    env = {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', ROOT)}"}
    assert actviz("layers", FUSED, env=env).code == 0
    assert actviz("show", FUSED, "-l", "out", env=env).code == 70, "the traps are there"


def test_show(actviz, tmp_path):
    ran = actviz("show", MIX, "-l", "act", "-o", "act.png")
    assert ran.code == 0, ran.err
    assert (tmp_path / "act.png").stat().st_size > 1000
    assert "0..255 (the graph begins with x / 127.5 - 1, which makes -1..1 of it)" in ran.err


def test_the_range_that_whole_numbers_were_fitted_to():
    for name in ("tf215/a01_seed_cnn.int8.tflite", "tf221/a01_whole_int8.int8.tflite"):
        with open_network(DATA / name) as network:
            chosen = choose_preprocessing(network.facts)
            assert network.inputs[0].dtype == "float32"
        assert chosen.name == "0..1"
        assert chosen.reason == "the whole numbers of the model were fitted to inputs of 0..1"


def test_a_missing_input_is_named():
    with open_network(DATA / "tf221" / "a06_multi_io.f16.tflite") as network:
        inputs = noise(network)
        alone = network.activations({"image": inputs["image"]}, ["conv"])
        np.testing.assert_array_equal(alone["conv"].values, network.activations(inputs, ["conv"])["conv"].values)
        assert next(layer for layer in network.layers if layer.address == "conv").needs == ("image",)
        with pytest.raises(InputError, match='need the input "vector"'):
            network.activations({"image": inputs["image"]}, ["cat"])


def test_without_any_interpreter(monkeypatch):
    monkeypatch.setattr(tflite_interpreter.importlib.util, "find_spec", lambda _: None)
    with (
        open_network(FUSED) as network,
        pytest.raises(ModelError, match=r"pip install 'actviz\[litert\]'"),
    ):
        network.activations(noise(network))


def test_weights_do_not_go_with_it(actviz):
    ran = actviz("show", FUSED, "--weights", FUSED)
    assert ran.code == 4
    assert (
        ran.err
        == "actviz: error: a03a_seq_bn.f32.tflite: --weights goes with a .keras or .h5 file or the JSON of an architecture (model.to_json()); this file is none.\n"
    )


def test_the_nearest_name(actviz):
    from actviz import api

    with api.open(FUSED) as network, pytest.raises(UsageError, match="did you mean relu6"):
        network.activations(noise(network), "rellu6")


# ------------------------------------------------------------------ whole numbers
def tensor_of(dtype, scale, zero, shape=(1, 4)):
    return TFLiteTensor("t", dtype, shape, shape, 0, 0, Quantization((scale,), (zero,), 0), variable=False)


@given(
    st.sampled_from([("int8", -128, 127), ("uint8", 0, 255), ("int16", -32768, 32767)]),
    st.floats(1e-4, 10),
    st.integers(-100, 100),
    arrays.arrays(np.float32, (1, 4), elements=st.floats(-1000, 1000, width=32)),
)
def test_real_numbers_come_back_from_whole_ones(kind, scale, zero, values):
    dtype, low, high = kind
    tensor = tensor_of(dtype, scale, zero)
    stored = tflite_interpreter.to_stored(values, tensor)
    assert stored.dtype == dtype
    back = tflite_interpreter.from_stored(stored, tensor)
    ends = ((low - zero) * scale, (high - zero) * scale)
    np.testing.assert_allclose(back, np.clip(values, *ends), atol=scale * 0.5001 + 1e-3)


def test_a_scale_for_each_channel():
    tensor = TFLiteTensor("w", "int8", (2, 2), (2, 2), 0, 0, Quantization((1.0, 0.5), (0, 2), 1), variable=False)
    values = tflite_interpreter.from_stored(np.array([[4, 4], [-2, 0]], np.int8), tensor)
    np.testing.assert_array_equal(values, [[4.0, 1.0], [-2.0, -1.0]])


def test_no_interpreter_of_tensorflow_where_litert_is(actviz, tmp_path):
    """The small package alone runs a file: TensorFlow and Keras may be missing."""
    pytest.importorskip("ai_edge_litert")
    for package in ("tensorflow", "keras"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    env = {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', ROOT)}"}
    ran = actviz("show", FUSED, "-l", "relu6", "-o", "relu6.png", env=env)
    assert ran.code == 0, ran.err
