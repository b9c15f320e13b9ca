"""Layers whose code is not given are left out, and the layers that do not depend on them are computed."""

import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from hostile_files import BIAS, KERNEL, bytecode, dense, functional, hdf5, keras, named_lambda, reading, touching
from keras_configs import node, tensor

from actviz import formats
from actviz.addresses import select_layers_of
from actviz.errors import ModelError, UnsafeError
from actviz.gate import TrustPolicy
from actviz.layer_catalogue import STAND_IN_WRAPPERS, STAND_INS

CUSTOM = {"module": None, "registered_name": "shop>Scale"}
STRICT = TrustPolicy(strict=True)


def custom(name="c", given="d", kind="Scale", registered="shop>Scale", **config):
    return reading(name, kind, given, **config) | {"module": "shop.layers", "registered_name": registered}


def nested(*layers, name="inner", given="in"):
    inner = functional(*layers)
    return inner | {"name": name, "config": inner["config"] | {"name": name}, "inbound_nodes": [node(tensor(given))]}


def branch(*last):
    """A Dense, a custom layer behind it, and what is given behind that."""
    return functional(dense(), custom(), dense("behind", "c"), *last)


def addresses(network):
    return [layer.address for layer in network.layers]


@pytest.mark.parametrize("write", [keras, hdf5])
def test_layers_before_an_unknown_class_are_layers_of_the_model(tmp_path, write):
    with formats.open_network(write(tmp_path / "m", branch())) as network:
        assert addresses(network) == ["in", "d"]
        assert [layer.address for layer in network.facts.every_layer] == ["in", "d", "c", "behind"]
        (note,) = network.notes
        assert "2 of 4 layers are left out, because they are or depend on c (shop>Scale)" in note
        assert "--custom-objects" in note


@pytest.mark.parametrize("text", ["c", "behind", "-1", "3", "beh*", "@Scale"])
def test_a_layer_that_needs_unknown_code_is_refused(tmp_path, text):
    with formats.open_network(keras(tmp_path / "m", branch())) as network:
        with pytest.raises(ModelError, match=r'needs the custom object "shop>Scale".*--custom-objects'):
            select_layers_of(network.facts, [text], "m")
        with pytest.raises(ModelError, match=r'needs the custom object "shop>Scale"'):
            network.activations({"in": np.zeros((1, 4), "f4")}, ["behind"])


def test_patterns_leave_it_out(tmp_path):
    with formats.open_network(keras(tmp_path / "m", branch())) as network:
        found = select_layers_of(network.facts, ["*", "@Dense", "0:9"], "m")
    assert [layer.address for layer in found] == ["in", "d"]


@pytest.mark.parametrize("write", [keras, hdf5])
def test_a_lambda_behind_the_layer_is_left_out_and_refused_where_it_is_asked_for(tmp_path, write):
    marker = tmp_path / "marker"
    lam = reading("lam", "Lambda", "d", function=bytecode(touching(marker)), arguments={})
    with formats.open_network(write(tmp_path / "m", functional(dense(), lam))) as network:
        assert addresses(network) == ["in", "d"]
        with pytest.raises(UnsafeError, match=r'layer "lam" is a Lambda: it can run any code'):
            select_layers_of(network.facts, ["lam"], "m")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("layer", "error"),
    [
        (custom(), ModelError),
        (reading("lam", "Lambda", "d", function=bytecode(lambda x: x)), UnsafeError),
        (reading("d2", "FutureLayer", "d"), ModelError),
    ],
    ids=["custom", "Lambda", "newer"],
)
def test_strict_refuses_the_file(tmp_path, layer, error):
    path = keras(tmp_path / "m", functional(dense(), layer))
    with formats.open_network(path) as network:
        assert addresses(network) == ["in", "d"]
    with pytest.raises(error):
        formats.open_network(path, trust=STRICT)


@pytest.mark.parametrize(
    "layer",
    [
        named_lambda("os", "getcwd"),
        reading("t", "TFSMLayer", "d", filepath="/nowhere"),
        reading("t", "TorchModuleWrapper", "d", module="AAAA"),
        reading("t", "StringLookup", "d", vocabulary="/etc/passwd"),
        reading("t", "TypeSpec", "d"),
        reading("t", "Popen", "d") | {"module": "subprocess"},
        dense("t", "d", activation={"module": "os", "class_name": "function", "config": "system"}),
        custom(inside={"class_name": "TFSMLayer", "config": {}}),
    ],
    ids=["function", "TFSMLayer", "Torch", "vocabulary", "TypeSpec", "module", "activation", "in a custom class"],
)
def test_what_no_honest_file_holds_is_refused_wherever_it_is(tmp_path, layer):
    with pytest.raises(UnsafeError):
        formats.open_network(keras(tmp_path / "m", functional(dense(), layer)))


