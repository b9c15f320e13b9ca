"""Reads the strongest inputs of `top` again for their crops, also when parts are merged, without the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actviz.batch.events import Note
from actviz.batch.strongest_runner import identity_of
from actviz.errors import ActvizError, InputError, escape
from actviz.figures import text
from actviz.inputs import InputArguments, InputFile, InputOptions, iterate_samples, make_pipeline
from actviz.inputs.input_files import is_divided
from actviz.inputs.input_options import MAXIMUM_PIXELS
from actviz.inputs.sources import OFFSET_BITS
from actviz.records import ModelFacts
from actviz.system import file_system
from actviz.system.serialization import from_plain, to_plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from actviz.commands.top_files import Crops
    from actviz.commands.top_result import LayerResult
    from actviz.inputs import InputPipeline
    from actviz.records import Sample

SAMPLES = 1 << OFFSET_BITS


def reader_record(facts: ModelFacts) -> dict[str, Any]:
    """Return what of a model is needed to read its inputs again, for `reader_of`."""
    nothing: dict[str, Any] = {"layers": (), "listed": (), "pre_activations": (), "signatures": (), "labels": ()}
    nothing |= {"code": (), "missing": (), "removed_layers": {}, "refusals": {}}
    finite = tuple(
        item for item in facts.operations if all(np.isfinite(item.numbers[name]).all() for name in item.numbers)
    )
    record: dict[str, Any] = to_plain(replace(facts, operations=finite, **nothing))
    return {key: value for key, value in record.items() if value or key in {"digest", "format", "writer"}}


def reader_of(record: Mapping[str, Any]) -> tuple[ModelFacts, InputOptions]:
    """Return the facts and the options with which inputs were read, from the record of a run.

    Limits are at most those that hold by default: the file may be from others.

    Raises
    ------
    InputError
        If a function of the user read them: its code does not run because a file names it.
    KeyError, TypeError, ValueError
        If the record is damaged.
    """
    empty = dict.fromkeys(("names", "inputs", "layers", "operations", "code"), ())
    facts = from_plain({"file": "", **empty, **record["reader"]}, ModelFacts)
    reading = dict(record["reading"])
    if "preprocess_sha256" in reading:
        message = f"inputs were read by {escape(str(reading['preprocess']), 80)}, which is not run again: crops come from parts that ran with --keep-crops."
        raise InputError(message)
    if isinstance(reading["background"], list):
        reading["background"] = tuple(reading["background"])
    options = InputOptions(**reading)
    return facts, replace(options, maximum_pixels=min(options.maximum_pixels, MAXIMUM_PIXELS))


def strongest_files(results: Sequence[LayerResult], files: Sequence[InputFile]) -> dict[str, str]:
    """Return the paths of the files of the strongest inputs, by their numbers."""
    numbers = {number >> OFFSET_BITS for result in results for number in result.numbers.identities}
    return {str(number): str(files[number].path) for number in sorted(numbers) if number < len(files)}


def read_again(
    given: InputArguments, facts: ModelFacts, options: InputOptions, results: Sequence[LayerResult], crops: Crops
) -> Iterator[Note]:
    """Add the tiles of the inputs that `crops` wants; what it still wants then could not be read, or has changed."""
    layers = [result.layer for result in results]
    try:
        if given.files:
            files = {number: given.files[number] for number in {number >> OFFSET_BITS for number in crops.wanted}}
            cut(files, make_pipeline(facts, layers, options), crops)
        else:
            for samples in iterate_samples(given, facts, layers, options):
                for sample in [] if isinstance(samples, ActvizError) else samples:
                    _add(sample, crops)
    except ActvizError as failure:
        yield Note(failure.message)
    if crops.wanted:
        (_, _, winner), count = next(iter(crops.wanted.values()))[0], text.plural(len(crops.wanted), "input")
        shown = (
            f"{count} is shown without its picture" if len(crops.wanted) == 1 else f"{count} are shown without pictures"
        )
        yield Note(f"{escape(winner.name, 80)}: changed or removed since it was computed; {shown}.")


def cut(files: Mapping[int, InputFile], pipeline: InputPipeline, crops: Crops) -> None:
    """Read the inputs that are wanted of some files, by number, and cut them.

    Each input is cut when it is decoded, so that no whole pictures are kept, but reduced ones for a page.
    """
    for number, file in sorted(files.items()):
        wanted = sorted(each % SAMPLES for each in crops.wanted if each >> OFFSET_BITS == number)
        try:
            opened = pipeline.open(file.path)
            # Of a large array only the rows that are wanted are read, other files are parsed once.
            windows = [(first, first + 1) for first in wanted] if opened.header else [(wanted[0], wanted[-1] + 1)]
            for window in windows:
                for index, sample in enumerate(pipeline.samples(opened, window), window[0]):
                    name = file.name + sample.name.removeprefix(file.path.name)
                    _add(replace(sample, name=name, offset=(number << OFFSET_BITS) + index), crops)
        except ActvizError:
            continue


def _add(sample: Sample, crops: Crops) -> None:
    """Cut a sample, if it is wanted and has the values that were computed."""
    ranks = crops.wanted.get(sample.offset, ())
    if ranks and identity_of(sample).digest == ranks[0][2].digest:
        for result, rank, winner in crops.wanted.pop(sample.offset):
            crops.add(rank, winner, sample, result)


def read_moved(
    record: Mapping[str, Any], root: Path | None, results: Sequence[LayerResult], crops: Crops
) -> Iterator[Note]:
    """Add the tiles of inputs of a merged run: from where they were, or below the folder `root`.

    Raises
    ------
    InputError
        If `root` is no folder.
    KeyError, TypeError, ValueError
        If the record is damaged.
    """
    if root is not None and not file_system.is_folder(root):
        raise InputError(f"--inputs {escape(str(root), 200)}: no such folder; give the one that the inputs are in now.")
    try:
        facts, options = reader_of(record)
        pipeline = make_pipeline(facts, [result.layer for result in results], options)
        if record["named"] and root is None:
            yield from read_again(InputArguments(named=tuple(record["named"])), facts, options, results, crops)
        for number, name in _names(crops).items():
            for path in _candidates(str(record["files"].get(str(number), "")), name, root):
                if number in {each >> OFFSET_BITS for each in crops.wanted}:
                    cut({number: InputFile(path, name)}, pipeline, crops)
    except ActvizError as failure:
        yield Note(failure.message)
    if crops.wanted:
        (_, _, winner), count = next(iter(crops.wanted.values()))[0], text.plural(len(crops.wanted), "input")
        where = "where it was computed" if root is None else f"in {escape(str(root), 80)}"
        yield Note(
            f"figures have numbers and names only for {count} without picture, such as {escape(winner.name, 80)}: not found {where}, or changed; give their folder with --inputs, or run parts with --keep-crops."
        )


def _names(crops: Crops) -> dict[int, str]:
    """Return the names of the files of the inputs that are wanted, by number."""
    names = {}
    for number, ranks in crops.wanted.items():
        name = ranks[0][2].name
        bare = name.removesuffix(f"[{number % SAMPLES}]")
        names[number >> OFFSET_BITS] = bare if is_divided(Path(bare)) else name
    return names


def _candidates(path: str, name: str, root: Path | None) -> list[Path]:
    """Return where a file may be: at its path, or below `root` by its name or path; never outside of it."""
    if root is None:
        return [Path(path)] if path else []
    inside = [Path(part) for part in dict.fromkeys((name, path)) if part]
    return [root / part for part in inside if not part.is_absolute() and ".." not in part.parts]
