"""What is known of the processor: kernels choose their instructions by it, and last digits depend on them."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")


def processor_kind() -> str:
    """Return the architecture and, on Linux, a short hash of the instruction sets of the first processor."""
    try:
        lines = CPU_INFO.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        lines = []
    flags = next((line.partition(":")[2] for line in lines if line.startswith(("flags", "Features"))), "")
    digest = hashlib.sha256(" ".join(sorted(flags.split())).encode()).hexdigest()[:12] if flags else ""
    return f"{platform.machine()} {digest}".strip()
