"""Streams and listeners for trio programs: a thin layer that adds waiting to the synchronous core."""

from __future__ import annotations

import errno
import math
import operator
import os
import socket
from typing import Final, NoReturn

import trio
from trio import current_effective_deadline
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled

from wasi_sockets.network._address import SocketAddress, address_family
from wasi_sockets.network._pipe import Pipe
from wasi_sockets.network._tcp import TcpBacklog, TcpConnection
from wasi_sockets.network._waiting import wait_for

__all__ = ["SocketView", "TcpListener", "TcpStream"]

# What receive_some takes at most when it is not told.
_DEFAULT_RECEIVE: Final = 64 * 1024

# Round trips with a guest, at most, between two turns of the trio loop.
_TURNS: Final = 16


def _raise_broken(pipe: Pipe) -> NoReturn:
    """Raise trio's error for a connection that can no longer be used, chained from the socket error."""
    if pipe.reset:
        number = errno.ECONNRESET
        raise trio.BrokenResourceError("connection reset") from ConnectionResetError(
            number, os.strerror(number)
        )
    number = errno.EPIPE
    raise trio.BrokenResourceError("the peer closed the connection") from BrokenPipeError(
        number, os.strerror(number)
    )


class SocketView:
    """What programs ask of ``stream.socket``: the addresses. There is no socket behind it, and no descriptor.

    Attributes:
        family: `AF_INET` or `AF_INET6`.
        type: `SOCK_STREAM`.
        proto: `IPPROTO_TCP`.
    """

    __slots__ = ("_local", "_remote", "family")

    type: Final = socket.SOCK_STREAM
    proto: Final = socket.IPPROTO_TCP

    def __init__(self, local: SocketAddress, remote: SocketAddress | None) -> None:
        self.family: Final = address_family(local.ip)
        self._local: Final = local
        self._remote: Final = remote

    def getsockname(self) -> tuple[str, int] | tuple[str, int, int, int]:
        """The own address, as `socket.socket.getsockname` gives it."""
        return self._local.sockaddr()

    def getpeername(self) -> tuple[str, int] | tuple[str, int, int, int]:
        """The peer's address, as `socket.socket.getpeername` gives it.

        Raises:
            OSError: ENOTCONN for a listener.
        """
        if self._remote is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return self._remote.sockaddr()


