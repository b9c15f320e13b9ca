"""The corpus of real model files beside a checkout: what becomes of each of them."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from actviz.errors import ActvizError
from actviz.formats import open_network
from actviz.gate import NO_TRUST, Trust

FOLDER = Path(__file__).parents[2] / "shared" / "corpus"
CUSTOM = ("a10a", "a10c", "a10d", "a10e", "a11", "a15d")
TOLERANCE, HALF_TOLERANCE = 1e-4, 1e-2


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


def files() -> list[Path]:
    """Return every Keras file with an architecture, and the numbers its writer computed."""
    found = sorted([*FOLDER.glob("*/*.keras"), *FOLDER.glob("*/*.h5")])
    return [path for path in found if not path.name.endswith(".weights.h5") and expected(path).exists()]


def expected(path: Path) -> Path:
    return path.parent / f"{path.name.split('.')[0]}.expected.npz"


def trust(path: Path) -> Trust:
    """Return the code that a file needs: the custom classes that lie beside the corpus."""
    if not path.name.startswith(CUSTOM):
        return NO_TRUST
    import keras

    spec = importlib.util.spec_from_file_location("corpus_customs", FOLDER / "customs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return Trust((), module.make(keras, True), allow_code=True)


def check(path: Path, *, given: bool = True) -> Outcome:
    """Open a file, compute every layer and compare with the writer's own numbers.

    With `given`, the code that custom layers need is given, and Lambda layers may run.
    """
    try:
        with np.load(expected(path)) as truth, open_network(path, None, trust(path) if given else NO_TRUST) as network:
            batch = {key.split(":", 2)[2]: truth[key] for key in truth.files if key.startswith("in:")}
            if set(batch) != {spec.name for spec in network.inputs}:
                batch = {spec.name: values for spec, values in zip(network.inputs, batch.values(), strict=True)}
            found = {unquote(name): item.values for name, item in network.activations(batch).items()}
            wanted = {key[4:]: truth[key] for key in truth.files if key.startswith("act:")}
    except ActvizError as failure:
        return Outcome(path, refused=failure.message, code=failure.exit_code)
    tolerance = HALF_TOLERANCE if "f16" in path.name else TOLERANCE
    wrong = [name for name, values in wanted.items() if name in found and not _equal(found[name], values, tolerance)]
    missing = [name for name in wanted if name not in found]
    return Outcome(path, wrong=tuple(wrong), missing=tuple(missing))


def _equal(values: np.ndarray, correct: np.ndarray, tolerance: float) -> bool:
    if correct.dtype.kind not in "fiub" or values.dtype.kind in "OSU":
        return values.shape == correct.shape
    if values.shape != correct.shape:
        return False
    first, second = values.astype(float), correct.astype(float)
    return bool(np.all(np.abs(first - second) < tolerance + tolerance * np.abs(second)))
