"""`--preprocess file.py:function`: code of the user that reads and prepares inputs."""

import hashlib
import json
import os
import threading
import time
from pathlib import Path

import faults
import numpy as np
import pytest
from threats import threat

import actviz as package
from actviz import activations
from actviz.cli import config
from actviz.cli.configured_command import options_of
from actviz.cli.program import COMMANDS, program
from actviz.errors import ActvizError, InputError, UsageError
from actviz.inputs import InputArguments, InputFile, InputOptions, Shard, choose_preprocessing, load_samples
from actviz.inputs.input_function import InputFunction, load_function, preprocess_option
from actviz.inputs.sources import make_pipeline
from actviz.records import LayerInfo, ModelFacts, TensorSpec
from actviz.results import output_files

AXES = ("batch", "row", "column", "channel")
IMAGE = TensorSpec("image", (None, 2, 2, 1), "float32", AXES)
VECTOR = TensorSpec("x", (None, 3), "float32", ("batch", "unit"))
TOKENS = TensorSpec("tokens", (None, 3), "int32", ("batch", "step"), limit=10)
TEXT = TensorSpec("text", (None,), "string", ("batch",))


def facts(*specs):
    layer = LayerInfo("d", "d", 0, "Dense", (None, 3), "float32", 0, ("batch", "unit"))
    return ModelFacts("m.keras", "keras", "keras", ("m",), specs, (layer,), (), (), "0" * 64)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.dat", "b.dat"):
        (tmp_path / name).write_text("1 2 3")
    return tmp_path


def written(body, name="prep.py"):
    with open(name, "w", encoding="utf-8") as file:
        file.write("import numpy as np\n\n\ndef load(path):\n" + "".join(f"    {line}\n" for line in body.splitlines()))
    return load_function(f"{name}:load")


def loaded(body, *paths, specs=(VECTOR,), named=(), **settings):
    reading = InputOptions(function=written(body) if isinstance(body, str) else body, **settings)
    given = InputArguments(tuple(map(Path, paths)), tuple(named))
    return load_samples(given, facts(*specs), facts(*specs).layers, reading)


def refused(body, *paths, error=InputError, **settings):
    with pytest.raises(error) as caught:
        loaded(body, *(paths or ("a.dat",)), **settings)
    return caught.value.message


SPLIT = "return np.array(path.read_text().split(), float)"


# ------------------------------------------------------------------ what it gets and returns
def test_it_gets_the_path_of_a_file_that_actviz_does_not_know():
    (sample,) = loaded(SPLIT, "a.dat").samples
    assert sample.values["x"].tolist() == [[1, 2, 3]]
    assert sample.values["x"].dtype == np.float32
    assert (sample.name, sample.fed) == ("a.dat", "3, by load of prep.py, values 1..3")
    assert sample.ranges == ()  # the range of images was not applied


def test_images_are_not_decoded_before():
    (sample,) = loaded("return np.full((2, 2, 1), len(path.read_bytes()))", "a.dat", specs=(IMAGE,)).samples
    assert sample.values["image"].ravel().tolist() == [5] * 4
    assert sample.thumbnail.shape == (2, 2, 3)


def test_a_batch_axis_is_samples():
    samples = loaded("return np.arange(6).reshape(2, 3)", "a.dat").samples
    assert [(sample.name, sample.values["x"].tolist()) for sample in samples] == [
        ("a.dat[0]", [[0, 1, 2]]),
        ("a.dat[1]", [[3, 4, 5]]),
    ]


def test_several_inputs_are_a_dictionary():
    body = "return {'x': [1, 2, 3], 'tokens': np.array([[4, 5, 6]]), 'rest': None}"
    (sample,) = loaded(body, "a.dat", specs=(VECTOR, TOKENS)).samples
    assert {name: values.tolist() for name, values in sample.values.items()} == {
        "x": [[1, 2, 3]],
        "tokens": [[4, 5, 6]],
    }
    assert sample.values["tokens"].dtype == np.int32


def test_each_file_given_by_name_is_read():
    named = ("x=a.dat", "tokens=b.dat")
    (sample,) = loaded(SPLIT, specs=(VECTOR, TOKENS), named=named).samples
    assert {name: values.tolist() for name, values in sample.values.items()} == {
        "x": [[1, 2, 3]],
        "tokens": [[1, 2, 3]],
    }


