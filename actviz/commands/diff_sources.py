"""The two sources of a comparison: files of activations, or models that are fed the same inputs."""

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
from actviz.batch.events import Note, Progress
from actviz.batch.requests import check_computable, code_notes
from actviz.batch.retries import ComputedBatch
from actviz.batch.runner import BatchRunner
from actviz.errors import ActvizError, InputError, ModelError, UsageError, escape
from actviz.gate.file_type import ZIP
from actviz.records import PRE, sizes_text
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
# Error numbers of the OSErrors that zipfile raises for inconsistent archives.
OF_DAMAGE = frozenset({None, errno.EINVAL})

ActivationPairs = list[tuple["Activation", "Activation"]]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def both_saved(ours: Path, theirs: Path, *, given: bool) -> bool:
    """Return True if both are files of activations, by their content.

    Raises
    ------
    UsageError
        If only one is, or inputs are given although none are needed.
    InputError
        If one is an archive of arrays without a description of them.
    """
    saved = [_is_saved(path) for path in (ours, theirs)]
    if saved[0] != saved[1]:
        file, model = (ours, theirs) if saved[0] else (theirs, ours)
        message = f"{file} holds activations and {model} does not; give two models, or two .npz of actviz extract."
        raise UsageError(message)
    if saved[0] and given:
        message = f"{ours} and {theirs} are activations that were computed already; leave the inputs out."
        raise UsageError(message)
    return saved[0]


def _is_saved(path: Path) -> bool:
    """Return True for a file of activations, False for anything that may be a model."""
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
                raise fault from None  # the content of the file is unknown
            return False
    if "actviz.json.npy" in members:
        return True
    if members and all(member.endswith(".npy") for member in members):
        message = f"{path}: no actviz.json in it says what its arrays are; write it with actviz extract or actviz.save."
        raise InputError(message)
    return False


def _fault_of_disk(failure: BaseException) -> OSError | None:
    """Return the error of the disk that caused a failure, ``None`` if the cause is the content of the file."""
    cause: BaseException | None = failure
    while cause is not None and not (isinstance(cause, OSError) and cause.errno not in OF_DAMAGE):
        cause = cause.__context__
    return cause


