"""Close file descriptors, also where something failed."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def closing_on_failure(descriptor: int) -> Iterator[None]:
    """Run a block that wraps a descriptor in a file object, and close the descriptor if the block fails."""
    try:
        yield
    except BaseException:
        close(descriptor)
        raise


def close(descriptor: int) -> None:
    """Close a descriptor and ignore errors: for one that was not written to, or whose result is lost already."""
    with contextlib.suppress(OSError):
        os.close(descriptor)