@pytest.mark.parametrize("write", [keras, hdf5])
def test_unknown_classes_inside_nested_models_are_left_out_too(tmp_path, write):
    inner = nested(dense("first"), custom(given="first"), dense("last", "c"), given="d")
    config = functional(dense(), inner, dense("after", "inner"))
    with formats.open_network(write(tmp_path / "m", config)) as network:
        assert addresses(network) == ["in", "d", "inner/in", "inner/first"]
        assert set(network.facts.refusals) == {"inner/c", "inner/last", "inner", "after"}


def test_a_wrapper_of_an_unknown_layer_is_left_out(tmp_path):
    inside = custom("x")
    del inside["inbound_nodes"]
    config = functional(dense(), reading("td", "TimeDistributed", "d", layer=inside))
    with formats.open_network(keras(tmp_path / "m", config)) as network:
        assert addresses(network) == ["in", "d"]


def test_an_unknown_model_class_is_refused(tmp_path):
    with pytest.raises(ModelError, match="shop>Scale"):
        formats.open_network(keras(tmp_path / "m", functional(dense()) | {"class_name": "Scale"} | CUSTOM))


def test_where_nothing_can_be_computed_the_file_is_refused_when_it_is_computed(tmp_path):
    with formats.open_network(keras(tmp_path / "m", functional(custom(given="in"), dense("d", "c")))) as network:
        assert [layer.address for layer in network.facts.every_layer] == ["in", "c", "d"]
        with pytest.raises(ModelError, match="shop>Scale"):
            network.activations({"in": np.zeros((1, 4), "f4")}, ["d"])


def test_every_missing_class_is_named(tmp_path):
    config = functional(dense(), custom(), custom("e", "c", "Other", "shop>Other"), dense("f", "e"))
    with (
        formats.open_network(keras(tmp_path / "m", config)) as network,
        pytest.raises(ModelError, match=r'2 custom objects .*"shop>Scale", "shop>Other"'),
    ):
        select_layers_of(network.facts, ["f"], "m")


@pytest.mark.parametrize("registered", ["Dense", "shop>Dense", "shop>Other"])
def test_counters_of_weights_count_what_is_left_out_under_the_name_of_its_class(tmp_path, registered):
    """`Dense` of the user is counted with those of Keras; the name it is registered under does not matter."""
    config = functional(dense(), custom("mine", "in", "Dense", registered), dense("third", "in"), out="third")
    weights = {
        f"layers/{name}/vars/{number}": values + at
        for at, name in enumerate(("dense", "dense_1", "dense_2"))
        for number, values in enumerate((KERNEL, BIAS))
    }
    config["config"]["layers"][2]["module"] = "shop.layers"
    with formats.open_network(keras(tmp_path / "m", config, weights)) as network:
        assert addresses(network) == ["in", "d", "third"]
        (path,) = [layer for layer in network.layers if layer.address == "third"]
        assert path.parameters == KERNEL.size + BIAS.size
        entry = network._file.configuration.graph.entries["third"]
        assert network._file.weights.state(entry).own["0"][0, 0] == 2


@pytest.mark.slow
@pytest.mark.tensorflow
def test_nothing_of_it_is_built_and_the_rest_is_computed(tmp_path):
    """The arrays of a nested model of an .h5 file are one list: those of what is left out are told by their names."""
    inner = nested(dense("first"), custom(given="first"), given="d")
    config = functional(dense(units=4), inner)

    def fill(file):
        group = file["model_weights"]
        group.attrs["layer_names"] = np.array([b"in", b"d", b"inner"])
        del group["d/d/kernel"], group["d/d/bias"]
        group["d/d/kernel"], group["d/d/bias"] = np.eye(4, dtype="f4"), np.zeros(4, "f4")
        names = [b"first/kernel", b"first/bias", b"c/scale"]
        group.create_group("inner").attrs["weight_names"] = np.array(names)
        for name, values in zip(names, (KERNEL, BIAS, np.ones(7, "f4")), strict=True):
            group["inner"][name.decode()] = values

    path = hdf5(tmp_path / "m.h5", config, fill)
    with formats.open_network(path) as network:
        found = network.activations({"in": np.ones((1, 4), "f4")})
    assert list(found) == ["in", "d", "inner/in", "inner/first"]
    np.testing.assert_allclose(found["inner/first"].values, KERNEL.sum(axis=0)[None])


