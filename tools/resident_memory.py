"""How much memory this process holds, on Linux."""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path

__all__ = ["resident_bytes"]


def resident_bytes() -> int:
    """Bytes that are resident now, without what only awaits collection, or is kept for the next allocation only."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; other allocators keep less
    if trim is not None:
        trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
