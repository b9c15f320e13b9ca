"""Divide a list of inputs into numbered parts, which are computed whole or not at all."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from actviz.errors import ActvizError
from actviz.gate import file_type, npy
from actviz.inputs.input_files import InputPart, Shard, may_hold
from actviz.system import file_system

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from actviz.inputs.input_files import InputFile

PART_INPUTS = 1024


def parts(
    files: Iterable[InputFile],
    shard: Shard | None = None,
    count: Callable[[Path], int | None] | None = None,
    size: int = PART_INPUTS,
) -> Iterator[InputPart]:
    """Yield the parts of a list of files, each with `size` inputs of a shard; only the last may have fewer.

    A file is cut where `count`, by default `samples_in_header`, knows the number of its samples; another one counts as
    one input. Parts cover every sample once, whatever `count` returns.
    """
    shard, count = shard or Shard(), count or samples_in_header
    held: list[tuple[int, InputFile]] = []
    number, first, room, position = 1, 0, size, -1
    for position, file in enumerate(files):
        if not may_hold(shard, position, file.path):
            continue
        start = (shard.number - 1 - position) % shard.count
        samples = count(file.path)
        own, taken = 1 if samples is None else len(range(start, samples, shard.count)), 0
        while own - taken > room:
            taken += room
            end = start + taken * shard.count
            yield InputPart(number, (*held, (position, file)), first, end, size, alone=False)
            held, number, first, room = [], number + 1, end, size
        if own > taken:
            held.append((position, file))
            room -= own - taken
        if not room:
            yield InputPart(number, tuple(held), first, None, size, alone=False)
            held, number, first, room = [], number + 1, 0, size
    if held:
        yield InputPart(number, tuple(held), first, None, size - room, alone=number == 1 and position == 0)


def samples_in_header(path: Path) -> int | None:
    """Return the length of the first axis of a `.npy` file, ``None`` for other files and if it cannot be read."""
    if path.suffix.lower() != ".npy":
        return None
    try:
        with file_system.reading(path) as (file, size):
            header = npy.read_header(file.read(file_type.HEAD_BYTES), size, str(path), limit=max(size, npy.MAX_BYTES))
    except ActvizError:
        return None
    return header.shape[0] if len(header.shape) > 1 else None


def hash_list(names: Iterable[str]) -> str:
    """Return the SHA-256 of the names of inputs, in their order."""
    total, mark = hashlib.sha256(), b""
    for name in names:
        total.update(mark + name.encode("utf-8", "surrogatepass"))
        mark = b"\0"
    return total.hexdigest()
