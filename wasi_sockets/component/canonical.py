"""The canonical ABI for the host's side of a lowered function: everything there is, to import from one place.

A guest calls with flat core values; `parameter_lifter` turns them into Python values. The Python result goes
back through its `lowering`: as one core value (`flat`), or into memory (`plan` allocations, then `store`).
"""

from __future__ import annotations

from typing import Protocol

from wasi_sockets.component.allocation import Allocation
from wasi_sockets.component.layout import core_signature, flatten, has_pointers, layout
from wasi_sockets.component.lifting import (
    MAX_BYTE_LENGTH,
    ReadAccess,
    lifts_from_memory,
    memory_lifter,
    parameter_lifter,
)
from wasi_sockets.component.lowering import Lowering, WriteAccess, lowering

__all__ = [
    "MAX_BYTE_LENGTH",
    "Access",
    "Allocation",
    "Lowering",
    "ReadAccess",
    "WriteAccess",
    "core_signature",
    "flatten",
    "has_pointers",
    "layout",
    "lifts_from_memory",
    "lowering",
    "memory_lifter",
    "parameter_lifter",
]


class Access(ReadAccess, WriteAccess, Protocol):
    """A guest as lifting and lowering see it: `read`, `write`, `lift_handle`, `lower_handle`."""
