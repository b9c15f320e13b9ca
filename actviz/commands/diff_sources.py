"""The two sides of a comparison: saved activations, or two models that are fed the same."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from actviz.addresses import select_layers, select_layers_of
from actviz.batch import requests
from actviz.batch.batch_sizes import BatchSizes, fixed_batch_size
from actviz.batch.computations import NumberedSample, check_batch, stacked
from actviz.batch.events import Note
from actviz.batch.requests import check_computable, say_code
from actviz.batch.retries import ComputedBatch
from actviz.batch.runner import BatchRunner
from actviz.errors import ActvizError, InputError, ModelError, UsageError, escape
from actviz.gate.file_type import ZIP
from actviz.records import sizes_text
from actviz.statistics import differences
from actviz.system import file_system

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

    from actviz.activations import SavedActivations
    from actviz.commands.diff_request import DifferencesSoFar, DiffRequest
    from actviz.records import Activation, LayerInfo, ModelFacts, Sample
    from actviz.statistics.differences import LayerMatch
    from actviz.worker import Worker

READ = 4 << 20
BATCH_BYTES = 32 << 20
FREE = None
# What zipfile runs into by itself where an archive's numbers make no sense.
OF_DAMAGE = frozenset({None, errno.EINVAL})

ActivationPairs = list[tuple["Activation", "Activation"]]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def both_saved(ours: Path, theirs: Path, *, given: bool) -> bool:
    """Tell whether both are files of activations, by what is in them.

    Raises
    ------
    UsageError
        When only one is, or inputs are given for what needs none.
    InputError
        When one is an archive of arrays that says nothing about them.
    """
    saved = [_is_saved(path) for path in (ours, theirs)]
    if saved[0] != saved[1]:
        one, other = (ours, theirs) if saved[0] else (theirs, ours)
        message = (
            f"{one} holds activations and {other} is none of them; give two models, or two .npz of actviz extract."
        )
        raise UsageError(message)
    if saved[0] and given:
        message = f"{ours} and {theirs} are activations that were computed already; leave the inputs out."
        raise UsageError(message)
    return saved[0]


def _is_saved(path: Path) -> bool:
    """Tell whether a file is activations; anything unknown is left to those who open models."""
    from actviz.gate.archive import ARRAYS, open_archive

    if file_system.is_folder(path):
        return False
    with file_system.reading(path, ModelError) as (file, _):
        if file.read(len(ZIP)) != ZIP:
            return False
        try:
            members = open_archive(file, str(path), ARRAYS).members
        except ActvizError as failure:
            fault = _fault_of_disk(failure)
            if fault is not None:
                raise fault from None  # it says nothing about what the file is
            return False
    if "actviz.json.npy" in members:
        return True
    if members and all(member.endswith(".npy") for member in members):
        message = f"{path}: no actviz.json in it says what its arrays are; write it with actviz extract or actviz.save."
        raise InputError(message)
    return False


def _fault_of_disk(failure: BaseException) -> OSError | None:
    """Return the error of the disk that a failure comes from, ``None`` where the content of a file is at fault."""
    cause: BaseException | None = failure
    while cause is not None and not (isinstance(cause, OSError) and cause.errno not in OF_DAMAGE):
        cause = cause.__context__
    return cause


class FileSources:
    """Two files of activations; a with block opens them."""

    def __init__(self, request: DiffRequest) -> None:
        self._request = request
        self._files = ExitStack()
        self._saved: list[SavedActivations] = []

    def __enter__(self) -> Self:
        """Open both files."""
        from actviz.activations import open_saved

        with ExitStack() as stack:
            for path in (self._request.ours.model, self._request.theirs.model):
                file, _ = stack.enter_context(file_system.reading(path))
                saved = open_saved(file, str(path))
                if saved is None:
                    message = f"{path}: changed while reading; wait until it is written and run again."
                    raise InputError(message)
                self._saved.append(stack.enter_context(saved))
            self._files = stack.pop_all()
        return self

    def __exit__(self, *details: object) -> None:
        """Close both files."""
        self._files.close()

    def select(self, wanted: Sequence[str]) -> list[LayerInfo]:
        """Return the layers of the first file that addresses select."""
        return select_layers(self.layers()[0], wanted, str(self._request.ours.model))

    def layers(self) -> tuple[Sequence[LayerInfo], Sequence[LayerInfo]]:
        """Return the layers that are in the files, with the shapes of their arrays.

        Raises
        ------
        InputError
            When the files hold different numbers of inputs.
        """
        ours, theirs = self._saved
        if ours.count != theirs.count:
            first, second = (escape(name, 100) for name in self._request.names)
            message = (
                f"{first} holds {ours.count} inputs and {second} {theirs.count}; extract both from the same inputs."
            )
            raise InputError(message)
        return _held(ours), _held(theirs)

    def compare(self, pairs: Sequence[LayerMatch], drifts: DifferencesSoFar) -> Iterator[Note | ActvizError]:
        """Read both files in blocks, the next while one is compared."""
        yield from _say_inputs(*self._saved)
        drifts.inputs = self._saved[0].count
        with ThreadPoolExecutor(1) as reader:
            for pair in pairs:
                entries = [
                    saved.description.entries[address]
                    for saved, address in zip(self._saved, (pair.ours.address, pair.theirs.address), strict=True)
                ]
                axes = entries[0].axes
                size = max(
                    1, self._saved[0].row_bytes(pair.ours.address), self._saved[1].row_bytes(pair.theirs.address)
                )
                rows = max(1, READ // size)
                blocks = zip(
                    self._saved[0].blocks(pair.ours.address, rows),
                    self._saved[1].blocks(pair.theirs.address, rows),
                    strict=True,
                )
                start = 0
                waiting = reader.submit(next, blocks, None)
                while (both := waiting.result()) is not None:
                    waiting = reader.submit(next, blocks, None)
                    if _add(pair, (both[0], both[1]), axes, start, drifts):
                        break
                    start += len(both[0])

    def sample(self, number: int) -> Sample:
        """Return an input as far as it is known."""
        return self._saved[0].sample(number)

    def activations(self, pairs: Sequence[LayerMatch], number: int) -> list[tuple[Activation, Activation]]:
        """Return what both sides of some pairs gave for an input."""
        ours, theirs = self._saved
        return [
            (ours.activation(pair.ours.address, number), theirs.activation(pair.theirs.address, number))
            for pair in pairs
        ]


def _held(saved: SavedActivations) -> list[LayerInfo]:
    """Return the layers whose arrays are in a file, with the shapes and axes of those."""
    from dataclasses import replace

    about = saved.description
    return [
        replace(layer, shape=(FREE, *saved.shape(layer.address)[1:]), axes=about.entries[layer.address].axes)
        for layer in about.layers
        if layer.address in about.entries
    ]


def _say_inputs(ours: SavedActivations, theirs: SavedActivations) -> Iterator[Note]:
    """Say where both files are not of the same inputs, as far as they tell."""
    pairs = list(zip(ours.description.samples, theirs.description.samples, strict=True))
    other = [
        number for number, (one, two) in enumerate(pairs) if one.digest and two.digest and one.digest != two.digest
    ]
    if other:
        one, two = (escape(sample.name, 60) for sample in pairs[other[0]])
        yield Note(
            f"{len(other):,} of {len(pairs):,} inputs were not fed the same values, the first {other[0]} ({one} and {two}): the difference is also theirs."
        )


def _add(
    pair: LayerMatch,
    both: tuple[NDArray[Any], NDArray[Any]],
    axes: tuple[str, ...],
    start: int,
    drifts: DifferencesSoFar,
) -> bool:
    """Add a batch of a pair; return whether the pair cannot be compared."""
    address = pair.ours.address
    if both[0].shape != both[1].shape:
        drifts.left_out[address] = f"the shapes {both[0].shape[1:]} and {both[1].shape[1:]} differ"
    elif any(values.dtype.kind in "OSUTc" for values in both):
        drifts.left_out[address] = f"it gives {both[0].dtype} and {both[1].dtype}, not real numbers"
    else:
        drifts.reducer.add(address, differences.drift(*both, axes, start))
        return False
    drifts.found.pop(address, None)
    return True


class ModelSources:
    """Two models in a process each; a with block starts them."""

    def __init__(self, request: DiffRequest) -> None:
        self._request = request
        self._stack = ExitStack()
        self._workers: list[Worker] = []
        self._facts: list[ModelFacts] = []
        self._names: dict[str, str] = {}
        self._kept: dict[int, Sample] = {}
        self._sizes = BatchSizes(())

    def __enter__(self) -> Self:
        """Start both processes."""
        from actviz.worker import Worker

        with ExitStack() as stack:
            openings = (self._request.ours, self._request.theirs)
            self._workers = [stack.enter_context(Worker(opening)) for opening in openings]
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop both processes, which find out whether a model changed unless something else failed."""
        self._stack.__exit__(kind, failure, trace)

    def select(self, wanted: Sequence[str]) -> list[LayerInfo]:
        """Return the layers of the first model that addresses select."""
        return select_layers_of(self._facts[0], wanted, str(self._request.ours.model))

    def layers(self) -> tuple[Sequence[LayerInfo], Sequence[LayerInfo]]:
        """Return the layers of both models, once it is known that both take the same inputs.

        Raises
        ------
        InputError
            When they do not.
        """
        self._facts = [worker.facts() for worker in self._workers]
        for facts, opening, wanted in zip(
            self._facts, (self._request.ours, self._request.theirs), (self._request.layers, ()), strict=True
        ):
            check_computable(facts, wanted, opening.model)
        for worker in self._workers:
            worker.prepare()
        self._names = _same_inputs(self._facts, self._request.names)
        for number, worker in enumerate(self._workers):
            if any(layer.shape is None for layer in self._facts[number].layers):
                self._facts[number] = worker.complete()
        return self._facts[0].layers, self._facts[1].layers

    def compare(self, pairs: Sequence[LayerMatch], drifts: DifferencesSoFar) -> Iterator[Note | ActvizError]:
        """Feed both models the same batches, as the first of them takes them."""
        from actviz.inputs import InputArguments, choose_preprocessing, iterate_samples

        request, facts = self._request, self._facts
        for number, opening in enumerate((request.ours, request.theirs)):
            yield from (Note(line) for line in say_code(facts[number], opening.trust))
        for worker in self._workers:
            yield from requests.new_notes(worker)
        chosen = [choose_preprocessing(one, request.reading.preprocess) for one in facts]
        if replace(chosen[0], reason="") != replace(chosen[1], reason=""):
            ours, theirs = (escape(name, 100) for name in request.names)
            yield Note(
                f"{theirs} alone would be fed {chosen[1].description}; both are fed what {ours} takes: {chosen[0].description}."
            )
        given = InputArguments(request.inputs, request.named, request.lists, request.separated_by_nul)
        layers = [pair.ours for pair in pairs]
        found = iterate_samples(given, facts[0], layers, request.reading, fail_fast=request.fail_fast)
        self._sizes = BatchSizes(layers, min(fixed_batch_size(one, BATCH_BYTES) for one in facts), filled=True)
        with BatchRunner(_PairComputation(self._workers, self._names, self._sizes, pairs)) as runner:
            for item in runner.run(requests.numbered(found), fail_fast=request.fail_fast):
                if isinstance(item, ComputedBatch):
                    self._add(pairs, item, drifts)
                else:
                    yield item

    def _add(
        self,
        pairs: Sequence[LayerMatch],
        batch: ComputedBatch[NumberedSample, ActivationPairs],
        drifts: DifferencesSoFar,
    ) -> None:
        """Add a batch, and keep the inputs on which some layer differs most so far, and no others."""
        for pair, (ours, theirs) in zip(pairs, batch.result, strict=True):
            if pair.ours.address not in drifts.left_out:
                _add(pair, (ours.values, theirs.values), ours.axes, drifts.inputs, drifts)
        if self._request.output is not None:
            worst = {drift.worst for drift in drifts.found.values()}
            known = self._kept | {number: piece.sample for number, piece in enumerate(batch.pieces, drifts.inputs)}
            self._kept = {number: sample for number, sample in known.items() if number in worst}
        drifts.inputs += len(batch.pieces)

    def sample(self, number: int) -> Sample:
        """Return an input that was kept."""
        return self._kept[number]

    def activations(self, pairs: Sequence[LayerMatch], number: int) -> list[tuple[Activation, Activation]]:
        """Compute some pairs once more for an input that was kept."""
        computation = _PairComputation(self._workers, self._names, self._sizes, pairs)
        computation.ask([NumberedSample(number, self._kept[number])], self._sizes.filled_size(), "file")
        return computation.take()


