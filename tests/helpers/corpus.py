"""The corpus of real model files beside a checkout: what becomes of each of them."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np

from actviz.errors import ActvizError
from actviz.formats import open_network
from actviz.gate import NO_TRUST, TrustPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actviz.formats.network_protocol import Network

ROOT = Path(__file__).parents[2]
CORPUS = ROOT.parent / "shared" / "corpus"
DATA = ROOT / "tests" / "data"
KERAS_FILES = frozenset({"keras", "h5", "h5-named-keras"})
SAVED = frozenset({"savedmodel", "savedmodel-tf1", "export", "frozen-pb"})
CUSTOM = ("a10a", "a10c", "a10d", "a10e", "a11", "a15d")
TOLERANCE, HALF_TOLERANCE = 1e-4, 1e-2
# What cannot be right: bytecode of another Python, and cells that Keras 2.0.9 did not save.
OTHER_PYTHON, WITHOUT_CELLS = "bytecode of another Python", "without the configuration of its LSTMCell"


@dataclass(frozen=True)
class Outcome:
    """What became of one file: refused for a reason, or opened with these differences."""

    path: Path
    refused: str = ""
    code: int = 0
    wrong: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def right(self) -> bool:
        return not (self.refused or self.wrong or self.missing)


@functools.cache
def manifest(folder: Path) -> dict[Path, dict[str, Any]]:
    """Return what is known of each file of a collection."""
    text = (folder / "manifest.json").read_text(encoding="utf-8")
    return {folder / item["file"]: item for item in json.loads(text)["files"]}


def files(folder: Path = CORPUS, formats: frozenset[str] = KERAS_FILES) -> list[Path]:
    """Return every file of some formats that has the numbers its writer computed."""
    if not (folder / "manifest.json").exists():
        return []
    return sorted(path for path, item in manifest(folder).items() if item["format"] in formats and item["expected"])


def expected(path: Path) -> Path:
    """Return the file of the numbers that the writer of a model computed."""
    folder = path.parents[1]
    return folder / manifest(folder)[path]["expected"]


def trust(path: Path) -> TrustPolicy:
    """Return the code that a file needs: the custom classes that lie beside the corpus."""
    if not path.name.startswith(CUSTOM):
        return NO_TRUST
    import keras

    spec = importlib.util.spec_from_file_location("corpus_customs", path.parents[1] / "customs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return TrustPolicy((), module.make(keras, True), allow_code=True)


def check(path: Path, *, given: bool = True) -> Outcome:
    """Open a file, compute every layer and compare with the writer's own numbers.

    With `given`, the code that custom layers need is given, and Lambda layers may run.
    """
    try:
        with np.load(expected(path)) as truth, open_network(path, None, trust(path) if given else NO_TRUST) as network:
            found = {unquote(name): item.values for name, item in network.activations(batch(truth, network)).items()}
            wanted = {key[4:]: truth[key] for key in truth.files if key.startswith("act:")}
    except ActvizError as failure:
        return Outcome(path, refused=failure.message, code=failure.exit_code)
    tolerance = HALF_TOLERANCE if "f16" in path.name else TOLERANCE
    wrong = [name for name, values in wanted.items() if name in found and not _equal(found[name], values, tolerance)]
    missing = [name for name in wanted if name not in found]
    return Outcome(path, wrong=tuple(wrong), missing=tuple(missing))


def without_inputs(outcome: Outcome) -> Outcome:
    """Return an outcome without the missing layers that give what the network is fed."""
    with np.load(expected(outcome.path)) as truth:
        fed = [truth[key] for key in truth.files if key.startswith("in:")]
        lost = [
            name for name in outcome.missing if not any(np.array_equal(truth[f"act:{name}"], values) for values in fed)
        ]
    return dataclasses.replace(outcome, missing=tuple(lost))


def batch(truth: Mapping[str, np.ndarray], network: Network) -> dict[str, np.ndarray]:
    """Return the writer's inputs, by the names or else in the order of the network's own."""
    given = {key.split(":", 2)[2]: values for key, values in truth.items() if key.startswith("in:")}
    if set(given) == {spec.name for spec in network.inputs}:
        return given
    return {spec.name: values for spec, values in zip(network.inputs, given.values(), strict=True)}


def _equal(values: np.ndarray, correct: np.ndarray, tolerance: float) -> bool:
    if correct.dtype.kind not in "fiub" or values.dtype.kind in "OSU":
        return values.shape == correct.shape
    if values.shape != correct.shape:
        return False
    first, second = values.astype(float), correct.astype(float)
    return bool(np.all(np.abs(first - second) < tolerance + tolerance * np.abs(second)))
