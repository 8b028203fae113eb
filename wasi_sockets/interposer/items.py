"""The table of items that were replaced: what the interposer tells the engine about each trampoline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wasi_sockets.component.types import FunctionType

__all__ = ["POLLABLE_LIMIT", "TRAPS", "Item"]

TRAPS: tuple[str, ...] = (
    "unknown reason",
    "resource has children",
    "empty poll list",
    "unpermitted: argument exceeds permitted size",
    "pointer out of range of the guest's memory",
    "pointer not aligned",
    "unknown handle",
    "interposed function called while the guest's realloc was running",
    "too many pollables",
    "Buffer too large for blocking-write-and-flush (expected at most 4096)",
    "Buffer too large for blocking-write-zeroes-and-flush (expected at most 4096)",
    "splice between a stock stream and a virtual one is not supported",
    "as many pollables as the guest may have",
)
"""What the shim's `trap` call means, by its first argument. The wordings of wasmtime_wasi where it has one."""

POLLABLE_LIMIT = 12
"""The reason that is no rule of WASI, but a limit of this guest."""


@dataclass(frozen=True, slots=True)
class Item:
    """One replaced canon item of a guest (docs/architecture.md, contract 3).

    Attributes:
        id: its number within the component; the low half of every `word` that its trampoline sends.
        realm: which component instance inside the guest; each has its own handle table.
        interface: such as "wasi:sockets/tcp", version stripped; "shim" for the fast paths.
        name: such as "[method]tcp-socket.start-connect", or the name of a fast path.
        function_type: resolved; None for fast paths and drops.
        resource: what a drop drops, such as "wasi:io/poll.pollable"; else None.
        parameters: core types of the trampoline, out of "i32", "i64", "f32" and "f64".
        results: the same for what it returns: none or one.
        encoding: of strings, "utf8", "utf16" or "latin1+utf16".
        memory: which of the guest's memories it touches, a number unique within the guest, and so may be
            answered with commands (REALLOC, READ, WRITE); None: it touches none.
        allocates: it may be answered with REALLOC.
        suspends: its function may be async; it comes through `waitN`.
    """

    id: int
    realm: int
    interface: str
    name: str
    function_type: FunctionType | None
    resource: str | None
    parameters: tuple[str, ...]
    results: tuple[str, ...]
    encoding: str
    memory: int | None
    allocates: bool
    suspends: bool
