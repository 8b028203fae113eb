"""TCP sockets of a private network behind the interface of `trio.socket`."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Final

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled

from wasi_sockets.network._address import WILDCARD, SocketAddress
from wasi_sockets.network._tcp import ConnectAttempt, TcpBacklog, TcpConnection
from wasi_sockets.network.trio_sockets.base import (
    SocketAddressTuple,
    VirtualSocket,
    raise_os_error,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from wasi_sockets.network._network import Network

__all__ = ["StreamSocket"]

# Above it Linux takes its own limit (`net.core.somaxconn`); trio asks for 65,535.
_LONGEST_BACKLOG: Final = 4096


class StreamSocket(VirtualSocket):
    """A virtual TCP socket: new, bound, connecting, listening, connected, or closed."""

    def __init__(self, network: Network, family: socket.AddressFamily, owner: object) -> None:
        super().__init__(network, family, owner)
        self._attempt: ConnectAttempt | None = None
        self._backlog: TcpBacklog | None = None
        self._connection: TcpConnection | None = None
        self._shut_send = False

    @property
    def type(self) -> socket.SocketKind:
        """`SOCK_STREAM`."""
        return socket.SOCK_STREAM

    @property
    def proto(self) -> int:
        """`IPPROTO_TCP`."""
        return socket.IPPROTO_TCP

    @property
    def did_shutdown_SHUT_WR(self) -> bool:
        """Whether `shutdown` has ended sending."""
        return self._shut_send

    # Becoming something

    def _bind(self, local: SocketAddress) -> None:
        self._reservation = self._network.reserve("tcp", local, owner=self._owner)

    def listen(self, backlog: int = min(socket.SOMAXCONN, 128)) -> None:
        """Accept connections; at a free port of all addresses if it is not bound.

        Raises:
            OSError: EINVAL if it is connected or connecting; EBADF when closed.
        """
        self._check_open()
        length = min(max(backlog, 1), _LONGEST_BACKLOG)
        if self._backlog is not None:
            self._backlog.set_backlog(length)
            return
        if self._connection is not None or self._attempt is not None:
            raise_os_error(errno.EINVAL)
        if self._reservation is None:
            self._bind(SocketAddress(WILDCARD[self._version], 0))
        if self._reservation is not None:
            self._backlog = self._network.start_listen(self._reservation, length)
            self._reservation = None
            self._options.fix(socket.SOL_SOCKET, socket.SO_ACCEPTCONN, 1)

    async def connect(self, address: object) -> None:
        """Connect, waiting while the listener's backlog is full. When cancelled the socket is closed, as trio's are.

        Raises:
            OSError: as from `Network.start_connect`; ConnectionRefusedError and ConnectionResetError as from
                `Network.connect_tcp`; EISCONN or EALREADY if it is no new socket; EBADF when closed.
            socket.gaierror: if the host is a name that is not known.
            trio.ClosedResourceError: it was closed meanwhile.
        """
        try:
            await checkpoint_if_cancelled()
            remote = await self._resolved(address, local=False)
            self._check_open()
            if self._attempt is not None:
                raise_os_error(errno.EALREADY)
            if self._connection is not None or self._backlog is not None:
                raise_os_error(errno.EISCONN)
            self._attempt = attempt = self._network.start_connect(
                remote, reservation=self._reservation, owner=self._owner
            )
            self._reservation = None  # the attempt's from now on
            try:
                if attempt.state == "pending":
                    await self._wait("writable", attempt.done)
                else:
                    await cancel_shielded_checkpoint()
                attempt.raise_for_state()
                self._take_connection(attempt)
            except BaseException:
                attempt.cancel()
                raise
            finally:
                self._attempt = None
        except trio.Cancelled:
            self.close()
            raise

    def _take_connection(self, attempt: ConnectAttempt) -> None:
        if self._closed:
            raise trio.ClosedResourceError("another task closed this socket")
        self._connection = attempt.connection
        self._apply_buffers()

    async def accept(self) -> tuple[StreamSocket, SocketAddressTuple]:
        """Wait for a connection. When cancelled, none is lost. It may have ended or been reset meanwhile.

        Raises:
            OSError: EINVAL if it does not listen, EBADF when closed.
            trio.BusyResourceError: another task waits already.
            trio.ClosedResourceError: it was closed meanwhile.
        """
        self._check_open()
        backlog = self._backlog
        if backlog is None:
            raise_os_error(errno.EINVAL, "the socket does not listen")
        if backlog.queued or backlog.closed:
            await checkpoint()
        while True:
            connection = backlog.try_accept()
            if connection is not None:
                break
            if self._closed:
                raise trio.ClosedResourceError("another task closed this socket")
            if backlog.closed:
                raise_os_error(errno.EINVAL, "the network ended this listener")
            await self._wait("readable", backlog.acceptable)
        accepted = StreamSocket(self._network, self._family, self._owner)
        accepted._connection = connection
        return accepted, connection.remote_address.sockaddr()

    # Moving bytes

    async def _receive(self, size: int) -> tuple[bytes, SocketAddress | None, bool]:
        connection = self._connection
        if connection is None:
            raise_os_error(errno.ENOTCONN)
        pipe = connection.receive_pipe
        if not size or pipe.buffered or pipe.available():
            await checkpoint()
        while True:
            # From here on nothing is awaited once data was taken, so that no cancellation can lose it.
            self._check_open()
            if not size:
                return b"", None, False
            if pipe.buffered:
                return pipe.read_some(size), None, False
            if pipe.available():
                break
            await self._wait("readable", pipe.readable)
        if pipe.reset:
            raise_os_error(errno.ECONNRESET)
        return b"", None, False

    async def _transmit(self, data: Buffer, address: object) -> int:
        connection = self._connection
        if connection is None:
            raise_os_error(errno.EPIPE)
        pipe = connection.send_pipe
        with memoryview(data) as view, view.cast("B") as octets:
            waited = False
            while True:
                self._check_open()
                room = pipe.permit()
                if room < 0:
                    raise_os_error(errno.ECONNRESET if pipe.reset else errno.EPIPE)
                if room or not octets:
                    size = min(room, len(octets))
                    with octets[:size] as piece:
                        pipe.write(piece)
                    break
                await self._wait("writable", pipe.writable)
                waited = True
        if not waited:
            await cancel_shielded_checkpoint()
        return size

    def shutdown(self, flag: int) -> None:
        """End sending (SHUT_WR), receiving (SHUT_RD) or both (SHUT_RDWR).

        Raises:
            OSError: ENOTCONN if it is not connected, EINVAL for another flag, EBADF when closed.
        """
        self._check_open()
        if flag not in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
            raise_os_error(errno.EINVAL)
        connection = self._connection
        if connection is None:
            raise_os_error(errno.ENOTCONN)
        if flag != socket.SHUT_WR:
            connection.shutdown_receive()
        if flag != socket.SHUT_RD:
            connection.shutdown_send()
            self._shut_send = True

    def is_readable(self) -> bool:
        """Whether `recv` or `accept` would return at once, be it with an error."""
        if self._closed:
            return True
        if self._backlog is not None:
            return self._backlog.queued > 0 or self._backlog.closed
        return self._connection is not None and self._connection.receive_pipe.available() != 0

    async def wait_writable(self) -> None:
        """Wait until some bytes fit, or `send` would fail.

        Raises:
            OSError: EBADF when closed.
            trio.BusyResourceError: another task waits already.
            trio.ClosedResourceError: it was closed meanwhile.
        """
        self._check_open()
        pipe = None if self._connection is None else self._connection.send_pipe
        if pipe is None or pipe.permit():
            await checkpoint()
            return
        while not pipe.permit():
            await self._wait("writable", pipe.writable)

    def close(self) -> None:
        """Close it and free its port; tasks that wait for it get `trio.ClosedResourceError`. Idempotent.

        With unread data, or with SO_LINGER on and zero, the peer sees a reset.
        """
        if self._closed:
            return
        self._closed = True
        if self._attempt is not None:
            self._attempt.cancel()
        if self._backlog is not None:
            self._backlog.close()
        if self._reservation is not None:
            self._reservation.release()
        if self._connection is not None:
            if self._options.resets_on_close:
                self._connection.abort()
            else:
                self._connection.close()

    # Addresses and buffers

    def _local(self) -> SocketAddress:
        if self._connection is not None:
            return self._connection.local_address
        if self._backlog is not None:
            return self._backlog.address
        if self._attempt is not None:
            return self._attempt.local_address
        if self._reservation is not None:
            return self._reservation.address
        return SocketAddress(WILDCARD[self._version], 0)

    def _remote(self) -> SocketAddress | None:
        return None if self._connection is None else self._connection.remote_address

    def _apply_buffers(self) -> None:
        # A direction has one buffer here, where a kernel has one at each end: whoever sets it last decides.
        connection = self._connection
        if connection is None:
            return
        receive, send = self._options.receive_buffer, self._options.send_buffer
        if receive is not None:
            connection.receive_pipe.resize(receive)
        if send is not None:
            connection.send_pipe.resize(send)
