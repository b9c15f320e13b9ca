"""Code that the user gives: custom classes, functions of Lambdas, and what lies inside them."""

import json
import marshal
import sys
from base64 import b64encode
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import HELPERS
from late_imports import customs, keras, layers

import actviz
from actviz.errors import ModelError, UnsafeError, UsageError
from actviz.formats.keras.inner_layers import InnerOutputRecorder, children, every_step
from actviz.gate import TrustPolicy

pytestmark = pytest.mark.slow  # each test starts the command

CUSTOMS = str(HELPERS / "customs_for_tests.py")
INSIDE_BLOCK = ["first", "stages/0", "stages/1", "by_kind/norm", "_hidden#0", "_hidden#1"]


def objects():
    return {name: getattr(customs, name) for name in ("Scale", "Block", "Whole", "swish_twice")}


def images(count=2, size=8, channels=1):
    return np.random.default_rng(3).random((count, size, size, channels), np.float32)


def randomise(model):
    """Give every weight a value that no initializer gives, so that a weight lost is seen."""
    random = np.random.default_rng(7)
    model.set_weights([random.uniform(0.1, 0.9, weight.shape).astype(weight.dtype) for weight in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def functional(tmp_path_factory):
    """Return a model with custom layers and activations, and the folder of its files."""
    folder = tmp_path_factory.mktemp("functional")
    inputs = keras.Input((8, 8, 1), name="image")
    found = customs.Scale(name="scale")(inputs)
    found = customs.Block(name="block")(found)
    found = layers.Conv2D(2, 3, activation=customs.swish_twice, name="custom_activation")(found)
    model = randomise(keras.Model(inputs, layers.GlobalMaxPooling2D(name="pool")(found)))
    for suffix in ("keras", "h5"):
        model.save(folder / f"functional.{suffix}")
    return model, folder


@pytest.fixture(scope="module")
def subclassed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("subclassed")
    model = customs.Whole(name="whole")
    model(images())
    randomise(model)
    for suffix in ("keras", "h5"):
        model.save(folder / f"subclassed.{suffix}")
    return model, folder


def by_hand(block, inputs):
    """Compute the layers of a `Block` one by one."""
    found, values = inputs, {}
    for name, layer in (
        ("first", block.first), ("stages/0", block.stages[0]), ("stages/1", block.stages[1]),
        ("by_kind/norm", block.by_kind["norm"]), ("_hidden#0", block._hidden), ("_hidden#1", block._hidden),
    ):  # fmt: skip
        found = layer(found)
        values[name] = found.numpy()
    return values


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("given", [lambda: CUSTOMS, objects], ids=["file", "objects"])
def test_layers_inside_custom_layers_have_their_attributes_as_addresses(functional, suffix, given):
    model, folder = functional
    with actviz.open(folder / f"functional.{suffix}", custom_objects=given()) as network:
        addresses = [layer.address for layer in network.layers]
        assert addresses[1:9] == ["scale", *(f"block/{path}" for path in INSIDE_BLOCK), "block"]
        found = network.activations(images())
    expected = by_hand(model.get_layer("block"), model.get_layer("scale")(images()))
    for path, values in expected.items():
        np.testing.assert_allclose(found[f"block/{path}"].values, values, rtol=1e-5)
    np.testing.assert_allclose(found["pool"].values, model(images()).numpy(), rtol=1e-5)
    assert found["block/first"].axes == ("batch", "row", "column", "channel")


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_subclassed_models_open_with_their_code(subclassed, suffix):
    model, folder = subclassed
    with actviz.open(folder / f"subclassed.{suffix}", custom_objects=objects()) as network:
        found = network.activations(images())
        assert [layer.shape for layer in network.layers if layer.address == "backbone/conv"] == [(None, 6, 6, 3)]
        assert [layer.parameters for layer in network.layers if layer.address == "head"] == [16]
        indexed = {layer.index: layer.address for layer in network.layers if layer.index is not None}
        assert [indexed[number] for number in range(4)] == ["backbone", "block", "pool", "head"]
    inner = model.backbone(images())
    expected = {f"block/{path}": values for path, values in by_hand(model.block, inner).items()}
    expected |= {"backbone": inner.numpy(), "backbone/conv": inner.numpy(), "whole": model(images()).numpy()}
    for address, values in expected.items():
        np.testing.assert_allclose(found[address].values, values, rtol=1e-5)
    assert set(found) == {
        "input",
        "whole",
        "backbone",
        "backbone/conv",
        "block",
        "pool",
        "head",
        *(f"block/{path}" for path in INSIDE_BLOCK),
    }


def test_a_layer_of_a_subclassed_model_alone_is_the_same(subclassed):
    _, folder = subclassed
    with actviz.open(folder / "subclassed.keras", custom_objects=objects()) as network:
        whole = network.activations(images())
        for address in ("block/_hidden#1", "backbone/conv", "head"):
            alone = network.activations(images(), address)
            assert list(alone) == [address]
            np.testing.assert_array_equal(alone[address].values, whole[address].values)


def test_layers_give_their_own_call_back(subclassed):
    model, _ = subclassed
    before = {id(layer): layer.call for _, layer, *_ in children(model)}
    with InnerOutputRecorder(children(model)) as record:
        model(images())
    assert "block/_hidden#1" in record.outputs
    assert {id(layer): layer.call for _, layer, *_ in children(model)} == before
    assert not any("call" in vars(layer) for _, layer, *_ in children(model))


def nested():
    """Return a model with a shared nested model, a shared layer and operations."""
    inside = keras.Input((8, 8, 1), name="inside")
    hidden = layers.Conv2D(3, 3, name="conv")(inside)
    encoder = keras.Model(inside, layers.ReLU(name="relu")(hidden), name="encoder")
    left, right = keras.Input((8, 8, 1), name="left"), keras.Input((8, 8, 1), name="right")
    shared = layers.Dense(2, name="shared")
    merged = layers.Concatenate(name="merged")([shared(encoder(left)), shared(encoder(right))])
    return keras.Model([left, right], layers.Flatten(name="flat")(keras.ops.sigmoid(merged)))


def test_the_recorded_pass_gives_the_numbers_and_addresses_of_the_graph(tmp_path):
    model = randomise(nested())
    model.save(tmp_path / "nested.keras")
    batch = {"left": images(), "right": images(3)[1:]}
    with InnerOutputRecorder(children(model)) as record:
        model(list(batch.values()))
    with actviz.open(tmp_path / "nested.keras") as network:
        found = network.activations(batch)
    recorded = record.outputs
    assert {"encoder#0/conv", "encoder#1/relu", "encoder#1", "shared#0", "merged", "flat"} <= set(recorded)
    inputs = {"left", "right", "encoder#0/inside", "encoder#1/inside"}
    assert set(found) - inputs == set(recorded)
    for address, values in recorded.items():
        np.testing.assert_array_equal(found[address].values, values.numpy())


@pytest.mark.parametrize("name", ["digits_cnn.keras", "ner_bilstm.h5", "photo_features.keras", "dense.h5"])
def test_both_ways_agree_on_the_samples(samples, name):
    model = keras.saving.load_model(samples / name, compile=False)
    with actviz.open(samples / name) as network:
        spec = network.inputs[0]
        shape = (2, *(size or 12 for size in spec.shape[1:]))
        batch = np.random.default_rng(0).integers(1, 9, shape).astype(spec.dtype)
        with InnerOutputRecorder(children(model)) as record:
            model(batch)
        found = network.activations(batch)
    assert set(record.outputs) <= set(found)
    for address, values in record.outputs.items():
        np.testing.assert_array_equal(found[address].values, values.numpy())


@pytest.fixture(scope="module")
def wrappers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wrappers")
    frame = keras.Input((6, 6, 1), name="frame")
    backbone = keras.Model(frame, layers.Flatten(name="flat")(layers.Conv2D(2, 3, name="conv")(frame)), name="backbone")
    video = keras.Input((None, 6, 6, 1), name="video")
    found = layers.TimeDistributed(backbone, name="frames")(video)
    found = layers.TimeDistributed(layers.Dense(4, name="dense", activation="relu"), name="each")(found)
    found = layers.Bidirectional(layers.LSTM(3, return_sequences=True, name="lstm"), name="both")(found)
    model = randomise(keras.Model(video, found))
    for suffix in ("keras", "h5"):
        model.save(folder / f"wrappers.{suffix}")
    return model, folder


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_layers_inside_wrappers_have_addresses(wrappers, suffix):
    model, folder = wrappers
    video = np.random.default_rng(0).random((2, 5, 6, 6, 1), np.float32)
    frames, each, both = model.layers[1:]
    with actviz.open(folder / f"wrappers.{suffix}") as network:
        told = {layer.address: layer for layer in network.layers}
        found = network.activations(video)
    assert told["frames/backbone/conv"].shape == (None, None, 4, 4, 2)
    assert told["frames/backbone/conv"].axes == ("batch", "step", "row", "column", "channel")
    assert told["each/dense"].axes == ("batch", "step", "unit")
    conv = np.stack([frames.layer.get_layer("conv")(video[:, step]).numpy() for step in range(5)], axis=1)
    np.testing.assert_allclose(found["frames/backbone/conv"].values, conv, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["frames/backbone"].values, found["frames"].values, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["each/dense"].values, found["each"].values, rtol=1e-5, atol=1e-6)
    before = each(frames(video))
    np.testing.assert_allclose(found["both/forward_lstm"].values, both.forward_layer(before).numpy(), atol=1e-6)
    backward = both.backward_layer(before).numpy()[:, ::-1]  # in reading order, as Bidirectional joins it
    np.testing.assert_allclose(found["both/backward_lstm"].values, backward, atol=1e-6)
    for address, layer in told.items():
        sizes = zip(layer.shape, found[address].values.shape, strict=True)
        assert all(told in (None, size) for told, size in sizes), address


def test_masks_of_steps_reach_the_layer_inside(tmp_path):
    words = keras.Input((3, 4), dtype="int32", name="words")
    found = layers.Embedding(9, 5, mask_zero=True, name="embedding")(words)
    found = layers.TimeDistributed(layers.LSTM(2, name="lstm"), name="sentences")(found)
    randomise(keras.Model(words, found)).save(tmp_path / "sentences.keras")
    tokens = np.array([[[1, 2, 0, 0], [3, 0, 0, 0], [4, 5, 6, 7]]], np.int32)
    with actviz.open(tmp_path / "sentences.keras") as network:
        found = network.activations(tokens)
    np.testing.assert_allclose(found["sentences/lstm"].values, found["sentences"].values, atol=1e-6)


def test_every_step_needs_no_static_number_of_steps():
    layer = layers.TimeDistributed(layers.Dense(2, name="dense"))
    video = keras.ops.convert_to_tensor(np.ones((2, 3, 4), np.float32))
    expected = layer(video)
    np.testing.assert_allclose(every_step(layer, video)["dense"][0], expected, rtol=1e-6)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_custom_classes_are_refused_with_the_flag_that_gives_them(functional, suffix):
    _, folder = functional
    path = folder / f"functional.{suffix}"
    message = r'3 custom objects .*"Scale", "shop>Block", "swish_twice".*custom_objects="file\.py"'
    with actviz.open(path) as network:
        last = list(network.facts.refusals)[-1]
        with pytest.raises(ModelError, match=message):
            network.activations({}, last)
    some = [f"{CUSTOMS}:Scale", f"{CUSTOMS}:swish_twice"]
    with (
        actviz.open(path, custom_objects=some) as network,
        pytest.raises(ModelError, match=r'"shop>Block".*custom_objects="module:Block"'),
    ):
        network.activations({}, last)


def test_a_source_without_what_the_model_needs_says_so(functional, tmp_path):
    _, folder = functional
    other = tmp_path / "other.py"
    other.write_text("class Scale: pass\n")
    with (
        actviz.open(folder / "functional.keras", custom_objects=str(other)) as network,
        pytest.raises(ModelError, match=r"which .*other\.py does not define"),
    ):
        network.layers  # noqa: B018  (asking runs the code)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nowhere.py:Scale", "there is no such file"),
        ("no_such_module_here:Scale", "cannot be imported: ModuleNotFoundError"),
        ("BROKEN:Scale", "cannot be imported: ZeroDivisionError"),
        ("EMPTY:Scale", 'has no "Scale"'),
    ],
)
def test_sources_that_cannot_be_imported(functional, tmp_path, text, reason):
    _, folder = functional
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "empty.py").write_text("")
    text = text.replace("BROKEN", str(tmp_path / "broken.py")).replace("EMPTY", str(tmp_path / "empty.py"))
    rest = [f"{CUSTOMS}:{name}" for name in ("Block", "swish_twice")]
    with (
        actviz.open(folder / "functional.keras", custom_objects=[text, *rest]) as network,
        pytest.raises(UsageError, match=reason),
    ):
        network.layers  # noqa: B018  (asking runs the code)