@pytest.mark.parametrize("text", ["'zwölf'", "b'zw\\xc3\\xb6lf'", "np.array(['zwölf'], object)"])
def test_text(text):
    (sample,) = loaded(f"return {text}", "a.dat", specs=(TEXT,)).samples
    assert sample.values["text"].tolist() == ["zwölf"]


def test_a_buffer_that_is_used_again_changes_no_earlier_sample():
    reading = InputOptions(function=InputFunction("f", _Counter()))
    samples = load_samples(
        InputArguments((Path("a.dat"), Path("b.dat"))), facts(VECTOR), facts(VECTOR).layers, reading
    ).samples
    assert [sample.values["x"].tolist() for sample in samples] == [[[1, 1, 1]], [[2, 2, 2]]]


class _Counter:
    """A function that returns the same array again and again, and notes how many calls overlap."""

    def __init__(self):
        self.values, self.inside, self.most = np.zeros(3), 0, 0

    def __call__(self, path):
        assert isinstance(path, Path)
        self.inside += 1
        self.most = max(self.most, self.inside)
        time.sleep(0.01)
        self.values += 1
        self.inside -= 1
        return self.values


def test_one_call_at_a_time():
    counter = _Counter()
    function = InputFunction("f", counter)
    threads = [threading.Thread(target=function.read, args=(Path("a.dat"),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (counter.most, counter.values[0]) == (1, 8)


def test_values_out_of_the_range_of_the_model_are_noted():
    (sample,) = loaded("return np.full((2, 2, 1), 255)", "a.dat", specs=(IMAGE,)).samples
    assert "its largest value is 255, but images are fed to this model as 0..1" in sample.notes[0]


# ------------------------------------------------------------------ what fails
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "x = 1\nraise KeyError('wave\\nlength')",
            r"a.dat: --preprocess prep.py:load: prep.py, line 6: KeyError: 'wave\nlength'; correct the function, or leave the file out.",
        ),
        ("raise SystemExit(0)", "a.dat: --preprocess prep.py:load: prep.py, line 5: SystemExit: 0; correct the function"),
        ("return load()", "prep.py, line 5: TypeError: load() missing 1 required positional argument"),
        ("return [[1], [1, 2]]", "prep.py, line 4: ValueError: setting an array element"),
        ("raise MemoryError", "prep.py, line 5: MemoryError"),
        ("x = 1", "a.dat: prep.py:load returned None; an array was expected."),
        ("return {}", "a.dat: prep.py:load returned no array for the input x; it returned none."),
        ("return {'y': 1, 'z': 2}", "returned no array for the input x; it returned y, z."),
        ("return np.zeros(4)", "a.dat as read by prep.py:load: expected (any, 3), got (4,)"),
        ("return np.zeros((0, 3))", "holds no sample; at least one was expected."),
        ("return [1, float('nan'), 3]", "a.dat: 1 NaN and 0 infinite of 3 values"),
        ("return np.array([1j, 2, 3])", "a.dat as read by prep.py:load: dtype complex128 not supported; the input takes float32."),
        ("return (x for x in [1])", "a.dat as read by prep.py:load: dtype object not supported"),
        ("return ['a', 'b', 'c']", "dtype str32 not supported; the input takes float32."),
        ("return [1e300, 0, 0]", "cannot be held by the input's dtype float32"),
    ],
)  # fmt: skip
def test_a_function_that_fails(body, message):
    assert message in refused(body)


def test_tokens_are_checked():
    message = refused("return [1, 2, 99]", specs=(TOKENS,))
    assert "a.dat as read by prep.py:load: the value 99 at [2] is outside the vocabulary" in message


def test_several_inputs_need_a_dictionary():
    message = refused("return [1, 2, 3]", specs=(VECTOR, TOKENS))
    assert message == (
        "a.dat: prep.py:load returned one array, but the model takes x, tokens;"
        " return a dictionary of arrays by these names, or give a file for each (--input x=FILE ...)."
    )


def test_a_file_that_fails_costs_itself():
    given = InputArguments((Path("a.dat"), Path("missing.dat"), Path("b.dat")))
    body = "if path.name == 'b.dat':\n    raise ValueError('bad')\nreturn [1, 2, 3]"
    read = load_samples(given, facts(VECTOR), facts(VECTOR).layers, InputOptions(function=written(body)))
    assert [sample.name for sample in read.samples] == ["a.dat"]
    assert [failure.exit_code for failure in read.failures] == [3, 3]
    assert "missing.dat: no such file" in read.failures[0].message
    assert "prep.py, line 6: ValueError: bad" in read.failures[1].message


