"""What is there already and still right: nothing is made twice, nothing of others is replaced.

A figure is right if the same work made it: the same versions, model, options, layer and
input. `work` is the hash of all that. It stands in the manifest and in the figure itself, so
that figures are also recognised where a manifest was lost or folders were put together.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actviz.batch.figure_task import record_of
from actviz.batch.output_paths import SHEET, page_of
from actviz.errors import ActvizError, ModelError
from actviz.system import file_system

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future

    from actviz.batch.labels import LabelNames
    from actviz.batch.output_paths import OutputPaths
    from actviz.errors import OutputError
    from actviz.inputs import InputOptions
    from actviz.records import Style
    from actviz.results.manifest import KnownFigure, Manifest
    from actviz.worker import ModelOptions

LIBRARIES = ("h5py", "keras", "matplotlib", "numpy", "pillow", "tensorflow")
HALF = 32


@dataclass(frozen=True, slots=True)
class RenderSettings:
    """All that figures come from, apart from layer and input: the options that change pixels."""

    style: Style
    reading: InputOptions
    names: LabelNames
    sheet: Sequence[str]
    code: Mapping[str, Any] = field(default_factory=dict)

    def options(self) -> dict[str, Any]:
        """Return what a manifest says about it."""
        return {"style": asdict(self.style), "reading": asdict(self.reading)} | (
            {"labels": self.names.labels_file} if self.names.labels_file else {}
        )


class Fingerprint:
    """The hash of model and options, worked out by a thread while others go on."""

    def __init__(self, opening: ModelOptions, making: RenderSettings) -> None:
        self._opening, self._making = opening, making
        pool = ThreadPoolExecutor(1, "hash")
        self._model: Future[str] = pool.submit(file_system.hash_file, opening.model, ModelError)
        self._base: Future[str] = pool.submit(self._work_out, opening)
        pool.shutdown(wait=False)

    @property
    def model_sha256(self) -> str:
        """The hash of the model file."""
        return self._model.result()

    @property
    def shared(self) -> str:
        """The hash that runs have in common which may write to one folder at once: of the model and of the options."""
        opening, making = self._opening, self._making
        code = [opening.trust.allow_code, list(opening.trust.custom_objects)]
        options = [asdict(making.style), asdict(making.reading), making.names.labels, making.names.steps]
        return _hash([opening.model.name, self._model.result(), str(opening.weights), code, options])

    def of(self, key: str, name: str, origin: str) -> str:
        """Return the hash of the work that makes a figure of one input.

        Parameters
        ----------
        key
            The layer's address, or the word for a sheet.
        name
            What the figure calls the input.
        origin
            The hash of the input.
        """
        sheet = list(self._making.sheet) if key == SHEET else []
        return _hash([self._base.result(), key, sheet, name, origin])[:HALF]

    def _work_out(self, opening: ModelOptions) -> str:
        from actviz.version import VERSION

        making = self._making
        weights = "" if opening.weights is None else file_system.hash_file(opening.weights, ModelError)
        return _hash(
            {
                "actviz": VERSION,
                "libraries": {name: _version(name) for name in LIBRARIES},
                "model": [opening.model.name, self._model.result(), weights],
                "code": [opening.trust.allow_code, [_of_code(text) for text in opening.trust.custom_objects]],
                "style": asdict(making.style),
                "reading": asdict(making.reading),
                "names": [making.names.labels, making.names.steps],
            }
        )


def _of_code(text: str) -> str:
    """Return what stands for code given by the user; a module can change without a trace."""
    file = text.partition(":")[0]
    if file.endswith(".py"):
        return text + file_system.hash_file(Path(file))
    return text + secrets.token_hex(8)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


@dataclass(frozen=True, slots=True)
class Outdated:
    """What is to be made of one input, and what is not: by key.

    `adopted` are the records of figures that are right but that no manifest knew.
    """

    files: Mapping[str, Path]
    works: Mapping[str, str] = field(default_factory=dict)
    right: int = 0
    adopted: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class ReplaceRules:
    """What may be replaced: other people's files, and figures that are right."""

    overwrite: bool = False
    force: bool = False


class AlwaysOutdated:
    """Takes every input, for a look at all of them before the first figure is made."""

    def due(self, stem: str, number: int, name: str, origin: str) -> Outdated:
        """Return that something is to be made of an input; the arguments are those of `UpToDateCheck.due`."""
        del stem, number, origin
        return Outdated({name: Path()})


