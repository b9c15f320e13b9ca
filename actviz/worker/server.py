"""The worker process: open a model and answer requests, with as few imports as possible."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from actviz.errors import ActvizError, LimitError, RunLimitError
from actviz.system import shortage
from actviz.system.channel import Channel, ClosedError
from actviz.system.file_system import opened_files, record_opened_files
from actviz.system.resource_limits import parse_time_limited, protect_child, set_parse_time_limit
from actviz.system.streams import discard_stderr
from actviz.worker.messages import BatchStatistics, ModelOptions, Reply, Request, WorkerFailure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from actviz.formats.network_protocol import Network
    from actviz.formats.per_sample import State
    from actviz.records import Activation

# Keras imports these while it is imported, if they are installed, for features that inference does not use.
# Blocking them saves 0.3 s, and 0.9 s if many of them are installed.
NOT_NEEDED = frozenset({
    "matplotlib", "scipy", "sklearn", "pandas", "PIL", "IPython", "torch", "jax", "flax", "pydot", "tensorboard", "grain",
})  # fmt: skip


class _ImportBlocker:
    """A finder that makes some optional packages appear to be missing until Keras has been imported.

    After that only what a layer asks for is imported: `STFTSpectrogram` needs scipy.
    """

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        del path, target
        if name in NOT_NEEDED and not hasattr(sys.modules.get("keras"), "__version__"):  # the last name it defines
            raise ModuleNotFoundError(name=name)
        return None


def main() -> None:
    """Answer the requests of the command until it closes the channel."""
    channel = _ReportingChannel(*map(int, sys.argv[1:]))
    code = 1
    try:
        options = channel.receive(ModelOptions)
        _prepare_process(options)
        _serve(channel, options)
    except (ClosedError, KeyboardInterrupt):
        code = 0
    finally:
        os._exit(code)


def _prepare_process(options: ModelOptions) -> None:
    if not options.verbose:
        # The output of native libraries goes to a pipe that the command reads after this process has
        # ended. Output of Python is discarded, as a full pipe would raise an error.
        discard_stderr()
    protect_child(options.memory)
    set_parse_time_limit(options.open_timeout)
    if not options.trust.custom_objects:
        sys.meta_path.insert(0, _ImportBlocker())
    record_opened_files()


class _ReportingChannel(Channel):
    """A channel whose replies include the files that were opened, so that the command detects changes."""

    def reply(self, reply: Reply) -> None:
        """Send a reply with the files opened since the last one."""
        self.send(replace(reply, files=opened_files()))


def _serve(channel: _ReportingChannel, options: ModelOptions) -> None:
    name = options.model.name
    network: Network | None = None
    queue = ResponseQueue(channel, name)
    computed = False
    while True:
        request = channel.receive(Request)
        if request.ask == "prepare":
            if network is not None:
                with contextlib.suppress(Exception):  # there is no reply; the next request fails in the same way
                    _prepare(network, verbose=options.verbose)
            continue
        try:
            if network is None:
                with parse_time_limited():
                    network = _open(options)
                    _ = network.facts  # may read more of the file
            if request.ask == "statistics":
                queue.answer_statistics(network, request)
                computed = True
                continue
            queue.flush()
            if request.plan is not None:
                from actviz.explanations.heat_maps import explain_batch

                alive = functools.partial(channel.reply, Reply(pending=True))
                maps = explain_batch(network, dict(request.batch), request.plan, alive)
                channel.reply(Reply(heat_maps=maps, notes=tuple(network.notes)))
            else:
                channel.reply(_answer(network, request))
            computed = computed or request.ask in {"activations", "explain"}
        except ClosedError:
            raise
        except Exception as failure:  # noqa: BLE001  (a bug, or a limit of the machine: the command reports it)
            queue.flush()
            channel.reply(_failed(name, failure, computed=computed))


def _failed(name: str, failure: Exception, *, computed: bool = True) -> Reply:
    """Return the reply for an exception: an error of the user, a limit of the machine, or a bug."""
    kind = shortage.shortage_of(failure)
    if isinstance(failure, MemoryError) and not shortage.ends_run(shortage.MEMORY, computed=computed):
        text = f"{name}: out of memory; choose fewer layers or smaller inputs, or raise --max-memory."
        failure = LimitError(text)
    elif kind is not None and not isinstance(failure, ActvizError):
        failure = RunLimitError(f"{name}: {shortage.describe(kind)}")
    if isinstance(failure, ActvizError):
        ends_run = isinstance(failure, RunLimitError)
        return Reply(WorkerFailure(failure.message, failure.exit_code, ends_run))
    from actviz.worker.client import traceback_of

    return Reply(WorkerFailure(traceback_of(failure)))


def _open(options: ModelOptions) -> Network:
    from actviz.formats import open_network

    network = open_network(options.model, options.weights, options.trust, options.choice)
    network.check_unchanged()
    return network


def _prepare(network: Network, *, verbose: bool) -> None:
    """Import the libraries that the network needs, without their messages."""
    import logging
    import warnings

    if not verbose:
        logging.disable(logging.CRITICAL)
        warnings.simplefilter("ignore")
    network.prepare()


def _answer(network: Network, request: Request) -> Reply:
    if request.ask == "versions":
        return Reply(versions=_versions())
    if request.ask == "activations":
        activations = network.activations(
            dict(request.batch), request.addresses, separate=request.separate, state=cast("State", request.state)
        )
        return Reply(activations=dict(activations), notes=tuple(network.notes))
    if request.ask == "kernels":
        return Reply(kernels=network.kernels(request.addresses[0]), notes=tuple(network.notes))
    facts = network.facts if request.ask == "facts" else network.complete(request.shapes)
    return Reply(facts=facts, notes=tuple(network.notes))


class ResponseQueue:
    """Computes the statistics of a batch while the network computes the next one; replies are in order."""

    def __init__(self, channel: _ReportingChannel, name: str) -> None:
        self._channel, self._name = channel, name
        self._sender = ThreadPoolExecutor(1)
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1)
        self._last: Future[None] | None = None

    def flush(self) -> None:
        """Wait until every reply is sent."""
        if self._last is not None:
            self._last.result()
            self._last = None

    def answer_statistics(self, network: Network, request: Request) -> None:
        """Compute a batch; its statistics are computed and sent in the background."""
        expect_many = getattr(network, "expect_many", None)
        if expect_many is not None:
            expect_many()
        activations = network.activations(dict(request.batch), request.addresses, state=cast("State", request.state))
        self.flush()
        self._last = self._sender.submit(self._send, activations, request, tuple(network.notes))

    def _send(self, activations: dict[str, Activation], request: Request, notes: tuple[str, ...]) -> None:
        try:
            self._channel.reply(Reply(statistics=self._statistics(activations, request), notes=notes))
        except ClosedError:
            raise
        except Exception as failure:  # noqa: BLE001  (a bug, or a limit of the machine: the command reports it)
            self._channel.reply(_failed(self._name, failure))

    def _statistics(self, activations: dict[str, Activation], request: Request) -> BatchStatistics:
        from actviz.statistics.running_statistics import StatisticsReducer
        from actviz.statistics.strongest_inputs import StrongestReducer

        size = len(next(iter(request.batch.values())))
        if size > 1 and any(not item.values.ndim or len(item.values) != size for item in activations.values()):
            return BatchStatistics({}, {}, mixed=True)
        left_out = {
            address: str(activation.values.dtype)
            for address, activation in activations.items()
            if activation.values.dtype.kind in "OSUTc"
        }
        described: dict[str, Activation] = {}
        reducer: StatisticsReducer | StrongestReducer = StatisticsReducer(request.cuts)
        if request.strongest is not None:
            identities = dict(zip(request.samples, request.identities, strict=True))
            reducer = StrongestReducer(request.strongest, identities)
            described = {address: replace(item, values=item.values[:0].copy()) for address, item in activations.items()}
        # The largest first, so that the threads finish at about the same time.
        addresses = sorted(activations.keys() - left_out.keys(), key=lambda address: -activations[address].values.size)

        def update(address: str) -> None:
            # Taken out, so that its memory is free while the network computes the next batch.
            reducer.update(address, [activations.pop(address)], request.samples)

        list(self._pool.map(update, addresses))
        return BatchStatistics(reducer.state(canonical=False), left_out, described=described)


def _versions() -> dict[str, str]:
    modules = {name: sys.modules.get(name) for name in ("keras", "tensorflow", "ai_edge_litert", "h5py", "numpy")}
    return {name: str(getattr(module, "__version__", "")) for name, module in modules.items() if module is not None}
