"""Timers of the kernel, which Python's `os` has from 3.13 only."""

from __future__ import annotations

import ctypes
import struct
import sys
from collections.abc import Callable
from typing import Final

__all__ = ["CLOCK_MONOTONIC", "set_timer", "timerfd_create", "timerfd_settime"]

CLOCK_MONOTONIC: Final = 1
"""The clock of `time.monotonic_ns()`."""

_ABSOLUTE: Final = 1
_NANOSECONDS: Final = 1_000_000_000
_SETTING: Final = struct.Struct("4l")
"""`struct itimerspec`: the interval, then the first time."""


def _functions() -> tuple[Callable[..., int], Callable[..., int]] | tuple[None, None]:
    if not sys.platform.startswith("linux"):
        return None, None
    library = ctypes.PyDLL(None)  # neither waits, and letting go of the interpreter lock takes longer
    create, settime = library.timerfd_create, library.timerfd_settime
    create.argtypes = [ctypes.c_int, ctypes.c_int]
    settime.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p]
    return create, settime


timerfd_create, timerfd_settime = _functions()
"""The C functions; None where there are none."""


def set_timer(descriptor: int, deadline: int) -> None:
    """Let a timer go off once, at `deadline` nanoseconds of its clock, instead of when it was to."""
    if timerfd_settime is not None:
        # A setting of zero would disarm it.
        setting = _SETTING.pack(0, 0, *divmod(max(deadline, 1), _NANOSECONDS))
        timerfd_settime(descriptor, _ABSOLUTE, setting, None)
