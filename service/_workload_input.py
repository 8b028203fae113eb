"""Where the commands have workload files from: files, or standard input."""

from __future__ import annotations

import errno
import os
import sys
from typing import Final

from service.files import Loaded, read_workloads

__all__ = ["STANDARD_INPUT", "name_of", "read_input"]

STANDARD_INPUT: Final = "-"
_MAX_BYTES: Final = (1 << 20) + 1
"""One more than a workload file may have, so that it is told to be too long."""


def name_of(path: str) -> str:
    """What a file is called in messages."""
    return "standard input" if path == STANDARD_INPUT else path


def read_input(path: str, *, unset_is_problem: bool = True) -> Loaded:
    """`service.files.read_workloads` for what a command was given; raises what that does."""
    if path != STANDARD_INPUT:
        return read_workloads(path, unset_is_problem=unset_is_problem)
    if sys.stdin is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    content = sys.stdin.buffer.read(_MAX_BYTES)
    return read_workloads(name_of(path), text=content, unset_is_problem=unset_is_problem)
