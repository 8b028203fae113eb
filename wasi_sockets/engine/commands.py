"""Commands: what Python asks a trampoline to do in the guest's memory before it can answer.

The encoding is that of docs/architecture.md, contract 3. An operation that needs commands is a generator: it
yields a command and receives the answer (for READ the bytes, otherwise the `word` of `resume`), or yields an
awaitable and receives its result; what it returns is the answer of the item.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeAlias

from wasi_sockets.errors import GuestTrap

__all__ = ["MAXIMUM_READ", "Operation", "check_range", "read", "reallocate", "write"]

Operation: TypeAlias = Generator[Any, Any, int]

MAXIMUM_READ = (1 << 28) - 1
"""Bytes that one READ can name."""

_COMMAND = 1 << 63
_READ = 1 << 60
_WRITE = 2 << 60


def reallocate(align: int, size: int) -> int:
    """Call the guest's realloc; answered by the word of `resume`, the address in its low half."""
    return _COMMAND | align << 32 | size


def read(address: int, size: int) -> int:
    """Push bytes of the guest's memory; answered by the bytes."""
    return _COMMAND | _READ | size << 32 | address


def write(address: int) -> int:
    """Pull bytes and copy them to the guest's memory; answered by the word of `resume`."""
    return _COMMAND | _WRITE | address


def check_range(address: int, size: int, pages: int) -> None:
    """Check that bytes lie inside a memory of so many 64 KiB pages.

    Raises:
        GuestTrap: they do not.
    """
    if address + size > pages << 16:
        raise GuestTrap(
            f"pointer out of range of the guest's memory: {size} bytes at {address:#x}, the memory has {pages} pages"
        )
