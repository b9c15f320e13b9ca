"""Detect that memory, threads or open files ran out, and name the limit.

Such failures look like damaged files or like bugs: a failed import, a library that aborts, an
exception of any class.
"""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING

from actviz.errors import LimitError, RunLimitError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actviz.errors import ActvizError

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
_STATIC_TLS = "in static tls block"  # glibc reports "cannot allocate memory" when it has no free slot, however much memory is free
_MEBIBYTE = 1 << 20
SMALLEST = 224 * _MEBIBYTE


def shortage_of(failure: BaseException) -> str | None:
    """Return what ran out according to an exception or its causes, or ``None``."""
    for error in _chain(failure):
        if isinstance(error, MemoryError):
            return MEMORY
        if isinstance(error, OSError) and error.errno in _BY_NUMBER:
            return _BY_NUMBER[error.errno]
        if isinstance(error, RuntimeError | ImportError | SystemError | OSError):
            kind = shortage_in(str(error))
            if kind is not None:
                return kind
    return None


def _chain(failure: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    following: BaseException | None = failure
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__


def shortage_in(text: str) -> str | None:
    """Return what ran out according to the output of a library, or ``None``."""
    lowered = text.lower().replace(f"cannot allocate memory {_STATIC_TLS}", "")
    return next((kind for kind, words in _BY_TEXT if any(word in lowered for word in words)), None)


def ends_run(kind: str, *, computed: bool) -> bool:
    """Return True if a shortage affects every input, not only a large one.

    `computed` is true if a result was computed before. Memory may run out for one large input only,
    unless address space is limited and the libraries were still being loaded.
    """
    return kind != MEMORY or (not computed and bool(address_space()))


def refuse_shortage(failure: Exception) -> None:
    """Raise an error if a call failed because the machine ran out of something.

    Raises
    ------
    RunLimitError
        When it did: the file or folder of the call is not the cause.
    """
    kind = shortage_of(failure)
    if kind is not None:
        raise RunLimitError(describe(kind)) from None


@contextlib.contextmanager
def os_errors_as(error: type[ActvizError], subject: str, advice: str) -> Iterator[None]:
    """Run a block of system calls and convert their errors: ``SUBJECT (No space left on device); ADVICE``.

    Raises
    ------
    RunLimitError
        When the machine ran out of something; see `refuse_shortage`.
    ActvizError
        Of class `error`, for any other `OSError`.
    """
    try:
        yield
    except OSError as failure:
        refuse_shortage(failure)
        raise error(f"{subject} ({failure.strerror}); {advice}") from None


def describe(kind: str) -> str:
    """Return a message that names what ran out, the limit, and what to do, to follow ``NAME: ``.

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
    """Refuse to start with less address space than the smallest command needs.

    If it cannot allocate its buffers, NumPy's OpenBLAS ends the process with a message of its own
    and exit code 1; so they are allocated here, before other imports use the space. glibc does the
    same if a thread cannot allocate its data (exit code 127, seen at 166 MiB). `history`, which
    needs most without a model, works from 205 MiB.

    Raises
    ------
    LimitError
        When address space is limited to less.
    """
    size = _limit("RLIMIT_AS")
    if size is None:
        return
    if size < SMALLEST:
        raise LimitError(f"{describe(MEMORY).rstrip('.')}; at least {SMALLEST // _MEBIBYTE} MiB are needed.")
    import numpy as np

    square = np.eye(64)
    np.linalg.inv(square @ square)


def address_space() -> str:
    """Return a description of the limit on address space, empty if there is none."""
    size = _limit("RLIMIT_AS")
    return "" if size is None else f"address space is limited to {size // _MEBIBYTE:,} MiB, ulimit -v"


def _processes_and_stacks() -> str:
    """Return a description of the limits on processes and on address space, which the stacks of threads need."""
    count = _limit("RLIMIT_NPROC")
    limits = ["" if count is None else f"this user may have {count:,}, ulimit -u", address_space()]
    return "; ".join(limit for limit in limits if limit)


def _open_files() -> str:
    count = _limit("RLIMIT_NOFILE")
    return "" if count is None else f"a process may have {count:,}, ulimit -n"


def _limit(name: str) -> int | None:
    """Return a resource limit of this process, or ``None`` if it is unlimited or unknown to the system."""
    with contextlib.suppress(
        OSError, ValueError, AttributeError, ImportError
    ):  # the module itself may not fit any more
        import resource

        size = resource.getrlimit(getattr(resource, name))[0]
        return None if size in (resource.RLIM_INFINITY, -1) else size
    return None
