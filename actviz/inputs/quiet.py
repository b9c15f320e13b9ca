"""One way to keep warnings of libraries away from the person, safe between threads."""

from __future__ import annotations

import contextlib
import threading
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ONE_AT_A_TIME = threading.RLock()


@contextlib.contextmanager
def without_warnings(*errors: type[Warning]) -> Iterator[None]:
    """Run a block whose warnings are dropped, those of the classes `errors` raised.

    Python's warning filters belong to the whole process, so one block runs at a time.
    """
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for error in errors:
            warnings.simplefilter("error", error)
        yield