class _PairComputation:
    """Activations of layers of A and their partners in B, computed by both workers at once."""

    def __init__(
        self, workers: Sequence[Worker], names: Mapping[str, str], sizes: BatchSizes, pairs: Sequence[LayerMatch]
    ) -> None:
        self.workers, self.sizes, self._names = workers, sizes, names
        self._addresses = [[pair.ours.address for pair in pairs], [pair.theirs.address for pair in pairs]]
        self._failures: list[ActvizError | None] = []
        self._count = self._size = 0

    def ask(self, batch: Sequence[NumberedSample], size: int, state: str) -> None:
        """Start computing a batch on both sides."""
        fed = stacked(batch, size)
        self._count, self._size = len(batch), max(size, len(batch))
        renamed = {self._names[name]: values for name, values in fed.items()}
        self._failures = [
            _outcome(worker.request_activations, values, addresses, state=state)
            for worker, values, addresses in zip(self.workers, (fed, renamed), self._addresses, strict=True)
        ]

    def take(self) -> ActivationPairs:
        """Wait for both sides, without the copies that fill the batch up."""
        # All answers are taken, so that a failure of one leaves no answer of the other behind.
        answers = [
            _outcome(worker.receive_activations) if failure is None else failure
            for failure, worker in zip(self._failures, self.workers, strict=True)
        ]
        sides = list[list["Activation"]]()
        for answer, addresses in zip(answers, self._addresses, strict=True):
            if isinstance(answer, ActvizError):
                raise answer
            check_batch(answer.values(), self._size)
            sides.append([_first(answer[address], self._count) for address in addresses])
        return list(zip(*sides, strict=True))


