"""How much memory this process holds, on Linux."""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path
from typing import Final

__all__ = ["resident_bytes"]

_C: Final = ctypes.CDLL(None)
_M_MMAP_THRESHOLD: Final = -3
_LARGE: Final = 128 << 10

# Else glibc learns to keep freed blocks of up to 32 MiB, and what threads have of them no trimming gives back:
# whichever thread loads a component then counts as holding it.
if (_mallopt := getattr(_C, "mallopt", None)) is not None:
    _mallopt(_M_MMAP_THRESHOLD, _LARGE)


def resident_bytes() -> int:
    """Bytes that are resident now, without what only awaits collection, or is kept for the next allocation only."""
    gc.collect()
    trim = getattr(_C, "malloc_trim", None)  # glibc's; other allocators keep less
    if trim is not None:
        trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
