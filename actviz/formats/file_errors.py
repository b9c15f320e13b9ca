"""Convert the exceptions that malformed files cause in parsers into a one-line ModelError."""

from __future__ import annotations

import contextlib
import struct
from typing import TYPE_CHECKING

from actviz.errors import ModelError, escape
from actviz.gate.protobuf import MalformedProtobuf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Exceptions caused by values of the wrong type, and raised by h5py for damaged files.
MALFORMED = (
    ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, SystemError, TypeError, ValueError, struct.error,
)  # fmt: skip


@contextlib.contextmanager
def as_model_error(file: str, check_unchanged: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Raise ModelError for the exceptions that malformed content causes.

    `check_unchanged` is called first: it raises ModelChangedError if the file was modified while
    it was read, because then the file may not be malformed.

    Raises
    ------
    ModelError
        For any of `MALFORMED`, with the exception as its cause.
    """
    try:
        try:
            yield
        except (ModelError, *MALFORMED):
            check_unchanged()
            raise
    except MalformedProtobuf as failure:
        raise ModelError(f"{file}: the file is truncated or damaged inside; copy or save the model again.") from failure
    except MALFORMED as failure:
        kind = type(failure).__name__
        text = " ".join(str(failure).split())
        details = f"{kind}: {escape(text, 160)}" if text else kind
        message = f"{file}: the file is damaged or malformed ({details}); save the model again with model.save(...)."
        raise ModelError(message) from failure
