"""The service that every benchmark talks to, the same code on both hosts, and the client without a guest.

Runs in the stock host's environment too, so it imports nothing but trio.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Awaitable, Callable

import trio

__all__ = ["CHUNK", "CLIENTS", "REQUEST", "Connect", "serve"]

CHUNK = 64 * 1024
REQUEST = struct.Struct("<cQ")
"""What a client sends first: the operation and a count of bytes."""

_ASCII = b"a" * CHUNK
_BINARY = bytes(range(256)) * (CHUNK // 256)

Connect = Callable[[], Awaitable[trio.abc.Stream]]


async def serve(stream: trio.abc.Stream) -> None:
    """Answer one connection, which whoever serves the listener closes.

    Operations: e echoes until the end; r replies with so many bytes; u takes so many bytes and answers one; a and
    b send so many bytes of text or of all values.
    """
    received = b""
    while len(received) < REQUEST.size:
        data = await stream.receive_some(CHUNK)
        if not data:
            return
        received += data
    operation, count = REQUEST.unpack_from(received)
    rest = received[REQUEST.size :]
    if operation == b"e":
        if rest:
            await stream.send_all(rest)
        while data := await stream.receive_some(CHUNK):
            await stream.send_all(data)
    elif operation == b"r":
        await stream.send_all(_ASCII[:count])
        # The client closes first, so that the reply is never lost to a reset.
        await stream.receive_some(1)
    elif operation == b"u":
        count -= len(rest)
        while count > 0:
            count -= len(await stream.receive_some(CHUNK))
        await stream.send_all(b"!")
    else:
        data = _ASCII if operation == b"a" else _BINARY
        for _ in range(count // CHUNK):
            await stream.send_all(data)


async def _round_trips(connect: Connect, count: int, size: int) -> int:
    async with await connect() as stream:
        await stream.send_all(REQUEST.pack(b"e", 0))
        data = _ASCII[:size]
        start = time.monotonic_ns()
        for _ in range(count):
            await stream.send_all(data)
            await _receive_all(stream, size)
        return time.monotonic_ns() - start


async def _connections(connect: Connect, count: int) -> int:
    start = time.monotonic_ns()
    for _ in range(count):
        async with await connect() as stream:
            await stream.send_all(REQUEST.pack(b"r", 64))
            await _receive_all(stream, 64)
    return time.monotonic_ns() - start


async def _upload(connect: Connect, chunks: int, binary: bool) -> int:
    async with await connect() as stream:
        data = _BINARY if binary else _ASCII
        start = time.monotonic_ns()
        await stream.send_all(REQUEST.pack(b"u", chunks * CHUNK))
        for _ in range(chunks):
            await stream.send_all(data)
        await _receive_all(stream, 1)
        return time.monotonic_ns() - start


async def _download(connect: Connect, chunks: int, binary: bool) -> int:
    async with await connect() as stream:
        start = time.monotonic_ns()
        await stream.send_all(REQUEST.pack(b"b" if binary else b"a", chunks * CHUNK))
        await _receive_all(stream, chunks * CHUNK)
        return time.monotonic_ns() - start


async def _receive_all(stream: trio.abc.Stream, size: int) -> None:
    while size > 0:
        data = await stream.receive_some(CHUNK)
        if not data:
            raise EOFError("the service closed the connection too early")
        size -= len(data)


CLIENTS: dict[str, Callable[..., Awaitable[int]]] = {
    "round-trips": _round_trips,
    "connections": _connections,
    "upload": _upload,
    "download": _download,
}
"""What the guest's exports do, without a guest: function of (connect, *arguments) giving nanoseconds."""
