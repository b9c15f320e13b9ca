"""Python's warning filters, which belong to the whole process."""

from __future__ import annotations

import contextlib
import threading
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOCK = threading.RLock()


@contextlib.contextmanager
def without_warnings(*errors: type[Warning]) -> Iterator[None]:
    """Run a block in which warnings are ignored, except those of the classes `errors`, which are raised.

    Python's warning filters belong to the whole process, so only one block runs at a time.
    """
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for error in errors:
            warnings.simplefilter("error", error)
        yield