class FileSources:
    """Two files of activations, opened as a context manager."""

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
        """Return the layers in the files, with the shapes of their arrays.

        Raises
        ------
        InputError
            If the files hold different numbers of inputs.
        """
        ours, theirs = self._saved
        if ours.count != theirs.count:
            first, second = (escape(name, 100) for name in self._request.names)
            message = (
                f"{first} holds {ours.count} inputs and {second} {theirs.count}; extract both from the same inputs."
            )
            raise InputError(message)
        return _saved_layers(ours), _saved_layers(theirs)

    def compare(self, pairs: Sequence[LayerMatch], drifts: DifferencesSoFar) -> Iterator[Note | Progress | ActvizError]:
        """Compare both files in blocks, reading the next block meanwhile."""
        yield from _input_notes(*self._saved)
        drifts.inputs = self._saved[0].count
        with ThreadPoolExecutor(1) as reader:
            for pair in pairs:
                sides = list(zip(self._saved, (pair.ours.address, pair.theirs.address), strict=True))
                axes = self._saved[0].description.entries[pair.ours.address].axes
                rows = max(1, READ // max(1, *(saved.row_bytes(address) for saved, address in sides)))
                blocks = zip(*(saved.blocks(address, rows) for saved, address in sides), strict=True)
                start = 0
                waiting = reader.submit(next, blocks, None)
                while (both := waiting.result()) is not None:
                    waiting = reader.submit(next, blocks, None)
                    if _add(pair, (both[0], both[1]), axes, start, drifts):
                        break
                    start += len(both[0])

    def sample(self, number: int) -> Sample:
        """Return an input, without its values."""
        return self._saved[0].sample(number)

    def activations(self, pairs: Sequence[LayerMatch], number: int) -> list[tuple[Activation, Activation]]:
        """Return the activations of both layers of each pair for an input."""
        ours, theirs = self._saved
        return [
            (ours.activation(pair.ours.address, number), theirs.activation(pair.theirs.address, number))
            for pair in pairs
        ]


def _saved_layers(saved: SavedActivations) -> list[LayerInfo]:
    """Return the layers whose arrays are in a file, with the shapes and axes of the arrays."""
    about = saved.description
    return [
        replace(layer, shape=(FREE, *saved.shape(layer.address)[1:]), axes=about.entries[layer.address].axes)
        for layer in about.layers
        if layer.address in about.entries
    ]


def _input_notes(ours: SavedActivations, theirs: SavedActivations) -> Iterator[Note]:
    """Note inputs that differ between both files, by their digests."""
    pairs = list(zip(ours.description.samples, theirs.description.samples, strict=True))
    unequal = [number for number, (a, b) in enumerate(pairs) if a.digest and b.digest and a.digest != b.digest]
    if unequal:
        first, second = (escape(sample.name, 60) for sample in pairs[unequal[0]])
        yield Note(
            f"{len(unequal):,} of {len(pairs):,} inputs were not fed the same values, the first {unequal[0]} ({first} and {second}): the difference is also theirs."
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
    drifts.layers.pop(address, None)
    return True


class ModelSources:
    """Two models in a worker each, started as a context manager."""

    def __init__(self, request: DiffRequest) -> None:
        self._request = request
        self._stack = ExitStack()
        self._workers: list[Worker] = []
        self._facts: list[ModelFacts] = []
        self._names: dict[str, str] = {}
        self._kept: dict[int, Sample] = {}
        self._sizes = BatchSizes(())

    def __enter__(self) -> Self:
        """Start both workers."""
        from actviz.worker import Worker

        with ExitStack() as stack:
            openings = (self._request.ours, self._request.theirs)
            self._workers = [stack.enter_context(Worker(opening)) for opening in openings]
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop both workers, which check that the model is unchanged unless something else failed."""
        self._stack.__exit__(kind, failure, trace)

    def select(self, wanted: Sequence[str]) -> list[LayerInfo]:
        """Return the layers of the first model that addresses select."""
        return select_layers_of(self._facts[0], wanted, str(self._request.ours.model))

    def layers(self) -> tuple[Sequence[LayerInfo], Sequence[LayerInfo]]:
        """Return the layers of both models after checking that both take the same inputs.

        Raises
        ------
        InputError
            If they do not.
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
        ours, theirs = self._facts
        if not any(PRE in text for text in self._request.layers):
            return ours.layers, theirs.layers
        both = {layer.address for layer in ours.pre_activations} & {layer.address for layer in theirs.pre_activations}
        before = ([layer for layer in facts.pre_activations if layer.address in both] for facts in self._facts)
        return (*ours.layers, *next(before)), (*theirs.layers, *next(before))

    def compare(self, pairs: Sequence[LayerMatch], drifts: DifferencesSoFar) -> Iterator[Note | Progress | ActvizError]:
        """Feed both models the same batches, preprocessed for A."""
        from actviz.inputs import choose_preprocessing

        request, facts = self._request, self._facts
        for worker, opening in zip(self._workers, (request.ours, request.theirs), strict=True):
            yield from requests.prepare(worker, opening.model)
        for number, opening in enumerate((request.ours, request.theirs)):
            yield from (Note(line) for line in code_notes(facts[number], opening.trust))
        yield from requests.input_code_notes(request)
        for worker in self._workers:
            yield from requests.new_notes(worker)
        chosen = [
            choose_preprocessing(model, request.reading.function or request.reading.preprocess) for model in facts
        ]
        if replace(chosen[0], reason="") != replace(chosen[1], reason=""):
            ours, theirs = (escape(name, 100) for name in request.names)
            yield Note(
                f"{theirs} alone would be fed {chosen[1].description}; both are fed what {ours} takes: {chosen[0].description}."
            )
        layers = [pair.ours for pair in pairs]
        inputs = requests.feed(request, facts[0], layers)
        self._sizes = BatchSizes(layers, min(fixed_batch_size(model, BATCH_BYTES) for model in facts), filled=True)
        with BatchRunner(_PairComputation(self._workers, self._names, self._sizes, pairs)) as runner:
            for item in runner.run(requests.numbered(inputs), fail_fast=request.fail_fast):
                if isinstance(item, ComputedBatch):
                    self._add(pairs, item, drifts)
                else:
                    yield item
        drifts.skipped = inputs.skipped_record()

    def _add(
        self,
        pairs: Sequence[LayerMatch],
        batch: ComputedBatch[NumberedSample, ActivationPairs],
        drifts: DifferencesSoFar,
    ) -> None:
        """Add a batch, and keep only the inputs for which some layer differs most so far."""
        for pair, (ours, theirs) in zip(pairs, batch.result, strict=True):
            if pair.ours.address not in drifts.left_out:
                _add(pair, (ours.values, theirs.values), ours.axes, drifts.inputs, drifts)
        if self._request.output is not None:
            worst = {drift.worst for drift in drifts.layers.values()}
            known = self._kept | {number: piece.sample for number, piece in enumerate(batch.pieces, drifts.inputs)}
            self._kept = {number: sample for number, sample in known.items() if number in worst}
        drifts.inputs += len(batch.pieces)

    def sample(self, number: int) -> Sample:
        """Return an input that was kept."""
        return self._kept[number]

    def activations(self, pairs: Sequence[LayerMatch], number: int) -> list[tuple[Activation, Activation]]:
        """Compute the activations of some pairs again for an input that was kept."""
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
        """Start computing a batch with both models."""
        fed = stacked(batch, size)
        self._count, self._size = len(batch), max(size, len(batch))
        renamed = {self._names[name]: values for name, values in fed.items()}
        self._failures = [
            _outcome(worker.request_activations, values, addresses, state=state)
            for worker, values, addresses in zip(self.workers, (fed, renamed), self._addresses, strict=True)
        ]

    def take(self) -> ActivationPairs:
        """Wait for both models; return their activations without the copies that fill the batch up."""
        # Both results are received even if one failed, else the next batch would receive an old one.
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
    """Return the result of a call, or the error that it raised."""
    try:
        return call(*arguments, **options)
    except ActvizError as failure:
        return failure


def _same_inputs(facts: Sequence[ModelFacts], names: tuple[str, str]) -> dict[str, str]:
    """Return the name in B of each input of A: the same name if all names are equal, else by order.

    Raises
    ------
    InputError
        If numbers, shapes or dtypes differ.
    """
    ours, theirs = (model.inputs for model in facts)
    first, second = (escape(name, 100) for name in names)
    if len(ours) != len(theirs):
        message = f"{first} takes {len(ours)} inputs and {second} takes {len(theirs)}; models with the same inputs were expected."
        raise InputError(message)
    known = {spec.name: spec for spec in theirs}
    partners = [known[spec.name] for spec in ours] if known.keys() == {spec.name for spec in ours} else list(theirs)
    for own, partner in zip(ours, partners, strict=True):
        alike = not (own.shape and partner.shape) or differences.fit(own.shape, partner.shape)
        if not alike or (own.dtype == "string") != (partner.dtype == "string"):
            shown = [f"{sizes_text(spec.shape)} {escape(spec.dtype, 20)}" for spec in (own, partner)]
            message = f'the input "{escape(own.name, 60)}" is {shown[0]} in {first} and {shown[1]} in {second}; models with the same inputs were expected.'
            raise InputError(message)
    return {own.name: partner.name for own, partner in zip(ours, partners, strict=True)}
