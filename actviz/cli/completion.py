"""What TAB completes: layers of the model on the command line, and files that a command takes.

The shell asks while a person types, so nothing is said, nothing fails, and no code of a model
is run: a model that does not open just completes nothing.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from collections.abc import Sequence

    import click

MODELS = (".keras", ".h5", ".hdf5", ".tflite", ".pb", ".json")
ARRAYS = (".npz", ".npy")
HISTORY = ".history.json"
PATIENCE = 5.0
MOST = 2000


def layers(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete addresses, after the last comma, from the model or the activations given before."""
    del param
    head, comma, _ = incomplete.rpartition(",")
    found: Sequence[tuple[str, str]] = ()
    with contextlib.suppress(Exception):
        place = _source(ctx)
        found = [] if place is None else _addresses(place)
    start = head + comma
    items = [(start + address, kind) for address, kind in found]
    return [CompletionItem(address, help=kind) for address, kind in items if address.startswith(incomplete)][:MOST]


def _source(ctx: click.Context) -> Path | None:
    """Return the model or the activations on a command line that may end in the middle of an option.

    click parses nothing then and leaves all words: the first that is a file with the right
    ending is taken, else the first that is there at all.
    """
    from actviz.system import file_system

    parsed = [value for name in ("model", "file", "ours") if (value := ctx.params.get(name)) is not None]
    words = [Path(word).expanduser() for word in (*parsed, *ctx.args) if not str(word).startswith("-")]
    there = [path for path in words if file_system.exists(path)]
    known = [path for path in there if path.suffix.lower() in (*MODELS, *ARRAYS)]
    return next(iter(known or there), None)


def _addresses(path: Path) -> list[tuple[str, str]]:
    """Return addresses and classes: of activations read here, of a model read by a worker."""
    if path.suffix.lower() in ARRAYS:
        from actviz import activations
        from actviz.system import file_system

        with file_system.reading(path) as (file, _):
            saved = activations.open_saved(file, str(path))
            return (
                [] if saved is None else [(entry.address, entry.kind) for entry in saved.description.entries.values()]
            )
    from actviz.worker import ModelOptions, Worker

    with Worker(ModelOptions(path, timeout=PATIENCE)) as worker:
        return [(layer.address, layer.kind) for layer in worker.facts().layers]


def models(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete model files, and folders on the way to them."""
    del ctx, param
    return _files(incomplete, MODELS)


def arrays(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete files of activations and arrays."""
    del ctx, param
    return _files(incomplete, ARRAYS)


def either(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete models and files of activations."""
    del ctx, param
    return _files(incomplete, (*MODELS, ".npz"))


def _files(incomplete: str, suffixes: tuple[str, ...]) -> list[CompletionItem]:
    """Return the files with some endings; where a folder fits too, or none of them, the shell completes any file.

    Shells show folders of their own only where they are not given names.
    """
    from actviz.system import file_system

    folder, _, start = incomplete.rpartition(os.sep)
    place = Path(folder or (os.sep if incomplete.startswith(os.sep) else "."))
    names: list[Path] = []
    with contextlib.suppress(Exception):
        names = [path for path in file_system.list_folder(place.expanduser()) if path.name.startswith(start)]
    lead = incomplete[: len(incomplete) - len(start)]
    found = [name for path in names if (name := path.name).lower().endswith(suffixes) and not name.endswith(HISTORY)]
    if not found or any(file_system.is_folder(path) for path in names):
        return [CompletionItem(incomplete, type="file")]
    return [CompletionItem(lead + name) for name in found]
