"""Options of virtual sockets, as `setsockopt` and `getsockopt` know them."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from typing import TYPE_CHECKING, Final

from wasi_sockets.network._pipe import DEFAULT_CAPACITY
from wasi_sockets.network._udp import DEFAULT_RECEIVE_BUFFER

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["BUFFER_SIZES", "SocketOptions"]

_INT: Final = struct.Struct("i")
_LINGER: Final = struct.Struct("ii")

#: What SO_RCVBUF and SO_SNDBUF can be set to, in bytes; what is beyond becomes the nearest of these.
BUFFER_SIZES: Final = range(1024, 16 * 1024 * 1024 + 1)


def _known(*names: tuple[str, str, int]) -> dict[tuple[int, int], int]:
    """(level, option) -> value of a new socket, for those that this platform's `socket` has."""
    return {
        (getattr(socket, level), getattr(socket, name)): value
        for level, name, value in names
        if hasattr(socket, name)
    }


# Kept and reported, but of no effect where nothing is lost, delayed or routed; ports are free again at once.
_COMMON: Final = _known(
    ("SOL_SOCKET", "SO_REUSEADDR", 0),
    ("SOL_SOCKET", "SO_REUSEPORT", 0),
    ("SOL_SOCKET", "SO_KEEPALIVE", 0),
    ("SOL_SOCKET", "SO_BROADCAST", 0),
    ("SOL_SOCKET", "SO_OOBINLINE", 0),
    ("SOL_SOCKET", "SO_PRIORITY", 0),
    ("IPPROTO_IP", "IP_TTL", 64),
    ("IPPROTO_IP", "IP_TOS", 0),
    ("IPPROTO_IP", "IP_BIND_ADDRESS_NO_PORT", 0),
    ("IPPROTO_IPV6", "IPV6_UNICAST_HOPS", 64),
    ("IPPROTO_IPV6", "IPV6_TCLASS", 0),
)
_STREAM: Final = _COMMON | _known(
    ("SOL_SOCKET", "SO_RCVBUF", DEFAULT_CAPACITY),
    ("SOL_SOCKET", "SO_SNDBUF", DEFAULT_CAPACITY),
    ("IPPROTO_TCP", "TCP_NODELAY", 0),
    ("IPPROTO_TCP", "TCP_CORK", 0),
    ("IPPROTO_TCP", "TCP_QUICKACK", 1),
    ("IPPROTO_TCP", "TCP_NOTSENT_LOWAT", 0),
    ("IPPROTO_TCP", "TCP_KEEPIDLE", 7200),
    ("IPPROTO_TCP", "TCP_KEEPINTVL", 75),
    ("IPPROTO_TCP", "TCP_KEEPCNT", 9),
    ("IPPROTO_TCP", "TCP_USER_TIMEOUT", 0),
    ("IPPROTO_TCP", "TCP_DEFER_ACCEPT", 0),
)
_DATAGRAM: Final = _COMMON | _known(
    ("SOL_SOCKET", "SO_RCVBUF", DEFAULT_RECEIVE_BUFFER),
    ("SOL_SOCKET", "SO_SNDBUF", DEFAULT_RECEIVE_BUFFER),
)

_BUFFERS: Final = {(socket.SOL_SOCKET, socket.SO_RCVBUF), (socket.SOL_SOCKET, socket.SO_SNDBUF)}
_SO_LINGER: Final = (socket.SOL_SOCKET, socket.SO_LINGER)
# The two IP versions have ports of their own in this network.
_IPV6_V6ONLY: Final = (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def _not_supported() -> OSError:
    return OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))


def _integer(value: int | Buffer) -> int:
    if isinstance(value, int):
        return value
    octets = bytes(value)
    if len(octets) < _INT.size:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return int.from_bytes(octets[: _INT.size], sys.byteorder, signed=True)


class SocketOptions:
    """The options of one socket.

    Args:
        kind: `SOCK_STREAM` or `SOCK_DGRAM`.
        fixed: (level, option) -> value, for those that cannot be set.
    """

    __slots__ = ("_fixed", "_linger", "_sized", "_values")

    def __init__(self, kind: int, fixed: dict[tuple[int, int], int]) -> None:
        self._values: Final = (_STREAM if kind == socket.SOCK_STREAM else _DATAGRAM).copy()
        self._fixed: Final = fixed
        self._sized: Final[set[tuple[int, int]]] = set()
        self._linger = (0, 0)

    @property
    def resets_on_close(self) -> bool:
        """SO_LINGER is on with a time of zero: closing is a reset, as on every system (`tcp(7)`, RFC 9293, 3.9.1.6)."""
        return self._linger[0] != 0 and self._linger[1] == 0

    @property
    def receive_buffer(self) -> int | None:
        """SO_RCVBUF in bytes, None if it was not set."""
        return self._buffer(socket.SO_RCVBUF)

    @property
    def send_buffer(self) -> int | None:
        """SO_SNDBUF in bytes, None if it was not set."""
        return self._buffer(socket.SO_SNDBUF)

    def _buffer(self, option: int) -> int | None:
        key = (socket.SOL_SOCKET, option)
        return self._values[key] if key in self._sized else None

    def fix(self, level: int, option: int, value: int) -> None:
        """Change one that cannot be set."""
        self._fixed[level, option] = value

    def get(self, level: int, option: int, size: int | None = None) -> int | bytes:
        """The value, or its first `size` bytes as C has it.

        Raises:
            OSError: ENOPROTOOPT for an option that virtual sockets do not have.
        """
        key = (level, option)
        if key == _SO_LINGER:
            packed = _LINGER.pack(*self._linger)
            return self._linger[0] if size is None else packed[:size]
        value = self._fixed.get(key)
        if value is None:
            value = 1 if key == _IPV6_V6ONLY else self._values.get(key)
        if value is None:
            raise _not_supported()
        return value if size is None else _INT.pack(value)[:size]

    def set(self, level: int, option: int, value: int | Buffer) -> None:
        """Set an integer, or what C has as its bytes.

        Raises:
            OSError: ENOPROTOOPT for an option that virtual sockets do not have, EINVAL for a value that it cannot
                have.
        """
        key = (level, option)
        if key == _SO_LINGER and not isinstance(value, int):
            try:
                self._linger = _LINGER.unpack(bytes(value))
            except struct.error:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL)) from None
            return
        number = _integer(value)
        if key == _IPV6_V6ONLY:
            if not number:
                raise OSError(errno.EINVAL, "a virtual socket is of one IP version: IPV6_V6ONLY is always on")
            return
        if key not in self._values:
            raise _not_supported()
        if key in _BUFFERS:
            number = min(max(number, BUFFER_SIZES.start), BUFFER_SIZES.stop - 1)
            self._sized.add(key)
        self._values[key] = number