def test_it_needs_a_file():
    with pytest.raises(UsageError) as caught:
        load_samples(InputArguments(), facts(VECTOR), facts(VECTOR).layers, InputOptions(function=written(SPLIT)))
    assert caught.value.message == "--preprocess prep.py:load reads files; give one after the model."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prep.py:", '--preprocess "prep.py:": expected file.py:function.'),
        (":load", '--preprocess ":load": expected file.py:function.'),
        ("prep:load", '--preprocess "prep:load": expected file.py:function.'),
        ("prep.py:a b", '--preprocess "prep.py:a b": expected file.py:function.'),
        ("none.py:load", "--preprocess: none.py: there is no such file."),
        ("folder.py:load", "--preprocess: folder.py: there is no such file."),
        ("pipe.py:load", "--preprocess: pipe.py: there is no such file."),
        ("prep.py:read", '--preprocess: prep.py has no "read".'),
        ("prep.py:np", '--preprocess: "np" of prep.py is a module; a function was expected.'),
        ("broken.py:load", "--preprocess: broken.py cannot be imported: SyntaxError:"),
        ("script.py:load", "--preprocess: script.py cannot be imported: SystemExit: 3"),
    ],
)
def test_code_that_cannot_be_loaded(folder, text, message):
    written(SPLIT)
    (folder / "broken.py").write_text("def load(:\n")
    (folder / "script.py").write_text("raise SystemExit(3)\n")
    (folder / "folder.py").mkdir()
    os.mkfifo(folder / "pipe.py")
    with pytest.raises(UsageError) as caught:
        preprocess_option(text)
    assert message in caught.value.message


def test_a_file_alone_is_no_range():
    with pytest.raises(UsageError, match=r"choose one of auto, .*or file\.py:function"):
        InputOptions(preprocess="prep.py")


# ------------------------------------------------------------------ how it is imported
def test_files_beside_it_are_found_and_installed_ones_win(folder):
    (folder / "code").mkdir()
    (folder / "code" / "beside.py").write_text("VALUE = 7\n")
    (folder / "code" / "numpy.py").write_text("raise ImportError('the wrong one')\n")
    (folder / "code" / "prep.py").write_text(
        "import beside\nimport numpy as np\ndef load(path):\n    return np.full(3, beside.VALUE)\n"
    )
    (sample,) = loaded(load_function("code/prep.py:load"), "a.dat").samples
    assert sample.values["x"].tolist() == [[7, 7, 7]]


def test_what_it_prints_goes_to_standard_error(capfd):
    loaded("print('reading', path)\nreturn [1, 2, 3]", "a.dat")
    assert capfd.readouterr() == ("", "reading a.dat\n")


# ------------------------------------------------------------------ what is recorded
def test_records_have_its_name_and_hash(folder):
    function = written(SPLIT)
    sha256 = hashlib.sha256((folder / "prep.py").read_bytes()).hexdigest()
    reading = InputOptions(function=function)
    expected = {"preprocess": "prep.py:load", "preprocess_sha256": sha256}
    assert reading.code_record() == expected
    assert expected.items() <= json.loads(json.dumps(reading.record())).items()
    assert InputOptions(preprocess="caffe").code_record() == {}
    assert InputOptions(preprocess="caffe").record()["preprocess"] == "caffe"
    assert choose_preprocessing(facts(IMAGE), function).description == f"load of prep.py (SHA-256 {sha256})"


def test_shards_hold_all_samples_of_a_file_that_belongs_to_them(folder):
    from actviz.batch.up_to_date import AlwaysOutdated
    from actviz.batch.work_items import InputBatch, WorkItem, WorkItemReader

    reading = InputOptions(function=written("return np.zeros((3, 3))"))
    (folder / "c.npy").write_text("")
    entries = [InputFile(Path(name), name) for name in ("a.dat", "b.dat", "c.npy")]
    read = []
    for number in (1, 2):
        pipeline = make_pipeline(facts(VECTOR), facts(VECTOR).layers, reading)
        reader = WorkItemReader(pipeline, AlwaysOutdated(), InputBatch(entries, Shard(number, 2)))
        read.append([item.sample.name for item in reader.items() if isinstance(item, WorkItem)])
        reader.end()
    assert read[0] == ["a.dat[0]", "a.dat[1]", "a.dat[2]", "c.npy[0]", "c.npy[2]"]
    assert read[1] == ["b.dat[0]", "b.dat[1]", "b.dat[2]", "c.npy[1]"]