def test_a_refusal_costs_little_and_imports_nothing(tmp_path):
    path = keras(tmp_path / "m.keras", functional(custom(given="in"), dense("d", "c")))
    program = f"""
import sys, time
from pathlib import Path
from actviz import formats
from actviz.addresses import select_layers_of
from actviz.errors import ActvizError
import h5py
start = time.process_time()
with formats.open_network(Path({str(path)!r})) as network:
    try:
        select_layers_of(network.facts, ["d"], "m")
    except ActvizError as refused:
        print(refused.exit_code, time.process_time() - start, {{"keras", "tensorflow"}} & set(sys.modules))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    code, seconds, imported = ran.stdout.split(maxsplit=2)
    assert (code, imported.strip()) == ("4", "set()")
    assert float(seconds) < 0.3


def test_the_command_lists_every_layer_and_what_it_needs(tmp_path, actviz):
    path = keras(tmp_path / "m.keras", branch())
    ran = actviz("layers", path)
    assert (ran.code, ran.err.count("\n")) == (0, 1)
    assert re.search(r"^ *2  c +Scale .*not computed$", ran.out, re.MULTILINE)
    assert re.search(r'^  c +layer "c" needs the custom object "shop>Scale"', ran.out, re.MULTILINE)
    refused = actviz("layers", path, "--strict")
    assert (refused.code, refused.out) == (4, "")
    shown = actviz("show", path, tmp_path / "x.npy", "-l", "behind")
    assert shown.code == 4


# ------------------------------------------------------------------ classes that do nothing at inference
def dropped(kind="FixedDropout", *, given="d", **config):
    return custom("drop", given, kind, f"shop>{kind}", rate=0.5, **config)


@pytest.mark.parametrize("write", [keras, hdf5])
def test_classes_that_do_nothing_at_inference_are_stood_in_for(tmp_path, write):
    path = write(tmp_path / "m", functional(dense(), dropped(), reading("act", "ReLU", "drop")))
    with formats.open_network(path) as network:
        assert addresses(network) == ["in", "d", "drop", "act"]
        assert [layer.kind for layer in network.layers] == ["InputLayer", "Dense", "FixedDropout", "ReLU"]
        (note,) = network.notes
        assert "drop (FixedDropout): computed as if it were not there" in note
    with pytest.raises(ModelError, match="shop>FixedDropout"):
        formats.open_network(path, trust=STRICT)


@pytest.mark.parametrize(
    "layer",
    [
        dropped("StochasticDepth") | {"inbound_nodes": [node(tensor("in"), tensor("d"))]},
        dropped(activation="shop>act"),
        dropped("Scale"),
    ],
    ids=["two tensors", "code inside", "another class"],
)
def test_others_are_not(tmp_path, layer):
    with formats.open_network(keras(tmp_path / "m", functional(dense(), layer))) as network:
        assert addresses(network) == ["in", "d"]


def test_one_with_weights_is_not(tmp_path):
    weights = {"layers/dense/vars/0": KERNEL, "layers/dense/vars/1": BIAS, "layers/drop_path/vars/0": BIAS}
    config = functional(dense(), dropped("DropPath"))
    with formats.open_network(keras(tmp_path / "m", config, weights)) as network:
        assert addresses(network) == ["in", "d"]


def test_the_guide_lists_them():
    text = (ROOT / "actviz" / "docs" / "formats.md").read_text()
    (line,) = (line for line in text.splitlines() if "do nothing at inference" in line)
    assert set(re.findall(r"`(\w+)`", line)) == set(STAND_INS) | STAND_IN_WRAPPERS


def test_given_code_is_used(tmp_path):
    path = keras(tmp_path / "m", functional(dense(), dropped("DropPath")))
    trust = TrustPolicy(objects={"DropPath": object()})
    with formats.open_network(path, trust=trust) as network:
        assert network._graph.entries["drop"].custom


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize("write", [keras, hdf5])
def test_what_stands_in_gives_its_input(tmp_path, write):
    inner = nested(custom("drop", "in", "MCDropout", "shop>MCDropout", rate=0.5), given="d")
    config = functional(dense(), inner, reading("act", "ReLU", "inner"))
    with formats.open_network(write(tmp_path / "m", config)) as network:
        found = network.activations({"in": -np.ones((1, 4), "f4")})
    assert list(found) == ["in", "d", "inner/in", "inner/drop", "inner", "act"]
    np.testing.assert_array_equal(found["inner/drop"].values, found["d"].values)
    assert not found["act"].values.any()


# ------------------------------------------------------------------ pruning wrappers
def pruned(tmp_path, kernel, *, steps=1, inner=None):
    """A layer as TensorFlow Model Optimization wraps it, with masks, thresholds and a step behind its weights."""
    schedule = {"class_name": "PolynomialDecay", "config": {"initial_sparsity": 0.5}}
    inside = inner or {"class_name": "Dense", "config": {"name": "d", "units": 3, "activation": "linear"}}
    wrapper = reading("p", "PruneLowMagnitude", layer=inside, pruning_schedule=schedule, block_size=[1, 1])
    del wrapper["module"]
    wrapper["inbound_nodes"] = [[["in", 0, 0, {}]]]
    first = {"class_name": "InputLayer", "name": "in", "inbound_nodes": []}
    first["config"] = {"name": "in", "batch_input_shape": [None, 4], "dtype": "float32"}
    layers = {"input_layers": [["in", 0, 0]], "output_layers": [["p", 0, 0]], "layers": [first, wrapper], "name": "m"}

    def fill(file):
        file.attrs["keras_version"] = "2.10.0"
        group = file["model_weights"]
        group.attrs["layer_names"] = np.array([b"in", b"p"])
        names = ["p/kernel:0", "p/bias:0", "p/mask:0", "p/threshold:0", *["p/pruning_step:0"] * steps]
        values = (kernel, BIAS, np.eye(4, 3, dtype="f4"), np.float32(0.5), np.int64(9))
        group.create_group("p").attrs["weight_names"] = np.array(names, "S")
        for name, value in zip(names, values, strict=False):
            group["p"][name] = value

    return hdf5(tmp_path / "m.h5", {"class_name": "Functional", "config": layers}, fill)


def test_the_layer_inside_a_pruning_wrapper_stands_in_for_it(tmp_path):
    with formats.open_network(pruned(tmp_path, KERNEL * np.eye(4, 3, dtype="f4"))) as network:
        layer = network.layers[-1]
        assert (layer.address, layer.kind, layer.parameters) == ("p", "Dense", KERNEL.size + BIAS.size)
        assert "p (PruneLowMagnitude): computed as if it were not there" in network.notes[0]


@pytest.mark.parametrize(("kernel", "steps"), [(KERNEL, 1), (KERNEL * np.eye(4, 3, dtype="f4"), 0)])
def test_a_layer_that_is_not_pruned_yet_is_left_out(tmp_path, kernel, steps):
    with formats.open_network(pruned(tmp_path, kernel, steps=steps)) as network:
        assert addresses(network) == ["in"]


@pytest.mark.parametrize(
    "inner",
    [
        {"class_name": "Dense", "config": {}},
        {"class_name": "LSTM", "config": {"units": "x"}},
        {"class_name": ["Dense"], "config": {}},
        {"config": {}},
    ],
)
def test_a_malformed_layer_inside_a_wrapper_is_one_error(tmp_path, inner):
    try:
        with formats.open_network(pruned(tmp_path, KERNEL, inner=inner)) as network:
            assert addresses(network)[0] == "in"
    except ModelError as refused:
        assert "\n" not in refused.message  # noqa: PT017


def test_a_wrapper_around_other_code_is_left_out(tmp_path):
    inner = {"class_name": "Scale", "config": {"name": "s"}}
    with formats.open_network(pruned(tmp_path, KERNEL, inner=inner)) as network:
        assert addresses(network) == ["in"]


@pytest.mark.slow
@pytest.mark.tensorflow
def test_a_pruned_layer_is_computed(tmp_path):
    kernel = KERNEL * np.eye(4, 3, dtype="f4")
    with formats.open_network(pruned(tmp_path, kernel)) as network:
        found = network.activations({"in": np.ones((1, 4), "f4")})
    np.testing.assert_allclose(found["p"].values, kernel.sum(axis=0)[None])
