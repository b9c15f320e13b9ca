"""`top`: the strongest inputs of every layer against numpy, their crops, classes, files and refusals."""

import json
import re

import corpus
import numpy as np
import pytest
from conftest import DATA, SAMPLES
from PIL import Image

import actviz as package
from actviz.batch.events import FileWritten, Note, Progress
from actviz.commands import top
from actviz.commands.top_request import TopRequest
from actviz.commands.verdicts import Verdict
from actviz.errors import ActvizError, InputError, OutputError, PartialError, UsageError
from actviz.formats import open_network
from actviz.inputs import InputArguments, InputOptions
from actviz.results.output_files import read_provenance
from actviz.statistics.strength_options import StrengthOptions
from actviz.statistics.strongest_inputs import StrongestReducer, channel_axis
from actviz.worker import ModelOptions

DIGITS = SAMPLES / "digits_cnn.keras"
FILES = sorted(
    DATA / name
    for name in (
        "tf115/a07b_lstm_state.h5", "tf26/a07c_gru_rnn.h5", "keras231_tf115/a03a_seq_bn.h5", "tf212/a05a_shared_layer.keras",
        "keras216_tf115/a09_channels_first.h5", "keras209_tf115/a08f_convlstm.h5", "tf221_k3151/a08g_mha.h5",
        "tf115/a01_seed_cnn.frozen.pb", "tf213/a04a_transfer_sm",
    )
)  # fmt: skip


def request(model, paths=(), layers=("conv",), **more):
    inputs = more.pop("inputs", InputArguments(tuple(paths)))
    options = StrengthOptions(more.pop("k", 3), more.pop("by", "max"), more.pop("extremes", ("high",)))
    return TopRequest(
        opening=ModelOptions(model), inputs=inputs, layers=layers, reading=InputOptions(), options=options, **more
    )


def run(*arguments, **more):
    """Return the record and the files that a run gives."""
    events = list(top.top(request(*arguments, as_json=True, **more)))
    (record,) = (event.record for event in events if isinstance(event, Verdict))
    return record, [event.path for event in events if isinstance(event, FileWritten)]


