"""What the machine ran out of when something failed: memory, threads or open files.

Failures that come from a limit of the machine look like damaged files or like bugs: an import
that fails, a library that aborts, an exception of any class. Here they are recognised, and put
into one line that names the limit.
"""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING

from actviz.errors import LimitError

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY, THREADS, FILES = "memory", "threads", "files"

_BY_NUMBER = {errno.ENOMEM: MEMORY, errno.EMFILE: FILES, errno.ENFILE: FILES}
# What Python, the dynamic loader, glibc, the C++ runtime, OpenBLAS and TensorFlow print, in lower case.
_BY_TEXT = (
    (THREADS, ("can't start new thread", "thread creation", "pthread_create", "blas_thread_init")),
    (FILES, ("too many open files",)),
    (
        MEMORY,
        (
            "failed to map segment", "cannot map zero-fill pages", "cannot allocate memory", "bad_alloc",
            "unable to allocate", "memory allocation", "out of memory", "memoryerror", "cannot create shared object descriptor",
            "std::length_error",
        ),
    ),
)  # fmt: skip
_STATIC_TLS = "in static tls block"  # glibc says "cannot allocate memory" where it has no slot, whatever memory is free
_MEBIBYTE = 1 << 20
SMALLEST = 224 * _MEBIBYTE


def shortage_of(failure: BaseException) -> str | None:
    """Return what an exception, or one that led to it, says has run out; ``None`` for any other exception."""
    for one in _chain(failure):
        if isinstance(one, MemoryError):
            return MEMORY
        if isinstance(one, OSError) and one.errno in _BY_NUMBER:
            return _BY_NUMBER[one.errno]
        if isinstance(one, RuntimeError | ImportError | SystemError | OSError):
            found = shortage_in(str(one))
            if found is not None:
                return found
    return None


def _chain(failure: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    following: BaseException | None = failure
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__


def shortage_in(text: str) -> str | None:
    """Return what a text that a library printed says has run out, ``None`` where it names nothing of the kind."""
    lowered = text.lower().replace(f"cannot allocate memory {_STATIC_TLS}", "")
    return next((kind for kind, words in _BY_TEXT if any(word in lowered for word in words)), None)


def ends_run(kind: str, *, computed: bool) -> bool:
    """Return True if every input would meet a shortage alike; `computed`: something was computed before.

    Memory may be short for one large input only, unless address space is limited and the
    libraries were still being loaded.
    """
    return kind != MEMORY or (not computed and bool(address_space()))


def describe(kind: str) -> str:
    """Return what has run out, under which limit, and what to do about it, as the rest of a sentence.

    >>> describe(FILES).partition(" (")[0]
    'too many files are open'
    """
    if kind == MEMORY and not address_space():
        return "memory ran out; free some, or choose fewer layers, smaller inputs or a smaller --batch-size, and run again."
    what, limit, others = {
        MEMORY: ("memory ran out", address_space(), ""),
        THREADS: ("no more threads or processes can be started", _processes_and_stacks(), "end other programs"),
        FILES: ("too many files are open", _open_files(), "end other programs"),
    }[kind]
    shown, remedy = (f" ({limit})", "raise that limit") if limit else ("", others)
    return f"{what}{shown}: this is a limit of the machine, not a fault of the file; {remedy} and run again."


def check_address_space() -> None:
    """Refuse to begin with less address space than the smallest command needs.

    NumPy's OpenBLAS ends the whole process, with a line of its own and exit code 1, where it has
    no room for its buffers; so they are taken here, where there is room whatever is imported
    later. glibc does the same where a thread has no room for its data (exit code 127, seen at
    166 MiB). `history`, which needs most without a model, draws from 205 MiB on.

    Raises
    ------
    LimitError
        When address space is limited to less.
    """
    size = _limit("RLIMIT_AS")
    if size is None:
        return
    if size < SMALLEST:
        message = f"{describe(MEMORY).rstrip('.')}; at least {SMALLEST // _MEBIBYTE} MiB are needed."
        raise LimitError(message)
    import numpy as np

    square = np.eye(64)
    np.linalg.inv(square @ square)


def address_space() -> str:
    """Return the limit of address space in words, empty where there is none."""
    size = _limit("RLIMIT_AS")
    return "" if size is None else f"address space is limited to {size // _MEBIBYTE:,} MiB, ulimit -v"


def _processes_and_stacks() -> str:
    """Return the limits that keep threads from starting: each needs a stack."""
    count = _limit("RLIMIT_NPROC")
    limits = ["" if count is None else f"this user may have {count:,}, ulimit -u", address_space()]
    return "; ".join(limit for limit in limits if limit)


def _open_files() -> str:
    count = _limit("RLIMIT_NOFILE")
    return "" if count is None else f"a process may have {count:,}, ulimit -n"


def _limit(name: str) -> int | None:
    """Return a limit of this process, ``None`` where it is not limited or the system has no such limit."""
    with contextlib.suppress(
        OSError, ValueError, AttributeError, ImportError
    ):  # the module itself may not fit any more
        import resource

        size = resource.getrlimit(getattr(resource, name))[0]
        return None if size in (resource.RLIM_INFINITY, -1) else size
    return None
