"""What a sequence consists of. Every operation prints as the Python that makes it.

Sockets are numbers. An operation on a number that has no socket is left out, so that any part of a sequence is a
sequence too: that is what makes shrinking simple.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = [
    "Abort",
    "Accept",
    "Address",
    "Bind",
    "Close",
    "Connect",
    "Disconnect",
    "Drain",
    "Flood",
    "GetOption",
    "Listen",
    "LocalAddress",
    "Open",
    "Operation",
    "Port",
    "PortOf",
    "Receive",
    "RemoteAddress",
    "Send",
    "SendTo",
    "SetOption",
    "Shutdown",
    "text",
]


@dataclass(frozen=True, slots=True)
class PortOf:
    """The local port that a socket has, or had last; an operation whose socket never had one is left out."""

    socket: int


Port: TypeAlias = int | PortOf


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address and a port, which may be that of a socket."""

    ip: str
    port: Port


@dataclass(frozen=True, slots=True)
class Open:
    """A new socket; one that had the number is left alone until the end, and cannot be reached any more."""

    socket: int
    protocol: Literal["tcp", "udp"] = "tcp"
    version: Literal[4, 6] = 4


@dataclass(frozen=True, slots=True)
class Bind:
    """`bind`."""

    socket: int
    address: Address


@dataclass(frozen=True, slots=True)
class Listen:
    """`listen`."""

    socket: int
    backlog: int = 3


@dataclass(frozen=True, slots=True)
class Connect:
    """`connect`, with its outcome if that is decided at once. UDP: from now on only this peer."""

    socket: int
    address: Address


@dataclass(frozen=True, slots=True)
class Disconnect:
    """UDP: everybody again."""

    socket: int


@dataclass(frozen=True, slots=True)
class Accept:
    """`accept`; the connection becomes socket number `into`."""

    socket: int
    into: int


@dataclass(frozen=True, slots=True)
class Send:
    """TCP: write some bytes, as many as are taken. UDP: a datagram to the peer."""

    socket: int
    size: int


@dataclass(frozen=True, slots=True)
class SendTo:
    """UDP: a datagram."""

    socket: int
    size: int
    address: Address


@dataclass(frozen=True, slots=True)
class Receive:
    """TCP: read up to `size` bytes. UDP: one datagram."""

    socket: int
    size: int = 100_000


@dataclass(frozen=True, slots=True)
class Flood:
    """TCP: write until nothing more is taken."""

    socket: int


@dataclass(frozen=True, slots=True)
class Drain:
    """TCP: read until nothing more comes."""

    socket: int


@dataclass(frozen=True, slots=True)
class Shutdown:
    """`shutdown`."""

    socket: int
    how: Literal["send", "receive", "both"]


@dataclass(frozen=True, slots=True)
class Close:
    """`close`."""

    socket: int


@dataclass(frozen=True, slots=True)
class Abort:
    """Close with a reset: `SO_LINGER` with a time of 0."""

    socket: int


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """`getsockname`."""

    socket: int


@dataclass(frozen=True, slots=True)
class RemoteAddress:
    """`getpeername`."""

    socket: int


OptionName: TypeAlias = Literal[
    "keep-alive-enabled", "keep-alive-idle-time", "keep-alive-interval", "keep-alive-count", "hop-limit"
]


@dataclass(frozen=True, slots=True)
class SetOption:
    """`setsockopt`. Times are in seconds."""

    socket: int
    name: OptionName
    value: int


@dataclass(frozen=True, slots=True)
class GetOption:
    """`getsockopt`."""

    socket: int
    name: OptionName


Operation: TypeAlias = (
    Open
    | Bind
    | Listen
    | Connect
    | Disconnect
    | Accept
    | Send
    | SendTo
    | Receive
    | Flood
    | Drain
    | Shutdown
    | Close
    | Abort
    | LocalAddress
    | RemoteAddress
    | SetOption
    | GetOption
)


def text(sequence: list[Operation]) -> str:
    """The sequence as Python, to be pasted into `test_regressions.py`."""
    return "[\n" + "".join(f"    {operation!r},\n" for operation in sequence) + "]"
