"""Decide which figures are up to date, so that none is drawn twice and no file of others is replaced.

A figure is up to date if its fingerprint is that of this run: the hash of versions, model, options, layer and input.
The manifest and the figure itself contain it (as `work`), so that figures are recognised without a manifest, or in
folders that were merged.
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
from actviz.system import file_system, folders

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
    """The options that change the pixels of figures."""

    style: Style
    reading: InputOptions
    names: LabelNames
    sheet: Sequence[str]
    code: Mapping[str, Any] = field(default_factory=dict)
    explain: Mapping[str, Any] = field(default_factory=dict)

    def options(self) -> dict[str, Any]:
        """Return the options as the manifest records them."""
        return (
            {"style": asdict(self.style), "reading": self.reading.record()}
            | ({"labels": self.names.labels_file} if self.names.labels_file else {})
            | ({"explain": dict(self.explain)} if self.explain else {})
        )


class Fingerprint:
    """The hash of model and options, computed in a thread."""

    def __init__(self, opening: ModelOptions, settings: RenderSettings) -> None:
        self._opening, self._settings = opening, settings
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
        """The hash of model and options, equal for runs that may write to one folder at once."""
        opening, settings = self._opening, self._settings
        code = [opening.trust.allow_code, list(opening.trust.custom_objects)]
        options = [asdict(settings.style), settings.reading.record(), settings.names.labels, settings.names.steps]
        explain = dict(settings.explain)
        return _hash([opening.model.name, self._model.result(), str(opening.weights), code, options, explain])

    def of(self, key: str, name: str, origin: str) -> str:
        """Return the fingerprint of a figure of one input.

        Parameters
        ----------
        key
            The address of the layer, or `SHEET`.
        name
            The name of the input in the figure.
        origin
            The hash of the input.
        """
        sheet = list(self._settings.sheet) if key == SHEET else []
        return _hash([self._base.result(), key, sheet, name, origin])[:HALF]

    def _work_out(self, opening: ModelOptions) -> str:
        from actviz.version import VERSION

        settings = self._settings
        files = [] if opening.weights is None else files_of_weights(opening.weights)
        weights = " ".join(file_system.hash_file(file, ModelError) for file in files)
        return _hash(
            {
                "actviz": VERSION,
                "libraries": {name: _version(name) for name in LIBRARIES},
                "model": [opening.model.name, self._model.result(), weights],
                "code": [opening.trust.allow_code, [_of_code(text) for text in opening.trust.custom_objects]],
                "style": asdict(settings.style),
                "reading": settings.reading.record(),
                "names": [settings.names.labels, settings.names.steps],
                "explain": dict(settings.explain),
            }
        )


def files_of_weights(path: Path) -> list[Path]:
    """Return a file or folder of weights, or the files of a TensorFlow checkpoint, which is named without suffix."""
    if file_system.exists(path):
        return [path]
    starts = f"{path.name}.index", f"{path.name}.data-"
    return sorted(file for file in folders.list_folder(path.parent) if file.name.startswith(starts))


def _of_code(text: str) -> str:
    """Return the name and the hash of code given by the user; a random number for a module, whose code is not hashed."""
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
    """The figures of one input.

    `files` and `fingerprints` are those of outdated figures by key, `up_to_date` are the files of the others;
    `unlisted` are the records of figures that are up to date but not in the manifest. `order` are all files.
    """

    files: Mapping[str, Path]
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    up_to_date: Sequence[Path] = ()
    unlisted: Sequence[dict[str, Any]] = ()
    order: Sequence[Path] = ()


@dataclass(frozen=True, slots=True)
class ReplaceRules:
    """What may be replaced: with `overwrite` files of others, with `force` figures that are up to date."""

    overwrite: bool = False
    force: bool = False


class AlwaysOutdated:
    """Treats every input as outdated, to run all of them before the first figure is drawn."""

    def due(self, stem: str, number: int, name: str, origin: str) -> Outdated:
        """Return one outdated figure for an input; the arguments are those of `UpToDateCheck.due`."""
        del stem, number, origin
        return Outdated({name: Path()})


class UpToDateCheck:
    """Decides for each input which figures are drawn.

    Parameters
    ----------
    targets
        The paths of the figures.
    keys
        The address of each figure of an input, or `SHEET`.
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
        """Use the figures that are already in the folder of `manifest`."""
        self._manifest, self._fingerprint = manifest, fingerprint

    def refuse(self, failure: OutputError) -> None:
        """Raise `failure` for the first outdated figure, because the folder is not writable."""
        self._refusal = failure

    def due(self, stem: str, number: int, name: str, origin: str) -> Outdated:
        """Return the outdated figures of an input.

        Parameters
        ----------
        stem, number
            The input, as in `OutputPaths.path`.
        name
            The name of the input in figures.
        origin
            The hash of the input.

        Raises
        ------
        OutputError
            If the path of a figure is taken by another file, or the folder is not writable.
        """
        files: dict[str, Path] = {}
        fingerprints: dict[str, str] = {}
        unlisted: list[dict[str, Any]] = []
        up_to_date: list[Path] = []
        self._check_folder(stem, number)
        for key in self._keys:
            path = self._targets.path(stem, key, number)
            work = "" if self._fingerprint is None else self._fingerprint.of(key, name, origin)
            records = None if self._rules.force else self._up_to_date_records(path, work)
            if records is None:
                if self._refusal is not None:
                    raise self._refusal
                self._check(path, name, key)
                files[key] = path
                if work:
                    fingerprints[key] = work
            else:
                up_to_date.append(path)
                unlisted += records
        order = [self._targets.path(stem, key, number) for key in self._keys] if up_to_date else ()
        return Outdated(files, fingerprints, up_to_date, unlisted, order)

    def check(self, stem: str, number: int, name: str) -> None:
        """Refuse early to replace files of others at the paths of an input."""
        if self._manifest is not None and not file_system.exists(self._targets.inside(stem, number)):
            return
        self._check_folder(stem, number)
        for key in self._keys:
            path = self._targets.path(stem, key, number)
            if self._known(path) is None:
                self._check(path, name, key)

    def _check_folder(self, stem: str, number: int) -> None:
        """Refuse an input whose folder is a symbolic link."""
        from actviz.results import output_files

        if self._targets.folder is not None:
            output_files.check_inside(self._targets.folder, self._targets.inside(stem, number))

    def _check(self, path: Path, name: str, key: str) -> None:
        from actviz.results import output_files

        identity = {"model": self._model, "input": name, "address": key}
        output_files.check_target(path, identity, overwrite=self._rules.overwrite)

    def _known(self, path: Path) -> KnownFigure | None:
        """Return the facts of the manifest on a file, ``None`` if its size differs."""
        folder = self._targets.folder
        if self._manifest is None or folder is None:
            return None
        known = self._manifest.find(path.relative_to(folder).as_posix())
        return known if known is not None and file_system.size_of(path) == known.size else None

    def _up_to_date_records(self, path: Path, work: str) -> list[dict[str, Any]] | None:
        """Return the records to add to the manifest for a figure that is up to date and its pages; ``None`` if outdated."""
        if not work or self._targets.folder is None:
            return None
        known = self._known(path)
        if known is not None and known.work == work and known.pages == 1:
            return []
        first = self._record(path, work)
        if first is None:
            return None
        records = [first]
        for number in range(2, first.get("pages", 1) + 1):
            record = self._record(page_of(path, number), work)
            if record is None:
                return None
            records.append(record)
        return records

    def _record(self, path: Path, work: str) -> dict[str, Any] | None:
        """Return the record of a complete file with this fingerprint, else ``None``."""
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
            return None  # changed by another program
        return record_of(provenance, path, size, self._targets.folder)
