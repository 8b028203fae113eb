"""Carrying one connection between a network and the real one: both directions, both ways to end, and back-pressure."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Final, Protocol

import trio

from wasi_sockets.network._pipe import Pipe
from wasi_sockets.network._tcp import TcpConnection
from wasi_sockets.network._waiting import wait_for
from wasi_sockets.network.bridges.kernel import KernelStream

__all__ = ["RealStream", "splice"]

#: Bytes taken from a pipe at a time.
_CHUNK: Final = 256 * 1024

#: Seconds that a peer outside has to take what was sent last, after the guest has closed; Linux keeps such orphans
#: about as long.
_LINGER_SECONDS: Final = 60.0


class RealStream(Protocol):
    """A connection outside. What goes wrong raises OSError."""

    async def receive_some(self) -> bytes:
        """Bytes, or `b""` at the end."""

    async def send_all(self, data: bytes | memoryview) -> None:
        """Send all of it."""

    async def send_eof(self) -> None:
        """Send no more."""

    def close(self) -> None:
        """Close it. Idempotent."""

    def abort(self) -> None:
        """Close it with a reset. Idempotent."""


async def splice(connection: TcpConnection, real: RealStream) -> OSError | None:
    """Carry bytes, ends and resets both ways until both directions have ended. Both sides are closed then.

    Returns:
        What broke the connection outside, None if nothing did.
    """
    carrier = _Carrier(connection, real)
    try:
        await carrier.run()
    finally:
        if carrier.finished:
            connection.close()
            real.close()
        elif carrier.failure is not None:
            # As on Linux, what has arrived before the reset can still be read.
            connection.fail()
            real.abort()
        else:
            connection.abort()
            real.abort()
    return carrier.failure


class _Carrier:
    """One spliced connection."""

    __slots__ = ("_attention", "_connection", "_error", "_real", "_rest", "_send", "failure", "finished")

    def __init__(self, connection: TcpConnection, real: RealStream) -> None:
        self._connection: Final = connection
        self._real: Final = real
        self.finished = False
        self.failure: OSError | None = None
        self._send: Callable[[bytes], int] | None = (
            real.socket.send if isinstance(real, KernelStream) else None
        )
        self._attention = trio.Event()
        self._rest: bytes | memoryview = b""
        self._error: OSError | None = None

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._inwards, nursery.cancel_scope)
            try:
                ended = await self._outwards()
            except OSError as error:
                self.failure = error
                ended = False
            if ended:
                # Nothing more to send. The other direction goes on until it ends, or nobody is left to read it.
                pipe = self._connection.send_pipe
                while pipe.permit() >= 0:
                    await wait_for(pipe.writable)
                self.finished = self.failure is None and not pipe.reset
            nursery.cancel_scope.cancel()

    async def _inwards(self, scope: trio.CancelScope) -> None:
        pipe = self._connection.send_pipe
        receive_some = self._real.receive_some
        while True:
            room = pipe.permit()
            if room > 0:
                try:
                    data = await receive_some()
                except OSError as error:
                    self.failure = error
                    scope.cancel()
                    return
                if not data:
                    pipe.end()
                    return
                try:
                    # All of it, be it more than there was room for: it is there, and less than a chunk.
                    pipe.write(data)
                except OSError:
                    # Nobody reads it any more. What the guest sent before it left still goes out; then the kernel
                    # tells the peer by a reset.
                    return
            elif not room:
                await wait_for(pipe.writable)
            else:
                return

    async def _outwards(self) -> bool:
        """Send until the end, then say so; False after a reset."""
        pipe = self._connection.receive_pipe
        try:
            while True:
                self._attention = trio.Event()
                self._push()
                await self._attention.wait()
                if self._error is not None:
                    raise self._error
                if self._rest:
                    await self._send_rest(pipe)
                elif pipe.available() == -1:
                    await self._real.send_eof()
                    return True
                elif pipe.reset:
                    return False
        finally:
            pipe.readable.discard(self._push)

    def _push(self) -> None:
        """Send what the pipe holds at once, in the very operation that put it there.

        So the usual answer costs no turn of the loop. The task is called for all else: what the kernel does not
        take now, errors, the end.
        """
        pipe = self._connection.receive_pipe
        send = self._send
        data: bytes = b""
        try:
            while pipe.buffered:
                data = pipe.read_some(_CHUNK)
                if send is None:
                    self._rest = data
                    break
                sent = send(data)
                if sent < len(data):
                    self._rest = memoryview(data)[sent:]
                    break
            else:
                if not pipe.available():
                    pipe.readable.add(self._push)
                    return
        except BlockingIOError:
            self._rest = data
        except OSError as error:
            self._error = error
        self._attention.set()

    async def _send_rest(self, pipe: Pipe) -> None:
        """Wait until the kernel takes it; not when the guest resets, and not for long once it has closed."""
        with trio.CancelScope() as scope:

            def look() -> None:
                if pipe.reset:
                    scope.cancel()
                elif self._connection.send_pipe.broken:
                    scope.deadline = min(scope.deadline, trio.current_time() + _LINGER_SECONDS)
                else:
                    pipe.readable.add(look)
                    self._connection.send_pipe.writable.add(look)

            look()
            try:
                await self._real.send_all(self._rest)
            finally:
                pipe.readable.discard(look)
                self._connection.send_pipe.writable.discard(look)
        self._rest = b""
        if scope.cancelled_caught and not pipe.reset:
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
