"""The child's side: open one model, answer questions about it, import as little as possible."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actviz.errors import ActvizError, LimitError, RunLimitError, escape
from actviz.system import shortage
from actviz.system.file_system import (
    be_first_to_go,
    drop_errors,
    limit_memory,
    limit_parsing,
    opened_files,
    parsing,
    record_opened_files,
)
from actviz.worker.channel import Channel, ClosedError, Message
from actviz.worker.serialization import described

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from actviz.formats.network_protocol import Network
    from actviz.records import Activation

# Keras imports these if they are there, for features that inference does not use; it works
# without them. Blocking them saves 0.3 s, and 0.9 s beside a data-science stack.
NOT_NEEDED = frozenset(
    {
        "matplotlib",
        "scipy",
        "sklearn",
        "pandas",
        "PIL",
        "IPython",
        "torch",
        "jax",
        "flax",
        "pydot",
        "tensorboard",
        "grain",
    }
)


class _ImportBlocker:
    """A finder that says of some optional packages that they are not installed."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        del path, target
        if name in NOT_NEEDED:
            raise ModuleNotFoundError(name=name)
        return None


def main() -> None:
    """Answer the command until it closes the channel."""
    reader, writer, text = sys.argv[1:]
    opening = json.loads(text)
    if not opening["verbose"]:
        # Native libraries write to the pipe that the command reads when this process has died; Python,
        # for which a full pipe is an error, writes nowhere.
        drop_errors()
    _protect(opening["memory"])
    limit_parsing(opening["open_timeout"])
    if not opening["custom_objects"]:
        sys.meta_path.insert(0, _ImportBlocker())
    record_opened_files()
    channel = _ReportingChannel(int(reader), int(writer))
    code = 1
    try:
        _serve(channel, opening)
    except (ClosedError, KeyboardInterrupt):
        code = 0
    finally:
        os._exit(code)


class _ReportingChannel(Channel):
    """A channel whose messages also say which files were opened, so that the command notices when one changes."""

    def send(self, message: Message, *arguments: Any, **options: Any) -> None:
        """Send a message with the files that were opened since the last one; see `Channel.send`."""
        files = {path: dataclasses.astuple(found) for path, found in opened_files().items()}
        super().send(message | {"files": files}, *arguments, **options)


