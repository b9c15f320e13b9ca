"""What is wrong with a file in a way that nobody foresaw is said of the file, in one line."""

from __future__ import annotations

import contextlib
import struct
from typing import TYPE_CHECKING

from actviz.errors import ModelError, escape
from actviz.gate.protobuf import MalformedProtobuf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What values of the wrong kind, and h5py over damaged bytes, raise far from where they were read.
MALFORMED = (
    ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, SystemError, TypeError, ValueError, struct.error,
)  # fmt: skip


@contextlib.contextmanager
def as_model_error(file: str, check_unchanged: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Turn what malformed content raises into an error about the file.

    `check_unchanged` is called first where reading fails: of a file that changed meanwhile it
    raises an error that says so, since nothing is known then of whether the file was malformed.

    Raises
    ------
    ModelError
        For any of `MALFORMED`; the failure itself stays its cause.
    """
    try:
        try:
            yield
        except (ModelError, *MALFORMED):
            check_unchanged()
            raise
    except MalformedProtobuf as failure:
        message = f"{file}: the file is truncated or damaged inside; copy or save the model again."
        raise ModelError(message) from failure
    except MALFORMED as failure:
        kind = type(failure).__name__
        what = " ".join(str(failure).split())
        said = f"{kind}: {escape(what, 160)}" if what else kind
        message = f"{file}: the file is damaged or malformed ({said}); save the model again with model.save(...)."
        raise ModelError(message) from failure
