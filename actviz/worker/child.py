"""The child's side: open one model, answer questions about it, import as little as possible."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actviz.errors import ActvizError, LimitError, escape
from actviz.worker.channel import MASK, Channel, ClosedError, Message

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from actviz.formats.protocol import Network

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


class _Blocker:
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
    _protect()
    if not opening["custom_objects"]:
        sys.meta_path.insert(0, _Blocker())
    channel = Channel(int(reader), int(writer))
    try:
        _serve(channel, opening)
    except (ClosedError, KeyboardInterrupt):
        pass
    finally:
        os._exit(0)


def _protect() -> None:
    """No core dumps, no Ctrl-C from the terminal, and no life without the command."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _serve(channel: Channel, opening: dict[str, Any]) -> None:
    model = Path(opening["model"])
    network: Network | None = None
    while True:
        message, arrays = channel.receive()
        try:
            if network is None:
                network = _open(model, opening)
            if message["ask"] == "prepare":
                _import_libraries(verbose=opening["verbose"])
            else:
                _answer(channel, network, message, arrays)
        except ActvizError as failure:
            channel.send({"error": failure.message, "code": failure.exit_code})
        except MemoryError:
            text = f"{model.name}: out of memory; choose fewer layers or smaller inputs."
            channel.send({"error": text, "code": LimitError.exit_code})
        except ClosedError:
            raise
        except Exception as failure:  # noqa: BLE001  (a bug: the command reports it)
            from actviz.worker.supervisor import traceback_of

            channel.send({"bug": traceback_of(failure)})


def _open(model: Path, opening: dict[str, Any]) -> Network:
    from actviz.formats import open_network
    from actviz.gate import Trust

    weights = opening["weights"]
    trust = Trust(tuple(opening["custom_objects"]), allow_code=opening["allow_code"])
    return open_network(model, None if weights is None else Path(weights), trust)


def _import_libraries(*, verbose: bool) -> None:
    """Import Keras and its TensorFlow backend quietly."""
    import logging
    import warnings

    if not verbose:
        logging.disable(logging.CRITICAL)
        warnings.simplefilter("ignore")
    import keras

    keras.config.disable_traceback_filtering()


def _answer(channel: Channel, network: Network, message: Message, arrays: dict[str, Any]) -> None:
    ask = message["ask"]
    if ask == "facts":
        channel.send(dataclasses.asdict(network.facts))
    elif ask == "complete":
        channel.send(dataclasses.asdict(network.complete(message["shapes"])))
    elif ask == "versions":
        channel.send({"versions": _versions()})
    elif ask == "activations":
        found = network.activations(arrays, message["addresses"])
        said = {
            address: {
                "address": address,
                "kind": item.kind,
                "axes": list(item.axes),
                "signed": item.signed,
                "weights_digest": item.weights_digest,
                "geometry": dataclasses.asdict(item.geometry) if item.geometry else None,
            }
            for address, item in found.items()
        }
        arrays = {address: item.values for address, item in found.items()}
        masks = {MASK + address: item.mask for address, item in found.items() if item.mask is not None}
        channel.send({"activations": said}, arrays | masks)
    elif ask == "numbers":
        _answer_numbers(channel, network, message, arrays)
    else:
        text = f"unknown question {escape(str(ask))}"
        raise ValueError(text)


def _answer_numbers(channel: Channel, network: Network, message: Message, arrays: dict[str, Any]) -> None:
    """Send the numbers of each channel instead of the maps, a thread a core."""
    from concurrent.futures import ThreadPoolExecutor

    from actviz.totals import first_nonfinite, totals_of

    found = network.activations(arrays, message["addresses"])
    cuts = {address: (low, high) for address, (low, high) in message["cuts"].items()}
    left_out = {address: str(item.values.dtype) for address, item in found.items() if item.values.dtype.kind in "OSUTc"}
    taken = [address for address in found if address not in left_out]
    # The largest first, so that no thread is left alone with one at the end.
    taken.sort(key=lambda address: -found[address].values.size)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        totals = dict(
            zip(taken, pool.map(lambda address: totals_of(found[address], cuts.get(address)), taken), strict=True)
        )
    bad = {
        address: first_nonfinite(found[address].values)
        for address, one in totals.items()
        if one.nan.any() or one.infinite.any()
    }
    size = sum(item.values.nbytes for item in found.values())
    answer = {"left_out": left_out, "nonfinite": bad, "bytes": size}
    channel.send({"numbers": answer}, {address: one.packed() for address, one in totals.items()})


def _versions() -> dict[str, str]:
    modules = {name: sys.modules.get(name) for name in ("keras", "tensorflow", "h5py", "numpy")}
    return {name: str(getattr(module, "__version__", "")) for name, module in modules.items() if module is not None}