def _protect(memory: int) -> None:
    """No core dumps, at most `memory` bytes of data, no Ctrl-C from the terminal."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit_memory(memory)
    be_first_to_go()
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _serve(channel: Channel, opening: dict[str, Any]) -> None:
    model = Path(opening["model"])
    network: Network | None = None
    backlog = ResponseQueue(channel, model.name)
    computed = False
    while True:
        message, arrays = channel.receive()
        if message["ask"] == "prepare":
            if network is not None:
                with contextlib.suppress(Exception):  # nobody waits for an answer; the next question fails likewise
                    _prepare(network, verbose=opening["verbose"])
            continue
        try:
            if network is None:
                with parsing():
                    network = _open(model, opening)
                    _ = network.facts  # may read more of the file
            if message["ask"] == "numbers":
                backlog.answer_numbers(network, message, arrays)
                computed = True
                continue
            backlog.flush()
            _answer(channel, network, message, arrays)
            computed = computed or message["ask"] == "activations"
        except ActvizError as failure:
            backlog.flush()
            channel.send(_error(failure))
        except MemoryError:
            backlog.flush()
            channel.send(_out_of_memory(model.name, computed=computed))
        except ClosedError:
            raise
        except Exception as failure:  # noqa: BLE001  (a bug, or a limit of the machine: the command reports it)
            backlog.flush()
            channel.send(_unexpected(model.name, failure))


def _error(failure: ActvizError) -> Message:
    return {"error": failure.message, "code": failure.exit_code, "ends_run": isinstance(failure, RunLimitError)}


def _unexpected(name: str, failure: Exception) -> Message:
    """Return what is said of an exception that is no `ActvizError`: a limit of the machine, else a bug."""
    from actviz.worker.client import traceback_of

    kind = shortage.shortage_of(failure)
    if kind is None:
        return {"bug": traceback_of(failure)}
    return _error(RunLimitError(f"{name}: {shortage.describe(kind)}"))


def _out_of_memory(name: str, *, computed: bool = True) -> Message:
    if shortage.ends_run(shortage.MEMORY, computed=computed):
        return _error(RunLimitError(f"{name}: {shortage.describe(shortage.MEMORY)}"))
    text = f"{name}: out of memory; choose fewer layers or smaller inputs, or raise --max-memory."
    return {"error": text, "code": LimitError.exit_code}


def _open(model: Path, opening: dict[str, Any]) -> Network:
    from actviz.formats import open_network
    from actviz.gate import TrustPolicy
    from actviz.records import GraphSelection

    weights = opening["weights"]
    trust = TrustPolicy(tuple(opening["custom_objects"]), allow_code=opening["allow_code"])
    told = opening["choice"]
    choice = GraphSelection(told["signature"], tuple(told["tags"]), tuple(told["inputs"]))
    network = open_network(model, None if weights is None else Path(weights), trust, choice)
    network.check_unchanged()
    return network


def _prepare(network: Network, *, verbose: bool) -> None:
    """Import what the network computes with, quietly."""
    import logging
    import warnings

    if not verbose:
        logging.disable(logging.CRITICAL)
        warnings.simplefilter("ignore")
    network.prepare()


def _answer(channel: Channel, network: Network, message: Message, arrays: dict[str, Any]) -> None:
    ask = message["ask"]
    if ask == "facts":
        facts = network.facts
        channel.send(dataclasses.asdict(facts) | {"notes": network.notes})
    elif ask == "complete":
        facts = network.complete(message["shapes"])
        channel.send(dataclasses.asdict(facts) | {"notes": network.notes})
    elif ask == "versions":
        channel.send({"versions": _versions()})
    elif ask == "activations":
        how = {"separate": message["separate"], "state": message["state"]}
        found = network.activations(arrays, message["addresses"], **how)
        said, values = described(found)
        channel.send({"activations": said, "notes": network.notes}, values)
    else:
        text = f"unknown question {escape(str(ask))}"
        raise ValueError(text)


class ResponseQueue:
    """Takes numbers of one batch while the network computes the next, and answers in order."""

    def __init__(self, channel: Channel, name: str) -> None:
        self._channel, self._name = channel, name
        self._sender = ThreadPoolExecutor(1)
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1)
        self._last: Future[None] | None = None

    def flush(self) -> None:
        """Wait until everything is answered."""
        if self._last is not None:
            self._last.result()
            self._last = None

    def answer_numbers(self, network: Network, message: Message, arrays: dict[str, Any]) -> None:
        """Compute a batch; its numbers are taken and sent while the caller goes on."""
        expect_many = getattr(network, "expect_many", None)
        if expect_many is not None:
            expect_many()
        found = network.activations(arrays, message["addresses"], state=message["state"])
        self.flush()
        self._last = self._sender.submit(self._send, found, message["cuts"], network.notes)

    def _send(self, found: dict[str, Activation], cuts: dict[str, tuple[float, float]], notes: Sequence[str]) -> None:
        try:
            self._send_numbers(found, cuts, notes)
        except ClosedError:
            raise
        except MemoryError:
            self._channel.send(_out_of_memory(self._name))
        except Exception as failure:  # noqa: BLE001  (a bug, or a limit of the machine: the command reports it)
            self._channel.send(_unexpected(self._name, failure))

    def _send_numbers(
        self, found: dict[str, Activation], cuts: dict[str, tuple[float, float]], notes: Sequence[str]
    ) -> None:
        from actviz.statistics.running_statistics import first_nonfinite, totals_of

        left_out = {
            address: str(item.values.dtype) for address, item in found.items() if item.values.dtype.kind in "OSUTc"
        }
        # The largest first, so that no thread is left alone with one at the end.
        taken = sorted(found.keys() - left_out.keys(), key=lambda address: -found[address].values.size)
        every = self._pool.map(lambda address: totals_of(found[address], cuts.get(address)), taken)
        totals = dict(zip(taken, every, strict=True))
        bad = {
            address: first_nonfinite(found[address].values)
            for address, one in totals.items()
            if one.nan.any() or one.infinite.any()
        }
        size = sum(item.values.nbytes for item in found.values())
        answer = {"left_out": left_out, "nonfinite": bad, "bytes": size}
        self._channel.send(
            {"numbers": answer, "notes": notes}, {address: one.packed() for address, one in totals.items()}
        )


def _versions() -> dict[str, str]:
    modules = {name: sys.modules.get(name) for name in ("keras", "tensorflow", "ai_edge_litert", "h5py", "numpy")}
    return {name: str(getattr(module, "__version__", "")) for name, module in modules.items() if module is not None}
