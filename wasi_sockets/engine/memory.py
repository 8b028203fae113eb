"""The linear memories of a guest, by address.

Python may copy to and from a guest's memory directly once it knows where that lies. The C API does not say,
so the shim writes a random nonce into the memory and Python looks for it in its own address space: first where
the kernel is about to place memories (predicted just before the guest is instantiated), then at the start of
every mapping. Only one match counts. Whoever cannot find it, or may not, uses the copy transport.

A memory32 in wasmtime's default 4 GiB reservation never moves. It is verified all the same whenever the guest
reports another size than before.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Collection, Sequence
from typing import BinaryIO

__all__ = [
    "PAGE",
    "GuestMemory",
    "direct_memory_is_possible",
    "mapped_bytes",
    "open_process_file",
    "predict_memories",
]

PAGE = 65536
"""Bytes in a page of linear memory."""

_NOTHING = memoryview(b"")

_NONCE_AT = 32
_NONCE_HALF = 0x7FFF_FFFF_FFFF_FFFF
"""A half must not look like a command, so its top bit is clear."""

_GUARD = 32 << 20
_RESERVATION = (4 << 30) + 2 * _GUARD
"""What wasmtime maps for a memory32 by default: 4 GiB with a guard of 32 MiB on either side."""

_PREDICTIONS = 3
"""Memories of a small guest: its own, and the private ones of the shim."""


def open_process_file(name: str) -> BinaryIO:
    """Open a file of the kernel's view of this process, such as "maps".

    Raises:
        OSError: there is none: not Linux, or /proc is hidden.
    """
    return open(f"/proc/self/{name}", "rb", buffering=0 if name == "mem" else -1)


def direct_memory_is_possible() -> bool:
    """Whether this platform allows it and WASI_SOCKETS_DIRECT_MEMORY=0 does not forbid it."""
    return sys.platform.startswith("linux") and os.environ.get("WASI_SOCKETS_DIRECT_MEMORY", "1") != "0"


def _mapping_functions() -> tuple[ctypes._NamedFuncPointer, ctypes._NamedFuncPointer] | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_long,
    ]
    library.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return library.mmap, library.munmap


_mapping = _mapping_functions()
_MAP_FAILED = ctypes.c_void_p(-1).value
_MAP_NORESERVE = 0x4000


def predict_memories() -> list[int]:
    """Where the next memories of a guest will probably lie.

    The kernel reuses the gaps that it just gave: map what wasmtime is about to map, and give it back. To be
    called just before a guest is instantiated; a wrong guess costs a scan later, nothing else.
    """
    if _mapping is None:
        return []
    map_memory, unmap_memory = _mapping
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    found: list[int] = []
    for _ in range(_PREDICTIONS):
        address = map_memory(None, _RESERVATION, 0, flags, -1, 0)
        if address is None or address == _MAP_FAILED:
            break
        found.append(address)
    for address in found:
        unmap_memory(address, _RESERVATION)
    return [address + _GUARD for address in found]


def mapped_bytes(starts: Collection[int]) -> list[int]:
    """How many bytes can be read and written from each address on where a mapping begins; [] where nobody tells."""
    ends: dict[int, int] = {}  # end of what was seen so far -> its start
    found: dict[int, int] = {}
    try:
        with open_process_file("maps") as maps:
            for start, end, readable in map(_mapping_of, maps):
                first = ends.pop(start, start if start in starts else None)
                if first is not None and readable:
                    ends[end] = first
                    found[first] = end - first
    except (OSError, ValueError):
        return []
    return list(found.values())


class GuestMemory:
    """One linear memory of a guest.

    Attributes:
        base: its address in this process; 0 while that is unknown or must not be used.
        pages: its size at the last verification, in pages of 64 KiB.
        view: those pages, empty while `base` is 0. Slicing it takes a quarter of the time of ctypes' functions.
    """

    __slots__ = ("_allowed", "_candidates", "_nonce", "base", "pages", "view")

    def __init__(self, allowed: bool, candidates: Sequence[int] = ()) -> None:
        self.base = 0
        self.pages = 0
        self.view = _NOTHING
        self._allowed = allowed
        self._candidates = candidates
        self._nonce = b""

    def locate(self, pages: int, step: int) -> int:
        """Answer one step of the search, whose other half the shim does.

        Args:
            pages: the size of the memory now.
            step: 1 and 2 ask for the halves of a new nonce, which the shim then writes at guest address 32; 3
                asks to look for it.

        Returns:
            A half of the nonce; for step 3, 1 when the memory was found and 0 when bytes must be copied.
        """
        if step == 1:
            self._forget()
            halves = [int.from_bytes(os.urandom(8), "little") & _NONCE_HALF for _ in range(2)]
            self._nonce = b"".join([half.to_bytes(8, "little") for half in halves])
        if step in (1, 2):
            start = 8 * (step - 1)
            return int.from_bytes(self._nonce[start : start + 8], "little")
        if step != 3 or not self._nonce:
            return 0
        nonce, self._nonce = self._nonce, b""
        base = self._find(nonce) if self._allowed else 0
        self.pages = pages
        if base:
            self._look_at(base)
        return 1 if base else 0

    def address(self, pages: int) -> int:
        """`base`, verified again if the memory has another size than before; 0 when bytes must be copied."""
        if pages != self.pages and self.base:
            self._grown(pages)
        return self.base

    def drop(self) -> None:
        """Never use the address again: the store is about to go."""
        self._allowed = False
        self._forget()
        self._nonce = b""

    def _look_at(self, base: int) -> None:
        self.base = base
        self.view = memoryview((ctypes.c_uint8 * (self.pages * PAGE)).from_address(base)).cast("B")

    def _forget(self) -> None:
        self.base = 0
        self.view = _NOTHING

    def _grown(self, pages: int) -> None:
        """Without the shim, while it runs a command: a memory that has not moved now ends at its new size."""
        end = self.base
        try:
            with open_process_file("maps") as maps:
                for line in maps:
                    start, stop, readable = _mapping_of(line)
                    if start == end and readable:
                        end = stop
                    elif start >= end:
                        break
        except (OSError, ValueError):
            end = 0
        if end == self.base + pages * PAGE:
            self.pages = pages
            self._look_at(self.base)
        else:
            self._forget()

    def _find(self, nonce: bytes) -> int:
        try:
            with open_process_file("mem") as process:
                memory = process.fileno()
                for candidate in self._candidates:
                    if _holds(memory, candidate, nonce):
                        return candidate
                with open_process_file("maps") as maps:
                    starts = [start for start, _, readable in map(_mapping_of, maps) if readable]
                found = [start for start in starts if _holds(memory, start, nonce)]
        except (OSError, ValueError):
            return 0
        return found[0] if len(found) == 1 else 0


def _mapping_of(line: bytes) -> tuple[int, int, bool]:
    """A line of /proc/self/maps: where the mapping starts and ends, and whether it is read-write."""
    span, permissions = line.split(b" ", 2)[:2]
    start, _, end = span.partition(b"-")
    return int(start, 16), int(end, 16), permissions.startswith(b"rw")


def _holds(memory: int, start: int, nonce: bytes) -> bool:
    try:
        return os.pread(memory, len(nonce), start + _NONCE_AT) == nonce
    except (OSError, OverflowError):
        return False
