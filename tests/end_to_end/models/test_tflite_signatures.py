"""`.tflite` files with several signatures, against the interpreter's own signature runner."""

import json

import numpy as np
import pytest
import tflite_files

from actviz.errors import UsageError
from actviz.formats import open_network
from actviz.formats.tflite import tflite_interpreter
from actviz.records import GraphSelection

THREE = tflite_files.DATA / "signatures" / "three.tflite"
NAMES = {"choose": (["a", "b"], ["chosen", "sum"]), "plain": (["x"], ["y"]), "repeat": (["x"], ["looped"])}


@pytest.fixture(params=["ai_edge_litert", "tensorflow"])
def interpreter(request, monkeypatch):
    """Compute with LiteRT's interpreter, then with that of TensorFlow."""
    if request.param == "tensorflow":
        monkeypatch.setattr(tflite_interpreter, "LITERT", "no_such_package")
    else:
        pytest.importorskip("ai_edge_litert")


@pytest.mark.tensorflow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("interpreter")
def test_every_signature_computes_what_its_runner_computes():
    """Eight samples: both branches of the condition are taken."""
    differences = tflite_files.signature_differences(THREE)
    assert set(differences) == {(name, output) for name, (_, outputs) in NAMES.items() for output in outputs}
    assert max(differences.values()) < 1e-6


@pytest.mark.tensorflow
def test_without_a_choice_the_first_graph_is_run_and_a_note_names_the_others():
    with open_network(THREE) as network:
        assert sorted(spec.name for spec in network.inputs) == ["a", "b"]
        assert network.notes == [
            'three.tflite: signature "choose" is used; choose another with --signature: plain, repeat.'
        ]
        digests = {network.facts.digest}
    for name in NAMES:
        with open_network(THREE, choice=GraphSelection(name)) as network:
            assert not network.notes
            digests.add(network.facts.digest)
    assert len(digests) == len(NAMES), "figures of another signature are not up to date"


def test_layers_lists_every_signature(actviz):
    ran = actviz("layers", THREE, "--signature", "repeat")
    assert ran.code == 0
    assert "signature choose: a, b -> chosen, sum\n" in ran.out
    assert "signature repeat: x -> looped (listed here)\n" in ran.out
    assert "input x: 4 float32\n" in ran.out
    listed = json.loads(actviz("layers", THREE, "--json").out)["signatures"]
    assert listed == [
        {"name": name, "inputs": inputs, "outputs": outputs, "selected": name == "choose"}
        for name, (inputs, outputs) in NAMES.items()
    ]


def test_an_unknown_signature_and_a_tag_are_refused_with_what_there_is(samples):
    with pytest.raises(
        UsageError, match=r'three.tflite: there is no signature "x"; the file has: choose, plain, repeat'
    ):
        open_network(THREE, choice=GraphSelection("x"))
    with pytest.raises(UsageError, match=r"--tag chooses in a SavedModel; in a .tflite file --signature does"):
        open_network(THREE, choice=GraphSelection(tags=("serve",)))
    with pytest.raises(UsageError, match=r"--signature chooses in a SavedModel or a .tflite file"):
        open_network(samples / "dense.h5", choice=GraphSelection("x"))


@pytest.mark.slow
def test_every_command_that_runs_a_model_takes_a_signature(actviz, tmp_path):
    np.savez(tmp_path / "in.npz", x=np.random.default_rng(0).normal(size=(1, 4)).astype(np.float32))
    chosen = ("in.npz", "--signature", "repeat")
    assert actviz("extract", THREE, *chosen, "-o", "out.npz").code == 0
    assert "looped" in np.load(tmp_path / "out.npz").files
    assert actviz("show", THREE, *chosen, "-l", "looped", "-o", "out.png").code == 0
    assert actviz("check", THREE, *chosen).code == 0
    assert actviz("diff", THREE, THREE, *chosen).code == 0
    assert actviz("report", THREE, *chosen, "-o", "out.html").code == 0
