"""Several `--weights` of one architecture as checkpoints, and results that name the weights."""

import shutil

import numpy as np
import pytest
from conftest import DATA

from actviz.commands.checkpoints import find_weights
from actviz.results.output_files import read_provenance

WEIGHTS = DATA / "weights"
JSON = WEIGHTS / "parts.json"


@pytest.fixture
def folder(tmp_path):
    """Three weights of one network, in two layouts, and an input."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((1, 6, 6, 2), np.float32))
    shutil.copy(JSON, tmp_path / "arch.json")
    (tmp_path / "run").mkdir()
    for number in (2, 10):
        shutil.copy(WEIGHTS / "parts.h5", tmp_path / "run" / f"e{number}.h5")
    for path in (WEIGHTS / "keras").iterdir():
        shutil.copy(path, tmp_path / path.name)
    return tmp_path


def test_weights_are_as_given_and_those_of_a_folder_in_natural_order(folder):
    run = folder / "run"
    assert [path.name for path in find_weights([run])] == ["e2.h5", "e10.h5"]
    assert find_weights([run / "e10.h5", run / "e2.h5"]) == (run / "e10.h5", run / "e2.h5")
    for name in ("ckpt-2.index", "ckpt-2.data-00000-of-00001", "notes.txt"):
        (run / name).touch()
    assert [path.name for path in find_weights([run])] == ["ckpt-2", "e2.h5", "e10.h5"]
    assert find_weights([run / "e2.h5"]) == find_weights([]) == ()
    assert find_weights([WEIGHTS / "keras"]) == ()  # its file `checkpoint` names the one that is read


@pytest.mark.slow
@pytest.mark.usefixtures("warm_worker")
def test_a_row_for_each_of_the_weights(actviz, folder):
    given = ("show", "arch.json", "--input", "x.npy", "-l", "conv2d", "-q", "-o", "epochs.png")
    ran = actviz(*given, "--weights", "run/e10.h5", "--weights", "ckpt", "--weights", "run/e2.h5")
    assert (ran.code, ran.out, ran.err) == (0, "epochs.png\n", "")
    about = read_provenance(folder / "epochs.png")
    assert about["numbers"]["checkpoints"] == ["e10.h5", "ckpt", "e2.h5"]
    assert len(set(about["weights"])) == 2
    shutil.copytree(folder / "run", folder / "run2")
    assert actviz(*given, "--overwrite", "--weights", "run/e2.h5", "--weights", "run2/e2.h5").code == 0
    assert read_provenance(folder / "epochs.png")["numbers"]["checkpoints"] == ["run/e2.h5", "run2/e2.h5"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["show", "arch.json", "--input", "x.npy"], 2, "for one layer; give it with -l."),
        (["show", "arch.json", "a.h5", "--input", "x.npy", "-l", "conv2d"], 2, "2 models and 2 --weights"),
        (["check", "arch.json", "x.npy"], 2, "--weights is given 2 times; one file was expected."),
        (["show", "arch.json", "x.npy", "-l", "conv2d", "--contact"], 2, "leave out --contact."),
    ],
)
def test_refusals(actviz, folder, arguments, code, words):
    ran = actviz(*arguments, "-q", "--weights", "run/e2.h5", "--weights", "run/e10.h5")
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (code, "", 1), ran
    assert words in ran.err


@pytest.mark.slow
@pytest.mark.usefixtures("warm_worker")
def test_bad_weights_are_named(actviz, folder):
    (folder / "run" / "e3.h5").write_bytes(b"none")
    ran = actviz("show", "arch.json", "x.npy", "-l", "conv2d", "-q", "--weights", "run")
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (4, "", 1)
    assert ran.error.startswith("actviz: error: e3.h5: ")


@pytest.mark.slow
@pytest.mark.usefixtures("warm_worker")
def test_results_name_the_weights(actviz, folder):
    ran = actviz("check", "arch.json", "x.npy", "-l", "conv2d", "--json", "--weights", "run/e2.h5", "-o", "check.png",
                 "--junit", "check.xml")  # fmt: skip
    assert ran.code == 0, ran
    assert '"weights": "e2.h5"' in ran.out
    assert 'name="actviz check arch.json with e2.h5"' in (folder / "check.xml").read_text()
    assert read_provenance(folder / "check.png")["weights"] == "e2.h5"
    for part in ("1/2", "2/2"):
        ran = actviz("check", "arch.json", "x.npy", "x.npy", "--weights", "ckpt", "--shard", part, "-o", f"{part[0]}/")
        assert ran.code == 0, ran
    merged = actviz("merge", "1", "2", "--junit", "merged.xml")
    assert merged.code == 0, merged
    assert 'name="actviz check arch.json with ckpt"' in (folder / "merged.xml").read_text()
    (folder / "runs").mkdir()
    for path in (*folder.glob("ckpt.*"), folder / "checkpoint"):
        shutil.copy(path, folder / "runs")
    ran = actviz("check", "arch.json", "x.npy", "-l", "conv2d", "--weights", "runs", "--junit", "runs.xml")
    assert "arch.json: the weights are those of runs/ckpt" in ran.err
    assert 'name="actviz check arch.json with runs/ckpt"' in (folder / "runs.xml").read_text()
    diff = actviz("diff", "arch.json", "arch.json", "x.npy", "-l", "conv2d", "--weights", "run/e2.h5", "--weights", "ckpt",
                  "--junit", "diff.xml", "--exit-zero")  # fmt: skip
    assert diff.code == 0, diff
    assert 'name="actviz diff e2.h5 and ckpt"' in (folder / "diff.xml").read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("warm_worker")
def test_a_checkpoint_named_without_suffix_fills_a_folder_of_figures(actviz, folder):
    given = ("show", "arch.json", "x.npy", "-l", "conv2d,norm", "--weights", "ckpt", "-o", "out")
    assert actviz(*given).code == 0
    assert "2 up to date" in actviz(*given).err
    shutil.copy(WEIGHTS / "parts.h5", folder / "ckpt")
    assert "up to date" not in actviz(*given).err
