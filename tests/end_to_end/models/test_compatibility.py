"""Files that real Keras versions wrote, against the numbers that those versions computed.

`tests/data` holds at least one file for each cause for which today's Keras does not open an
older file, or gives other numbers. The whole collection is tested where it is beside the
checkout.
"""

import re
import shutil
import zipfile
from dataclasses import replace
from urllib.parse import unquote

import corpus
import h5py
import numpy as np
import pytest

from actviz.addresses import select_layers_of
from actviz.errors import ActvizError, ModelError, UnsafeError
from actviz.formats import open_network

PART = corpus.files(corpus.DATA)
WHOLE = corpus.files()
whole_collection = pytest.mark.skipif(not WHOLE, reason="the whole collection is not beside this checkout")
CAUSES = {*range(1, 21), *range(23, 30)}


def name_of(path):
    return f"{path.parent.name}/{path.name}"


def is_documented(outcome):
    message = outcome.refused if isinstance(outcome, corpus.Outcome) else outcome.message
    return corpus.OTHER_PYTHON in message or corpus.WITHOUT_CELLS in message


def test_there_is_a_file_for_every_cause():
    items = corpus.manifest(corpus.DATA).values()
    assert {cause for item in items for cause in item["causes"] if isinstance(cause, int)} >= CAUSES
    assert sum(path.stat().st_size for path in corpus.DATA.rglob("*") if path.is_file()) < 6_000_000


@pytest.mark.parametrize("path", PART, ids=name_of)
def test_every_layer_has_the_writers_numbers(path):
    outcome = corpus.check(path)
    assert outcome.right or is_documented(outcome), outcome


@pytest.mark.parametrize("path", [path for path in PART if path.name.startswith(corpus.CUSTOM[:-1])], ids=name_of)
def test_nothing_of_a_file_runs_unless_it_is_allowed(path):
    """What needs code is left out, or refused where it is asked for; nothing else of the file has wrong values."""
    outcome = corpus.check(path, given=False)
    flag, code = ("--allow-code", 5) if "a10a" in path.name else ("--custom-objects", 4)
    if not outcome.refused:
        assert outcome.missing, outcome
        assert not outcome.wrong, outcome
        with open_network(path) as network, pytest.raises(ActvizError) as refusal:
            select_layers_of(network.facts, [outcome.missing[0]], path.name)
        outcome = replace(outcome, refused=refusal.value.message, code=refusal.value.exit_code)
    assert flag in outcome.refused, outcome
    assert outcome.code == code


@pytest.mark.parametrize("path", [path for path in PART if "a15d" in path.name], ids=name_of)
def test_losses_and_metrics_of_its_own_are_no_reason_to_refuse_a_file(path):
    assert corpus.check(path, given=False).right


@pytest.mark.parametrize("path", PART, ids=name_of)
def test_the_writers_layers_are_listed(path):
    """What the writer called a layer is an address."""
    try:
        with open_network(path, None, corpus.trust(path)) as network:
            told = {re.sub(r"[#@]\d+", "", unquote(layer.address)) for layer in network.complete().layers}
    except ModelError as failure:
        assert is_documented(failure)  # noqa: PT017  (most files open)
        return
    flat = path.parent.name == "keras209_tf115" and "a04d" in path.name  # a leading model's layers are the Sequential's
    for layer in corpus.manifest(corpus.DATA)[path]["layers"]:
        assert (layer["name"].rpartition("/")[2] if flat else layer["name"]) in told, layer


@pytest.mark.slow
@whole_collection
def test_the_whole_collection():
    """Files open with every layer right, or are refused for a documented reason."""
    outcomes = [corpus.check(path) for path in WHOLE]
    assert not [outcome for outcome in outcomes if outcome.wrong]
    assert not [outcome for outcome in outcomes if not outcome.right and not is_documented(outcome)]
    without_code = [outcome for outcome in outcomes if not outcome.path.name.startswith(corpus.CUSTOM)]
    assert sum(outcome.right for outcome in without_code) >= 0.98 * len(without_code)


@pytest.mark.slow
@whole_collection
def test_false_refusals():
    """What holds no code is accepted without any flag."""
    free = [path for path in WHOLE if not path.name.startswith(corpus.CUSTOM[:-1])]
    refused = [outcome for outcome in (corpus.check(path, given=False) for path in free) if outcome.refused]
    assert not [outcome for outcome in refused if not is_documented(outcome)]


