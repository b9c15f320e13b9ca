"""The corpus of real model files beside a checkout: what becomes of each of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from actviz.errors import ActvizError
from actviz.formats import open_network

FOLDER = Path(__file__).parents[2] / "shared" / "corpus"
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


def check(path: Path) -> Outcome:
    """Open a file, compute every layer and compare with the writer's own numbers."""
    try:
        with np.load(expected(path)) as truth, open_network(path) as network:
            given = {key.split(":", 2)[2]: truth[key] for key in truth.files if key.startswith("in:")}
            if set(given) != {spec.name for spec in network.inputs}:
                given = {spec.name: values for spec, values in zip(network.inputs, given.values(), strict=True)}
            found = {unquote(name): item.values for name, item in network.activations(given).items()}
            wanted = {key[4:]: truth[key] for key in truth.files if key.startswith("act:")}
    except ActvizError as failure:
        return Outcome(path, refused=failure.message, code=failure.exit_code)
    tolerance = HALF_TOLERANCE if "f16" in path.name else TOLERANCE
    wrong = [name for name, values in wanted.items() if name in found and not _equal(found[name], values, tolerance)]
    # The inputs of nested models are the arguments of their calls, no outputs of layers.
    missing = [name for name in wanted if name not in found and not _is_input(name)]
    return Outcome(path, wrong=tuple(wrong), missing=tuple(missing))


def _equal(values: np.ndarray, correct: np.ndarray, tolerance: float) -> bool:
    if correct.dtype.kind not in "fiub" or values.dtype.kind in "OSU":
        return values.shape == correct.shape
    if values.shape != correct.shape:
        return False
    first, second = values.astype(float), correct.astype(float)
    return bool(np.all(np.abs(first - second) < tolerance + tolerance * np.abs(second)))


def _is_input(name: str) -> bool:
    last = name.rsplit("/", maxsplit=1)[-1]
    return "input" in last or last.endswith("_in")