@pytest.fixture
def pictures(tmp_path):
    """Six digits in a folder for each of two classes, one of them twice."""
    generator = np.random.default_rng(3)
    for name in ("a/1.png", "a/2.png", "a/3.png", "b/4.png", "b/5.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (28, 28), np.uint8)).save(tmp_path / "in" / name)
    (tmp_path / "in" / "b" / "6.png").write_bytes((tmp_path / "in" / "a" / "1.png").read_bytes())
    return tmp_path / "in"


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_ranks_places_and_values_are_those_of_the_activations_that_keras_computed(path, tmp_path, warm_worker):
    with np.load(corpus.expected(path)) as truth, open_network(path) as network:
        values = {key[4:]: truth[key] for key in truth.files if key.startswith("act:")}
        batch = corpus.batch(truth, network)
        axes = {layer.address: layer.axes for layer in network.layers if layer.address in values}
    for name, array in batch.items():
        np.save(tmp_path / f"{name}.npy", array)
    given = InputArguments(named=tuple(f"{name}={tmp_path / name}.npy" for name in batch))
    chosen = tuple(address for address in axes if channel_axis(axes[address]))
    record, _ = run(path, layers=chosen, inputs=given, extremes=("high", "low"))
    assert [layer["address"] for layer in record["layers"]] == list(chosen)
    for layer in record["layers"]:
        expected = values[layer["address"]].astype(float)
        channel_first = np.moveaxis(expected, layer["axes"].index(channel_axis(layer["axes"])), 0)
        assert layer["channels"] == len(channel_first)
        for entry in layer["strongest"]:
            maps = channel_first[entry["channel"]]
            check_end(entry["high"], maps)
            check_end(entry["low"], -maps, sign=-1)


def check_end(end, maps, sign=1):
    """Compare the inputs of one end with the values ``(input, ...)`` of a channel."""
    strengths = np.sort(maps.reshape(len(maps), -1).max(axis=1))[::-1]
    assert sum(item["copies"] for item in end["inputs"]) == len(maps)
    assert sum(end["histogram"].values()) == len(maps)
    ranked = [sign * item["value"] for item in end["inputs"] for _ in range(item["copies"])]
    np.testing.assert_allclose(ranked, strengths, rtol=1e-4, atol=1e-4)
    for item in end["inputs"]:
        at = maps[(item["sample"], *item["place"].values())]
        np.testing.assert_allclose(sign * item["value"], at, rtol=1e-4, atol=1e-4)


def test_crops_are_the_pixels_of_the_receptive_field(pictures, tmp_path, warm_worker):
    record, files = run(DIGITS, [pictures], output=f"{tmp_path}/out/", channels="0,3")
    figure, result = files
    assert (figure.name, result.name) == ("conv.png", "top.npz")
    drawn = np.asarray(Image.open(figure).convert("L"))
    (layer,) = record["layers"]
    for entry in layer["strongest"]:
        for item in entry["high"]["inputs"]:
            row, column = item["place"].values()
            assert item["box"] == (row, column, row + 3, column + 3)
            crop = np.asarray(Image.open(pictures / item["input"]))[row : row + 3, column : column + 3]
            large = crop.repeat(32, axis=0).repeat(32, axis=1)
            rows, columns = (drawn == large[0, 0]).nonzero()
            assert any(
                np.array_equal(drawn[y : y + 96, x : x + 96], large)
                for y, x in zip(rows.tolist(), columns.tolist(), strict=True)
            )
    provenance = read_provenance(figure)
    assert (provenance["command"], provenance["address"], provenance["channels"]) == ("top", "conv", [0, 3])


def test_equal_inputs_count_once_and_classes_are_those_of_the_folders(pictures, warm_worker):
    record, _ = run(DIGITS, [pictures], k=9, channels="0")
    end = record["layers"][0]["strongest"][0]["high"]
    assert record["inputs"] == 6
    assert {item["input"]: item["copies"] for item in end["inputs"]} == {
        "a/1.png": 2, "a/2.png": 1, "a/3.png": 1, "b/4.png": 1, "b/5.png": 1
    }  # fmt: skip
    assert end["classes"] == {"a": 3, "b": 2}
    (pictures.parent / "classes.csv").write_text("1.png,dog\na/2.png,cat\n")
    record, _ = run(DIGITS, [pictures], k=9, channels="0", truth=str(pictures.parent / "classes.csv"))
    assert record["layers"][0]["strongest"][0]["high"]["classes"] == {"cat": 1, "dog": 1}


def test_the_result_file_holds_the_state_without_pickle(pictures, tmp_path, warm_worker):
    record, _ = run(DIGITS, [pictures], layers=("conv", "scores", "flatten", "pool*"), output=f"{tmp_path}/out")
    with np.load(tmp_path / "out" / "top.npz", allow_pickle=False) as archive:
        about = json.loads(archive["actviz"].tobytes())
        reducer = StrongestReducer.from_state({name: archive[name] for name in archive.files if name != "actviz"})
    assert (
        set(reducer.layers)
        == {layer["address"] for layer in about["layers"]}
        == {layer["address"] for layer in record["layers"]}
    )
    numbers = reducer.layers["scores"]
    (scores,) = (layer for layer in record["layers"] if layer["address"] == "scores")
    first = scores["strongest"][0]["high"]["inputs"][0]
    assert numbers.identities[int(numbers.numbers[0, 0, 0])] == (first["input_sha256"], first["input"])
    before = (tmp_path / "out" / "top.npz").read_bytes(), (tmp_path / "out" / "conv.png").read_bytes()
    run(DIGITS, [pictures], layers=("conv", "scores", "flatten", "pool*"), output=f"{tmp_path}/out")
    assert before == ((tmp_path / "out" / "top.npz").read_bytes(), (tmp_path / "out" / "conv.png").read_bytes())


def test_dead_channels_are_named_not_drawn(pictures, tmp_path, warm_worker):
    record, _ = run(DIGITS, [pictures], output=str(tmp_path / "top.png"))
    (layer,) = record["layers"]
    assert layer["dead"]
    assert not set(layer["dead"]) & {entry["channel"] for entry in layer["strongest"]}
    assert not set(layer["dead"]) & set(read_provenance(tmp_path / "top.png")["channels"])


def test_inputs_that_change_are_shown_by_name_and_failures_are_counted(pictures, tmp_path, warm_worker):
    (pictures / "a" / "0.png").write_bytes(b"no picture")
    notes = ""

    def take_all():
        nonlocal notes
        for event in top.top(request(DIGITS, [pictures], output=str(tmp_path / "top.png"))):
            notes += event.text if isinstance(event, Note) else ""
            if isinstance(event, Progress) and event.total:
                (pictures / "b" / "5.png").unlink(missing_ok=True)

    with pytest.raises(PartialError, match="1 of 7 inputs failed"):
        take_all()
    assert (tmp_path / "top.png").exists()
    assert "0.png" in notes
    assert "b/5.png: changed or removed since it was computed; 1 input is shown without its picture." in notes


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ({"layers": ()}, UsageError, "name them with --layer"),
        ({"layers": ("conv", "scores"), "output": "one.png"}, UsageError, "2 layers do not fit into one figure"),
        ({"output": "top.jpg"}, UsageError, "drawn as PNG, SVG, PDF or HTML"),
        ({"channels": "32"}, UsageError, "channel 32 does not exist"),
        ({"truth": "missing.csv"}, InputError, "missing.csv"),
        ({"output": "mine.png"}, OutputError, "--overwrite"),
    ],
)
def test_refusals(pictures, tmp_path, monkeypatch, warm_worker, more, error, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.png").write_bytes(b"mine")
    with pytest.raises(ActvizError, match=words) as failure:
        list(top.top(request(DIGITS, [pictures], **more)))
    assert failure.type is error
    assert (tmp_path / "mine.png").read_bytes() == b"mine"


def test_the_command_prints_a_table(actviz, warm_worker, samples):
    ran = actviz("top", DIGITS, samples / "seven.png", samples / "three.png", "-l", "scores", "-k", "1", "-q")
    lines = ran.out.splitlines()
    assert (ran.code, ran.err, lines[0]) == (0, "", "scores  Dense  2 inputs")
    assert "      7  high   100%     0.9962  -      seven.png" in lines
    assert actviz("top", DIGITS, samples / "seven.png", "-l", "scores", "-k", "0").code == 2


@pytest.mark.slow
@pytest.mark.tensorflow
def test_python_finds_what_the_command_finds(actviz, warm_worker, tmp_path):
    digits = np.random.default_rng(1).random((70, 28, 28, 1)).astype(np.float32)
    digits[5] = digits[66]
    np.save(tmp_path / "digits.npy", digits)
    ran = actviz("top", DIGITS, "digits.npy", "-l", "conv,scores", "-k", "4", "--extreme", "low", "--json")
    with package.open(DIGITS) as network:
        found = package.top(network, digits, ["conv", "scores"], k=4, extreme="low")
        for words, more in (("k of 0", {"k": 0}), ("by sum: max or mean", {"by": "sum"}), ("no inputs", {"k": 1})):
            with pytest.raises((UsageError, InputError), match=words):
                package.top(network, digits[: 0 if words == "no inputs" else 1], "conv", **more)
    for layer in json.loads(ran.out)["layers"]:
        top = found[layer["address"]]
        assert [index for index, dead in enumerate(top.dead) if dead] == layer["dead"]
        for entry in layer["strongest"]:
            channel, end = entry["channel"], entry["low"]
            assert top.values[:, channel].tolist() == [item["value"] for item in end["inputs"]]
            assert top.copies[:, channel].tolist() == [item["copies"] for item in end["inputs"]]
            assert top.fires[channel] == end["fires"]
            if layer["address"] == "conv":
                assert top.boxes[:, channel].tolist() == [item["box"] for item in end["inputs"]]


def test_the_page_has_every_layer_and_loads_nothing(pictures, tmp_path, warm_worker):
    record, files = run(DIGITS, [pictures], layers=("conv", "scores"), output=str(tmp_path / "top.html"), k=2)
    assert files == [tmp_path / "top.html"]
    page = (tmp_path / "top.html").read_text()
    rows = re.findall(r'<li class="channel" id="([^"]*)" data-channel="(\d+)" data-share="([^"]*)"', page)
    assert [row[0] for row in rows] == [
        f"{layer['address']}:{entry['channel']}" for layer in record["layers"] for entry in layer["strongest"]
    ]
    assert [float(row[2]) for row in rows] == pytest.approx(
        [entry["high"]["fires"] for layer in record["layers"] for entry in layer["strongest"]], rel=1e-5
    )
    assert set(re.findall(r'(?:href|src)="([^"]{5})', page)) <= {"#conv", "#scor", "data:"}
    wholes = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])
    shown = set(re.findall(r'data-whole="([^"]*)"', page))
    assert shown == set(wholes)
    assert all(whole[1:] == [28, 28] for whole in wholes.values())
    before = (tmp_path / "top.html").read_bytes()
    run(DIGITS, [pictures], layers=("conv", "scores"), output=str(tmp_path / "top.html"), k=2)
    assert (tmp_path / "top.html").read_bytes() == before
    (tmp_path / "top.html").write_text("<!doctype html>mine")
    with pytest.raises(OutputError, match="--overwrite"):
        run(DIGITS, [pictures], output=str(tmp_path / "top.html"))