def part_of(path, number, count):
    """Compute one layer of a file alone, and with all others."""
    with np.load(corpus.expected(path)) as truth:
        given = dict(truth)
    with open_network(path, None, corpus.trust(path)) as network:
        inputs = corpus.batch(given, network)
        whole = network.activations(inputs)
    address = list(whole)[(len(whole) - 1) * number // max(1, count - 1)]
    with open_network(path, None, corpus.trust(path)) as network:
        alone = network.activations(inputs, [address])
    return address, alone[address].values, whole[address].values


def check_parts(path):
    for number in range(3):
        try:
            address, alone, whole = part_of(path, number, 3)
        except ModelError as failure:
            assert is_documented(failure)  # noqa: PT017  (most files open)
            return
        # A layer and the activation behind it may run as one kernel where only the last is asked for: 9e-8 beside 0.38.
        if alone.dtype.kind in "biuf":
            np.testing.assert_allclose(alone, whole, rtol=1e-5, atol=1e-6, err_msg=f"{path}: {address}")
        else:
            np.testing.assert_array_equal(alone, whole, err_msg=f"{path}: {address}")


@pytest.mark.parametrize("path", PART[::4], ids=name_of)
def test_parts_are_exactly_those_of_the_whole(path):
    check_parts(path)


@pytest.mark.slow
@whole_collection
def test_parts_of_the_whole_collection_are_exactly_those_of_the_whole():
    for path in WHOLE:
        check_parts(path)


def test_architecture_and_weights_apart_in_the_old_layout():
    folder = corpus.DATA / "keras209_tf115"
    with np.load(folder / "a06_multi_io.expected.npz") as truth:
        given = dict(truth)
    with open_network(folder / "a06_multi_io.json", folder / "a06_multi_io.weights.h5") as network:
        found = network.activations(corpus.batch(given, network))
    for name, item in found.items():
        np.testing.assert_allclose(item.values, given[f"act:{name}"], atol=1e-5)


@pytest.mark.parametrize("writer", ["tf213", "tf212", "tfk221", "tf216_k305"])
def test_architecture_and_weights_apart_in_the_new_layout(tmp_path, writer):
    """The `.weights.h5` of Keras 2.12 and later has the tree of a `.keras` archive."""
    path = next(
        path for path in PART if path.parent.name == writer and path.suffix == ".keras" and "a1" not in path.name
    )
    with zipfile.ZipFile(path) as archive:
        version = archive.read("metadata.json").decode().split('"keras_version": "')[1].split('"')[0]
        text = archive.read("config.json").decode()
        (tmp_path / "m.json").write_text(f'{text[:-1]}, "keras_version": "{version}"}}')
        (tmp_path / "m.weights.h5").write_bytes(archive.read("model.weights.h5"))
    with np.load(corpus.expected(path)) as truth:
        given = dict(truth)
    with open_network(tmp_path / "m.json", tmp_path / "m.weights.h5") as network:
        found = network.activations(corpus.batch(given, network))
    for key, values in given.items():
        if key.startswith("act:"):
            np.testing.assert_allclose(found[key[4:]].values, values, atol=1e-4, err_msg=key)


def test_an_unpacked_archive_is_the_archive(tmp_path):
    path = corpus.DATA / "tf213" / "a04c_nested2.keras"
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "folder")
    with np.load(corpus.expected(path)) as truth:
        given = dict(truth)
    with open_network(tmp_path / "folder") as network:
        found = network.activations(
            corpus.batch(given, network), ["out" if "out" in given else network.layers[-1].address]
        )
    ((address, item),) = found.items()
    np.testing.assert_allclose(item.values, given[f"act:{address}"], atol=1e-4)


def test_weights_that_are_not_those_of_the_architecture(tmp_path):
    folder = corpus.DATA / "keras209_tf115"
    shutil.copyfile(folder / "a06_multi_io.weights.h5", tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5", "r+") as file:
        values = file["conv/conv/kernel:0"][...]
        del file["conv/conv/kernel:0"]
        file["conv/conv/kernel:0"] = values[:, :-1]
    with np.load(folder / "a06_multi_io.expected.npz") as truth:
        given = dict(truth)
    with (
        open_network(folder / "a06_multi_io.json", tmp_path / "w.h5") as network,
        pytest.raises(ModelError, match='a weight of layer "conv" has the shape'),
    ):
        network.activations(corpus.batch(given, network))


def test_the_vocabulary_that_an_h5_file_does_not_hold(tmp_path):
    import keras

    layer = keras.layers.TextVectorization(output_mode="int", output_sequence_length=4, name="words")
    layer.adapt(["one two three", "two three"])
    text = keras.Input((), dtype="string", name="text")
    model = keras.Model(text, keras.layers.Embedding(9, 2, name="embedding")(layer(text)))
    for suffix in ("h5", "keras"):
        model.save(tmp_path / f"m.{suffix}")
    lines = np.array(["two one", "three"])
    with open_network(tmp_path / "m.keras") as network:
        found = network.activations({"text": lines})
    np.testing.assert_array_equal(found["words"].values, layer(lines).numpy())
    with (
        open_network(tmp_path / "m.h5") as network,
        pytest.raises(ModelError, match=r'does not hold the vocabulary of layer "words"; save the model as \.keras'),
    ):
        network.activations({"text": lines})


def test_unsafe_is_not_unknown():
    assert UnsafeError.exit_code == 5
    assert ModelError.exit_code == 4
