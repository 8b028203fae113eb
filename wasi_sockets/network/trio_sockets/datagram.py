"""UDP sockets of a private network behind the interface of `trio.socket`."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, NoReturn

from trio.lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled

from wasi_sockets.network._address import WILDCARD, SocketAddress
from wasi_sockets.network._udp import DEFAULT_RECEIVE_BUFFER, UdpEndpoint
from wasi_sockets.network.trio_sockets.base import VirtualSocket, raise_os_error

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from wasi_sockets.network._network import Network

__all__ = ["DatagramSocket"]


class DatagramSocket(VirtualSocket):
    """A virtual UDP socket. It takes a free port at all addresses when it is used before it is bound."""

    def __init__(self, network: Network, family: socket.AddressFamily, owner: object) -> None:
        super().__init__(network, family, owner)
        self._endpoint: UdpEndpoint | None = None

    @property
    def type(self) -> socket.SocketKind:
        """`SOCK_DGRAM`."""
        return socket.SOCK_DGRAM

    @property
    def proto(self) -> int:
        """`IPPROTO_UDP`."""
        return socket.IPPROTO_UDP

    @property
    def did_shutdown_SHUT_WR(self) -> bool:
        """False: `shutdown` is not supported."""
        return False

    def _bind(self, local: SocketAddress) -> None:
        reservation = self._network.reserve("udp", local, owner=self._owner)
        size = self._options.receive_buffer
        self._endpoint = self._network.start_udp(
            reservation, DEFAULT_RECEIVE_BUFFER if size is None else size
        )

    def _bound(self) -> UdpEndpoint:
        if self._endpoint is None:
            self._bind(SocketAddress(WILDCARD[self._version], 0))
        if self._endpoint is None:
            raise RuntimeError(f"{self!r} is not bound")
        return self._endpoint

    async def connect(self, address: object) -> None:
        """Send to `address` from now on, and receive from there only.

        Raises:
            OSError: as from `UdpEndpoint.connect`; EBADF when closed.
            socket.gaierror: if the host is a name that is not known.
        """
        await checkpoint_if_cancelled()
        remote = await self._resolved(address, local=False)
        self._check_open()
        self._bound().connect(remote)
        await cancel_shielded_checkpoint()

    def listen(self, backlog: int = 0) -> NoReturn:
        """Raises OSError EOPNOTSUPP: a UDP socket cannot listen."""
        raise_os_error(errno.EOPNOTSUPP)

    async def accept(self) -> NoReturn:
        """Raises OSError EOPNOTSUPP: a UDP socket cannot accept."""
        raise_os_error(errno.EOPNOTSUPP)

    async def _receive(self, size: int) -> tuple[bytes, SocketAddress | None, bool]:
        endpoint = self._bound()
        # One checkpoint at least, and before anything is taken.
        if endpoint.ready():
            await checkpoint()
        while True:
            self._check_open()
            datagram = endpoint.try_receive()
            if datagram is not None:
                data, source = datagram
                return data[:size], source, len(data) > size
            await self._wait("readable", endpoint.receivable)

    async def _transmit(self, data: Buffer, address: object) -> int:
        remote = None if address is None else await self._resolved(address, local=False)
        self._check_open()
        if remote is None and self._remote() is None:
            raise_os_error(errno.EDESTADDRREQ)
        octets = bytes(data)
        # Sent, then yielded: whoever receives it runs in the same turn of the loop.
        self._bound().send(octets, remote)
        await cancel_shielded_checkpoint()
        return len(octets)

    def shutdown(self, flag: int) -> NoReturn:
        """Raises OSError EOPNOTSUPP: there is nothing to tell a peer. Close the socket instead."""
        raise_os_error(errno.EOPNOTSUPP)

    def is_readable(self) -> bool:
        """Whether a receive would return at once, be it with an error."""
        return self._closed or (self._endpoint is not None and self._endpoint.ready())

    async def wait_writable(self) -> None:
        """A checkpoint: sending a datagram never waits.

        Raises:
            OSError: EBADF when closed.
        """
        self._check_open()
        await checkpoint()

    def close(self) -> None:
        """Close it and free its port; a task that waits for it gets `trio.ClosedResourceError`. Idempotent."""
        if not self._closed:
            self._closed = True
            if self._endpoint is not None:
                self._endpoint.close()

    def _local(self) -> SocketAddress:
        if self._endpoint is None:
            return SocketAddress(WILDCARD[self._version], 0)
        return self._endpoint.local_address

    def _remote(self) -> SocketAddress | None:
        return None if self._endpoint is None else self._endpoint.remote_address

    def _apply_buffers(self) -> None:
        size = self._options.receive_buffer
        if self._endpoint is not None and size is not None:
            self._endpoint.receive_buffer = size