class TcpStream(trio.abc.HalfCloseableStream):
    """A connection as a trio stream. Close it: an open one holds its port, as nothing here relies on the GC.

    Attributes:
        connection: the synchronous core, for those who need more than a stream.
    """

    __slots__ = (
        "_answered",
        "_closed",
        "_has_yielded",
        "_receive_pipe",
        "_receiving",
        "_send_pipe",
        "_sending",
        "_turns",
        "connection",
    )

    def __init__(self, connection: TcpConnection, *, just_scheduled: bool = False) -> None:
        """The stream of a connection.

        Args:
            connection: which nobody else uses any more.
            just_scheduled: it goes to a task that begins with it, so that the first receive need not yield.
        """
        self.connection: Final = connection
        self._receive_pipe: Final = connection.receive_pipe
        self._send_pipe: Final = connection.send_pipe
        self._receiving = False
        self._sending = False
        self._closed = False
        self._has_yielded = False  # in `receive_some`, since the last send
        self._answered = (
            just_scheduled  # inside the last send: by a guest, which runs in the operation that wakes it
        )
        self._turns = 0  # receives in a row that did not yield

    def __repr__(self) -> str:
        return (
            f"<TcpStream {self.local_address} -> {self.remote_address}{', closed' if self._closed else ''}>"
        )

    @property
    def local_address(self) -> SocketAddress:
        """The own address, always concrete."""
        return self.connection.local_address

    @property
    def remote_address(self) -> SocketAddress:
        """The peer's address."""
        return self.connection.remote_address

    @property
    def socket(self) -> SocketView:
        """The addresses in the shape of a socket, as `trio.SocketStream.socket` has them."""
        return SocketView(self.local_address, self.remote_address)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for data and take some; ``b""`` at the end. When cancelled, nothing was taken.

        Raises:
            trio.BusyResourceError: if another task is receiving.
            trio.ClosedResourceError: if this end was closed.
            trio.BrokenResourceError: after a reset, from `ConnectionResetError`.
            ValueError, TypeError: if `max_bytes` is no positive integer.
        """
        if max_bytes is None:
            max_bytes = _DEFAULT_RECEIVE
        else:
            max_bytes = operator.index(max_bytes)
            if max_bytes < 1:
                raise ValueError(f"max_bytes must be at least 1, not {max_bytes}")
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving on this stream")
        pipe = self._receive_pipe
        self._receiving = True
        try:
            if pipe.buffered or pipe.available():
                # An answer that came inside the send: going round the loop for it would be a third of the round
                # trip. So many times in a row, so that nobody keeps the loop.
                if self._answered and self._turns < _TURNS:
                    self._turns += 1
                    self._answered = False
                    await checkpoint_if_cancelled()
                else:
                    self._turns = 0
                    await checkpoint()
            while True:
                # From here on nothing is awaited once data was taken, so that no cancellation can lose it.
                if pipe.buffered:
                    self._has_yielded = True
                    return pipe.read_some(max_bytes)
                if pipe.available():
                    break
                await wait_for(pipe.readable)
        finally:
            self._receiving = False
        if self._closed or pipe.broken:
            raise trio.ClosedResourceError("this stream was closed")
        if pipe.reset:
            _raise_broken(pipe)
        return b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`, waiting while the peer's buffer is full.

        When cancelled, a beginning of `data` of unknown length was sent; none of it if it fits at once.

        Raises:
            trio.BusyResourceError: if another task is sending.
            trio.ClosedResourceError: if this end was closed, or its sending half was by `send_eof`.
            trio.BrokenResourceError: if the peer closed or reset the connection, from the socket error.
        """
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        pipe = self._send_pipe
        self._sending = True
        try:
            await checkpoint_if_cancelled()
            if data.__class__ is bytes and len(data) <= pipe.permit():
                receive_pipe = self._receive_pipe
                waits = not receive_pipe.available()
                pipe.write(data)
                self._answered = waits and receive_pipe.available() != 0
                # Yield after the write, so that the reader woken by it runs in the same turn of the loop. Not
                # after the first write since `receive_some`, which did yield: one write for each of its yields
                # cannot keep the loop from others, and makes a server's round trip shorter by a third.
                if self._has_yielded:
                    self._has_yielded = False
                else:
                    await cancel_shielded_checkpoint()
            else:
                with memoryview(data) as view, view.cast("B") as octets:
                    await self._send_pieces(octets)
        finally:
            self._sending = False

    async def _send_pieces(self, octets: memoryview) -> None:
        pipe = self._send_pipe
        sent = 0
        waited = False
        while True:
            room = pipe.permit()
            if room < 0:
                break
            if room or not octets:
                with octets[sent : sent + room] as piece:
                    pipe.write(piece)
                sent += room
                if sent >= len(octets):
                    break
            else:
                await wait_for(pipe.writable)
                waited = True
        if not waited:
            await cancel_shielded_checkpoint()
        if room < 0:
            self._raise_unwritable()

    def _raise_unwritable(self) -> NoReturn:
        pipe = self._send_pipe
        if self._closed or (pipe.ended and not pipe.reset):
            raise trio.ClosedResourceError("this stream was closed for sending")
        _raise_broken(pipe)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until some bytes fit, or the connection is broken, which `send_all` will then say.

        Raises:
            trio.BusyResourceError: if another task is sending.
            trio.ClosedResourceError: if this end was closed, or its sending half was by `send_eof`.
        """
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        pipe = self._send_pipe
        self._sending = True
        try:
            if pipe.permit():
                await checkpoint()
            while not pipe.permit():
                await wait_for(pipe.writable)
        finally:
            self._sending = False
        if self._closed or pipe.ended:
            raise trio.ClosedResourceError("this stream was closed for sending")

    async def send_eof(self) -> None:
        """Send no more; the peer reads what is queued, then the end. Receiving goes on. Idempotent.

        Raises:
            trio.BusyResourceError: if another task is sending.
            trio.ClosedResourceError: if this end was closed.
        """
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            await checkpoint()
        finally:
            self._sending = False
        if self._closed:
            raise trio.ClosedResourceError("this stream was closed")
        self.connection.shutdown_send()

    async def aclose(self) -> None:
        """Close both directions and free the port; closes also when cancelled. Idempotent.

        What was sent still reaches the peer. With unread data the peer then sees a reset, as on Linux.

        A checkpoint, except in a scope that is cancelled already: as there is nothing to wait for, the next
        checkpoint tells the caller. (`trio.serve_listeners` closes each connection in such a scope, where a
        checkpoint would cost as much as all the rest.)
        """
        self._closed = True
        self.connection.close()
        if current_effective_deadline() != -math.inf:
            await checkpoint()


class TcpListener(trio.abc.Listener[TcpStream]):
    """A listener for trio programs. Several tasks may accept.

    Attributes:
        backlog: the synchronous core, for those who need more than a listener.
    """

    __slots__ = ("backlog",)

    def __init__(self, backlog: TcpBacklog) -> None:
        self.backlog: Final = backlog

    def __repr__(self) -> str:
        return f"<TcpListener {self.local_address}{', closed' if self.backlog.closed else ''}>"

    @property
    def local_address(self) -> SocketAddress:
        """Where it listens, with the actual port; a wildcard address is reported as such."""
        return self.backlog.address

    @property
    def socket(self) -> SocketView:
        """The address in the shape of a socket, as `trio.SocketListener.socket` has it."""
        return SocketView(self.local_address, None)

    async def accept(self) -> TcpStream:
        """Wait for a connection. When cancelled, none is lost. It may have ended or been reset meanwhile.

        Raises:
            trio.ClosedResourceError: if the listener was closed.
        """
        backlog = self.backlog
        if backlog.queued or backlog.closed:
            await checkpoint()
        while True:
            connection = backlog.try_accept()
            if connection is not None:
                return TcpStream(connection)
            if backlog.closed:
                raise trio.ClosedResourceError("this listener was closed")
            await wait_for(backlog.acceptable)

    async def aclose(self) -> None:
        """Stop listening and free the port; connections not yet accepted are reset. Idempotent."""
        self.backlog.close()
        await checkpoint()