def _first(activation: Activation, count: int) -> Activation:
    """Return the activation of the first inputs of a batch, without the copies that fill it up."""
    if not activation.values.ndim or len(activation.values) <= count:
        return activation
    mask = activation.mask
    return replace(activation, values=activation.values[:count], mask=None if mask is None else mask[:count])


def _outcome(
    call: Callable[Arguments, Result], *arguments: Arguments.args, **options: Arguments.kwargs
) -> Result | ActvizError:
    """Return what a call gives, its error instead of raising it."""
    try:
        return call(*arguments, **options)
    except ActvizError as failure:
        return failure


def _same_inputs(facts: Sequence[ModelFacts], names: tuple[str, str]) -> dict[str, str]:
    """Return the name in B of each input of A: by name where they are the same, else in order.

    Raises
    ------
    InputError
        When numbers, shapes or dtypes differ.
    """
    ours, theirs = (one.inputs for one in facts)
    first, second = (escape(name, 100) for name in names)
    if len(ours) != len(theirs):
        message = f"{first} takes {len(ours)} inputs and {second} takes {len(theirs)}; models with the same inputs were expected."
        raise InputError(message)
    known = {spec.name: spec for spec in theirs}
    partners = [known[spec.name] for spec in ours] if known.keys() == {spec.name for spec in ours} else list(theirs)
    for one, other in zip(ours, partners, strict=True):
        alike = not (one.shape and other.shape) or differences.fit(one.shape, other.shape)
        if not alike or (one.dtype == "string") != (other.dtype == "string"):
            said = [f"{sizes_text(spec.shape)} {escape(spec.dtype, 20)}" for spec in (one, other)]
            message = f'the input "{escape(one.name, 60)}" is {said[0]} in {first} and {said[1]} in {second}; models with the same inputs were expected.'
            raise InputError(message)
    return {one.name: other.name for one, other in zip(ours, partners, strict=True)}