# ------------------------------------------------------------------ who may name code
@threat(141, 2)
@pytest.mark.parametrize("name", ["actviz.toml", "pyproject.toml"])
@pytest.mark.parametrize("where", ["", "show"])
@pytest.mark.parametrize("value", ["prep.py:load", "./prep.py:load", ":", "prep:load"])
def test_no_file_of_options_names_code_for_inputs(folder, code, name, where, value):
    written("(path.parent / 'marker').touch()\nreturn [1, 2, 3]")
    section = ".".join(filter(None, ["tool.actviz" if name == "pyproject.toml" else "", where]))
    (folder / name).write_text((f"[{section}]\n" if section else "") + f'preprocess = "{value}"\n')
    known = {command: options_of(program.get_command(None, command)) for command in COMMANDS}
    with pytest.raises(UsageError, match="a file cannot name code, because others may have written it") as caught:
        config.defaults(config.read(folder / name, COMMANDS), known)
    assert caught.value.exit_code == code
    assert not (folder / "marker").exists()


def test_a_range_may_stand_in_a_file_of_options(folder):
    (folder / "actviz.toml").write_text('preprocess = "-1..1"\n')
    known = {command: options_of(program.get_command(None, command)) for command in COMMANDS}
    assert config.defaults(config.read(folder / "actviz.toml", COMMANDS), known)["show"] == {"preprocess": "-1..1"}


def test_only_the_command_line_loads_code(folder):
    written("return [1, 2, 3]")
    with pytest.raises(UsageError):
        InputOptions(preprocess="prep.py:load")
    assert isinstance(preprocess_option("prep.py:load")["function"], InputFunction)
    assert preprocess_option("caffe") == {"preprocess": "caffe"}


@threat(141, 3)
@pytest.mark.parametrize(
    "body",
    [
        "raise SystemExit(0)",
        "import sys\nsys.exit()",
        "raise RecursionError",
        "return np.zeros(10**6)",
        "return np.array([object()] * 3)",
        "return {1: 2, None: 3}",
        "return {'x': {'x': [1, 2, 3]}}",
        "class Odd:\n    def __array__(self, *a, **k):\n        raise RuntimeError('no')\nreturn Odd()",
        "class Odd(Exception):\n    def __str__(self):\n        raise RuntimeError('no')\nraise Odd",
    ],
)
def test_code_for_inputs_that_misbehaves_costs_its_own_input(code, body):
    with pytest.raises(ActvizError) as caught:
        loaded(body, "a.dat")
    assert caught.value.exit_code == code
    assert "\n" not in caught.value.message


# ------------------------------------------------------------------ in commands, with a small model
BODY = """if path.name == "bad.dat":
    raise ValueError("bad")
print("reading", path)
return np.full((8, 8, 1), float(path.read_text()))"""
COMMANDS_THAT_READ = {
    "show": ("show", "m.h5", "-l", "conv", "-o", "out/"),
    "extract": ("extract", "m.h5", "-o", "out/x.npz"),
    "check": ("check", "m.h5", "--exit-zero", "--json"),
    "diff": ("diff", "m.h5", "m.h5", "--json"),
    "report": ("report", "m.h5", "-o", "out/x.html"),
}


@pytest.fixture
def small(folder, monkeypatch, capfd):
    """Run a command in this process; return its exit code, stdout and stderr."""
    faults.use_small_models(monkeypatch)
    faults.write_model(folder / "m.h5")
    (folder / "out").mkdir()
    for name, value in (("one.dat", 0.25), ("two.dat", 0.5), ("bad.dat", 0)):
        (folder / name).write_text(str(value))
    written(BODY)

    def run(command, *inputs, options=("--preprocess", "prep.py:load")):
        name, *rest = COMMANDS_THAT_READ[command]
        models = [word for word in rest if word == "m.h5"]
        code = faults.run_here(monkeypatch, name, *models, *inputs, *rest[len(models) :], *options)
        return code, *capfd.readouterr()

    return run