class UpToDateCheck:
    """Decides for each input which figures are made.

    Parameters
    ----------
    targets
        Where figures go.
    keys
        Which ones each input gets.
    model
        The name of the model.
    rules
        What may be replaced.
    """

    def __init__(self, targets: OutputPaths, keys: Sequence[str], model: str, rules: ReplaceRules) -> None:
        self._targets, self._keys, self._model, self._rules = targets, keys, model, rules
        self._refusal: OutputError | None = None
        self._manifest: Manifest | None = None
        self._fingerprint: Fingerprint | None = None

    def begin(self, manifest: Manifest, fingerprint: Fingerprint) -> None:
        """Look at what is there from now on: the results go to a folder."""
        self._manifest, self._fingerprint = manifest, fingerprint

    def refuse(self, failure: OutputError) -> None:
        """Raise a failure once a figure is to be made: nothing can be written."""
        self._refusal = failure

    def due(self, stem: str, number: int, name: str, origin: str) -> Outdated:
        """Return which figures of an input are to be made.

        Parameters
        ----------
        stem, number
            Which input, as in `Targets.path`.
        name
            What figures call it.
        origin
            The hash of it.

        Raises
        ------
        OutputError
            When something else stands where a figure should go, or nothing can be written.
        """
        files: dict[str, Path] = {}
        works: dict[str, str] = {}
        adopted: list[dict[str, Any]] = []
        right = 0
        self._check_way(stem, number)
        for key in self._keys:
            path = self._targets.path(stem, key, number)
            work = "" if self._fingerprint is None else self._fingerprint.of(key, name, origin)
            found = None if self._rules.force else self._is_right(path, work)
            if found is None:
                if self._refusal is not None:
                    raise self._refusal
                self._check(path, name, key)
                files[key] = path
                if work:
                    works[key] = work
            else:
                right += 1
                adopted += found
        return Outdated(files, works, right, adopted)

    def check(self, stem: str, number: int, name: str) -> None:
        """Refuse early to replace what others made at the places of an input."""
        if self._manifest is not None and not file_system.exists(self._targets.inside(stem, number)):
            return
        self._check_way(stem, number)
        for key in self._keys:
            path = self._targets.path(stem, key, number)
            if self._known(path) is None:
                self._check(path, name, key)

    def _check_way(self, stem: str, number: int) -> None:
        """Refuse an input whose folder is a link to elsewhere: neither written to, nor taken for right."""
        from actviz.results import output_files

        if self._targets.folder is not None:
            output_files.check_inside(self._targets.folder, self._targets.inside(stem, number))

    def _check(self, path: Path, name: str, key: str) -> None:
        from actviz.results import output_files

        identity = {"model": self._model, "input": name, "address": key}
        output_files.check_target(path, identity, overwrite=self._rules.overwrite)

    def _known(self, path: Path) -> KnownFigure | None:
        """Return what the manifest knows of a file that is as it says."""
        folder = self._targets.folder
        if self._manifest is None or folder is None:
            return None
        known = self._manifest.find(path.relative_to(folder).as_posix())
        return known if known is not None and file_system.size_of(path) == known.size else None

    def _is_right(self, path: Path, work: str) -> list[dict[str, Any]] | None:
        """Return the records to add for a figure that is right, with all its pages; ``None`` for one to make."""
        if not work or self._targets.folder is None:
            return None
        known = self._known(path)
        if known is not None and known.work == work and known.pages == 1:
            return []
        first = self._record(path, work)
        if first is None:
            return None
        found = [first]
        for number in range(2, first.get("pages", 1) + 1):
            record = self._record(page_of(path, number), work)
            if record is None:
                return None
            found.append(record)
        return found

    def _record(self, path: Path, work: str) -> dict[str, Any] | None:
        """Return the record of a whole file that this work made, else ``None``."""
        from actviz.results import output_files

        size = file_system.size_of(path)
        if size is None or self._targets.folder is None:
            return None
        try:
            provenance = output_files.read_provenance(path)
            if provenance is None or provenance.get("work") != work or not output_files.is_whole(path):
                return None
        except ActvizError:
            return None
        named = all(isinstance(provenance.get(key), str) for key in ("input", "address"))
        if not named or type(provenance.get("pages", 1)) is not int:
            return None  # somebody changed it
        return record_of(provenance, path, size, self._targets.folder)