@pytest.mark.parametrize("text", ["file.py:", ":Scale", "module:1", ""])
def test_texts_that_name_no_code(text):
    with pytest.raises(UsageError, match=r"expected module:Name, file\.py:Name or file\.py"):
        _ = TrustPolicy((text,)).sources


def test_the_standard_library_is_never_a_custom_object():
    from actviz.gate import check_configuration

    hostile = {"module": "os", "class_name": "system", "config": {"name": "x"}, "registered_name": "system"}
    assert [(item.error, item.allowed) for item in check_configuration(hostile, "m", TrustPolicy(("any.py",)))] == [
        (UnsafeError, False)
    ]


def lambda_model(tmp_path, function):
    inputs = keras.Input((3,), name="numbers")
    model = keras.Model(inputs, layers.Dense(2, name="dense")(layers.Lambda(function, name="lam")(inputs)))
    path = tmp_path / "lambda.keras"
    model.save(path)
    return path


def test_lambdas_run_when_they_are_allowed(tmp_path):
    path = lambda_model(tmp_path, lambda x: x * 3 + 1)
    numbers = np.ones((1, 3), np.float32)
    message = r'layer "lam" is a Lambda: it can run any code\. Use allow_code=True'
    with actviz.open(path) as network, pytest.raises(UnsafeError, match=message):
        network.activations(numbers, "dense")
    with actviz.open(path, allow_code=True) as network:
        assert network.facts.code == ("lam (Lambda)",)
        np.testing.assert_array_equal(network.activations(numbers)["lam"].values, numbers * 3 + 1)


