"""What an operation gave, in words that the kernel and the virtual network share."""

from __future__ import annotations

import errno
from typing import Any, NamedTuple

__all__ = ["DONE", "END", "WOULD_BLOCK", "Observation", "Outcome", "failure", "payload"]

_PATTERN = bytes(range(251)) * 6000


class Outcome(NamedTuple):
    """What an operation gave.

    Attributes:
        kind: "done", "would-block", "error", "sent", "data", "end" (of the stream), "drained", "datagram",
            "address" or "value".
        value: an errno name or a WASI error code, a count, bytes, bytes and how they ended, bytes and where they
            came from, an IP address and a port, or an option's value.
    """

    kind: str
    value: Any = None

    def __str__(self) -> str:
        return self.kind if self.value is None else f"{self.kind} {_short(self.value)}"


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_short, value))
    if isinstance(value, bytes) and len(value) > 12:
        return f"{value[:8]!r}... of {len(value)} bytes"
    return str(value)


class Observation(NamedTuple):
    """What a look at a socket gives, None where there is nothing to see.

    Attributes:
        readable: there is something to accept, to read or to be told.
        writable: there is room to write, or writing gives an error.
        queued: bytes that can be read.
    """

    readable: bool | None = None
    writable: bool | None = None
    queued: int | None = None


DONE = Outcome("done")
END = Outcome("end")
WOULD_BLOCK = Outcome("would-block")


def failure(error: OSError) -> Outcome:
    """The outcome of an operation that raised."""
    return Outcome("error", errno.errorcode.get(error.errno or 0, str(error)))


def payload(serial: int, size: int) -> bytes:
    """What the operation at place `serial` of a sequence writes."""
    start = serial * 37 % 251
    return _PATTERN[start : start + size]