@pytest.mark.parametrize("command", COMMANDS_THAT_READ)
def test_every_command_that_reads_inputs(small, folder, command):
    code, out, err = small(command, "one.dat", "bad.dat", "two.dat")
    assert code == 1, err
    assert "code runs for each input: prep.py:load (--preprocess)" in err
    assert "bad.dat: --preprocess prep.py:load: prep.py, line 6: ValueError: bad; correct the function" in err
    assert "reading one.dat" in err
    assert "reading" not in out
    sha256 = hashlib.sha256((folder / "prep.py").read_bytes()).hexdigest()
    recorded = {"preprocess": "prep.py:load", "preprocess_sha256": sha256}
    if command in {"check", "diff"}:
        record = json.loads(out)
        assert recorded.items() <= record.items()
        assert record["inputs"] == 2
    elif command == "extract":
        with (folder / "out" / "x.npz").open("rb") as file:
            saved = activations.open_saved(file, "x.npz")
            assert saved.description.preprocessing == f"load of prep.py (SHA-256 {sha256})"
            assert [sample.name for sample in saved.description.samples] == ["one.dat", "two.dat"]
    elif command == "report":
        page = (folder / "out" / "x.html").read_text()
        assert "inputs read by" in page
        assert f"load of prep.py (SHA-256 {sha256})" in page
        assert f"&#34;preprocess_sha256&#34;:&#34;{sha256}&#34;" in page
    else:
        manifest = json.loads((folder / "out" / "manifest.json").read_text())
        assert recorded.items() <= manifest["options"]["reading"].items()
        provenance = output_files.read_provenance(folder / "out" / "one" / "000_conv.png")
        assert recorded.items() <= provenance.items()
        assert provenance["fed"] == "8 × 8 × 1, by load of prep.py, all 0.25"


def test_figures_of_changed_code_or_values_are_out_of_date(small, folder):
    def drawn():
        code, out, err = small("show", "one.dat", "two.dat", options=("--preprocess", "prep.py:load", "--changed"))
        assert code == 0, err
        return [Path(line).parent.name for line in out.split()]

    assert drawn() == ["one", "two"]
    assert drawn() == []
    (folder / "one.dat").write_text("0.75")
    assert drawn() == ["one"]
    with (folder / "prep.py").open("a") as file:
        file.write("# changed\n")
    assert drawn() == ["one", "two"]


@threat(141, 1)
def test_code_for_inputs_is_never_named_by_a_list_or_the_environment(small, folder, monkeypatch, code):
    (folder / "evil.py").write_text("from pathlib import Path\nPath('marker').touch()\ndef load(path):\n    pass\n")
    (folder / "list").write_text("one.dat\n")
    for name in ("ACTVIZ_PREPROCESS", "ACTVIZ_SHOW_PREPROCESS", "PREPROCESS"):
        monkeypatch.setenv(name, "evil.py:load")
    assert small("show", "--files-from", "list")[0] == 0
    (folder / "list").write_text("one.dat\n--preprocess=evil.py:load\n--preprocess\nevil.py:load\n")
    answer, _, err = small("show", "--files-from", "list")
    assert answer == code
    assert "--preprocess=evil.py:load: no such file" in err
    assert not (folder / "marker").exists()


@threat(141, 3)
def test_code_for_inputs_runs_once_it_is_named_on_the_command_line(small, folder, code):
    (folder / "evil.py").write_text("from pathlib import Path\nPath('marker').touch()\nload = len\n")
    answer, _, err = small("show", "one.dat", options=("--preprocess", "evil.py:load"))
    assert answer == code, err  # a path has no length
    assert (folder / "marker").exists()


def test_values_of_python(folder, monkeypatch):
    network = object.__new__(package.Network)
    monkeypatch.setattr(package.Network, "facts", facts(VECTOR), raising=False)
    monkeypatch.setattr(package.Network, "layers", facts(VECTOR).layers, raising=False)
    monkeypatch.setattr(package.Network, "inputs", {"x": VECTOR}, raising=False)
    written(SPLIT)
    for given in ("prep.py:load", lambda path: np.array(path.read_text().split(), float)):
        assert package.preprocess("a.dat", network, preprocess=given).tolist() == [[1, 2, 3]]
    with pytest.raises(TypeError, match=r"preprocess: a range, file\.py:function or a function was expected, got int"):
        package.preprocess("a.dat", network, preprocess=3)
    written("raise ValueError")
    with pytest.raises(InputError, match=r'a\.dat: preprocess="prep\.py:load": prep\.py, line 5: ValueError'):
        package.preprocess("a.dat", network, preprocess="prep.py:load")
    with pytest.raises(InputError, match=r"a\.dat: preprocess=.*bad.*test_input_function\.py, line \d+: KeyError"):
        package.preprocess("a.dat", network, preprocess=_bad)


def _bad(path):
    raise KeyError(path)