def test_the_function_of_a_lambda_can_be_given_under_the_layers_name(tmp_path):
    path = lambda_model(tmp_path, lambda x: x * 3 + 1)
    with actviz.open(path, custom_objects={"lam": lambda x: x - 1}) as network:
        np.testing.assert_array_equal(network.activations(np.ones((1, 3), np.float32))["lam"].values, np.zeros((1, 3)))


def test_named_functions_of_lambdas_are_given_by_name(tmp_path):
    path = lambda_model(tmp_path, customs.swish_twice)
    numbers = np.ones((1, 3), np.float32)
    with actviz.open(path) as network, pytest.raises(UnsafeError, match="is a Lambda"):
        network.activations(numbers, "lam")
    with actviz.open(path, custom_objects=f"{CUSTOMS}:swish_twice") as network:
        np.testing.assert_allclose(network.activations(numbers)["lam"].values, customs.swish_twice(numbers), rtol=1e-6)


@pytest.mark.parametrize("version", ["2.4.0", "3.15.1"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_the_function_of_a_lambda_activation_is_given_under_the_layers_name(tmp_path, version, wrapped):
    """Keras wrote a lambda as the activation of a layer by its name, which all of them share."""
    inner = keras.layers.Dense(3, name="scores")
    model = keras.Sequential([keras.Input((2, 4)), layers.TimeDistributed(inner, name="td") if wrapped else inner])
    model.save(path := tmp_path / "m.h5")
    with h5py.File(path, "a") as file:
        config = json.loads(file.attrs["model_config"])
        described = config["config"]["layers"][-1]["config"]
        (described["layer"]["config"] if wrapped else described)["activation"] = "<lambda>"
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = version
    numbers = np.ones((1, 2, 4), np.float32)
    given = tmp_path / "given.py"
    given.write_text("def scores(x):\n    return x * 2 - 1\n")
    with (
        actviz.open(path) as network,
        pytest.raises(ModelError, match=r'layer "scores".*a lambda.*custom_objects="file\.py:scores"'),
    ):
        network.activations(numbers, "-1")
    with actviz.open(path, custom_objects=f"{given}:scores") as network:
        (found,) = network.activations(numbers, "-1").values()
    np.testing.assert_allclose(found.values, model(numbers) * 2 - 1, rtol=1e-6)


def test_the_lambda_of_a_layer_of_keras_3_is_given_or_allowed(tmp_path):
    inputs = keras.Input((3,), name="numbers")
    model = keras.Model(inputs, layers.Dense(2, activation=lambda x: x * 3, name="dense")(inputs))
    with pytest.warns(UserWarning, match="lambda"):
        model.save(path := tmp_path / "m.keras")
    numbers = np.ones((1, 3), np.float32)
    with actviz.open(path) as network, pytest.raises(UnsafeError, match=r"has a lambda .* Use allow_code=True"):
        network.activations(numbers, "dense")
    with actviz.open(path, allow_code=True) as network:
        np.testing.assert_allclose(network.activations(numbers)["dense"].values, model(numbers), rtol=1e-6)
    with actviz.open(path, custom_objects={"dense": lambda x: x * 6}) as network:
        np.testing.assert_allclose(network.activations(numbers)["dense"].values, model(numbers) * 2, rtol=1e-6)


def foreign():
    """Return functions of other Pythons: a shape that no longer parses, and renumbered opcodes."""
    code = (lambda x: x * 3 + 1).__code__
    swapped = bytearray(code.co_code)
    swapped[0] = 255 - swapped[0] if swapped[0] != 127 else 126
    return [marshal.dumps(code.replace(co_code=bytes(swapped))), marshal.dumps(code)[:20], b"\xe3\x01\x00\x00\x00"]


@pytest.mark.parametrize("number", range(3))
def test_bytecode_of_another_python_is_refused(tmp_path, number):
    import zipfile

    path = lambda_model(tmp_path, lambda x: x * 3 + 1)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    config["config"]["layers"][1]["config"]["function"]["config"]["code"] = b64encode(foreign()[number]).decode()
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with (
        actviz.open(path, allow_code=True) as network,
        pytest.raises(ModelError, match=r'bytecode of another Python.*custom_objects="file\.py:lam"'),
    ):
        network.activations(np.ones((1, 3), np.float32))


def test_code_is_imported_from_the_working_directory_last(actviz, functional, tmp_path):
    _, folder = functional
    (tmp_path / "mine.py").write_text(Path(CUSTOMS).read_text())
    (tmp_path / "h5py.py").write_text("open('hijacked', 'w')\n")
    arguments = [f"--custom-objects=mine:{name}" for name in ("Scale", "Block", "swish_twice")]
    ran = actviz("show", folder / "functional.keras", "-l", "block/stages/*", "-o", "out/", *arguments)
    assert ran.code == 0, ran.err
    assert "code from mine:Scale, mine:Block, mine:swish_twice is run for scale (Scale)" in ran.err
    assert (tmp_path / "out" / "manifest.json").exists()
    assert "scale (Scale)" in json.loads((tmp_path / "out" / "manifest.json").read_text())["code"]
    assert not (tmp_path / "hijacked").exists()


def test_allowed_code_is_said(actviz, tmp_path):
    path = lambda_model(tmp_path, lambda x: x * 3 + 1)
    refused = actviz("layers", path, "--strict")
    assert refused.code == UnsafeError.exit_code
    ran = actviz("layers", path, "--allow-code")
    assert ran.code == 0, ran.err
    assert "code inside: lam (Lambda)" in ran.out
    shown = actviz("show", path, "-l", "lam", "-o", tmp_path / "lam.png", "--allow-code")
    assert "code in the file is allowed to run: lam (Lambda)" in shown.err


def test_the_modules_of_the_tests_are_not_what_actviz_imported():
    assert "actviz_custom_customs_for_tests" in sys.modules
