"""Making a private network the one that `trio.socket` sees, for a while."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

from wasi_sockets.network.trio_sockets.base import os_error
from wasi_sockets.network.trio_sockets.datagram import DatagramSocket
from wasi_sockets.network.trio_sockets.resolver import NetworkResolver
from wasi_sockets.network.trio_sockets.stream import StreamSocket

if TYPE_CHECKING:
    from wasi_sockets.network._network import Network

__all__ = ["install"]

_TYPE_FLAGS: Final = getattr(socket, "SOCK_NONBLOCK", 0) | getattr(socket, "SOCK_CLOEXEC", 0)


class _Factory(trio.abc.SocketFactory):
    """Makes virtual sockets while it is active, and hands on to what was there before else."""

    def __init__(self, network: Network, owner: object) -> None:
        self.active = True
        self.previous: trio.abc.SocketFactory | None = None
        self._network: Final = network
        self._owner: Final = owner

    def socket(
        self,
        family: socket.AddressFamily | int = socket.AF_INET,
        type: socket.SocketKind | int = socket.SOCK_STREAM,
        proto: int = 0,
    ) -> trio.socket.SocketType:
        """As `trio.socket.socket`. What is not IP (Unix sockets) is made by the kernel.

        Raises:
            OSError: EPROTONOSUPPORT for IP sockets that are neither TCP nor UDP.
        """
        internet = family in (socket.AF_INET, socket.AF_INET6)
        if not (self.active and internet):
            if self.previous is not None:
                return self.previous.socket(family, type, proto)
            return trio.socket.from_stdlib_socket(socket.socket(family, type, proto))
        made = socket.AddressFamily(family)
        match type & ~_TYPE_FLAGS, proto:
            case socket.SOCK_STREAM, 0 | socket.IPPROTO_TCP:
                return StreamSocket(self._network, made, self._owner)
            case socket.SOCK_DGRAM, 0 | socket.IPPROTO_UDP:
                return DatagramSocket(self._network, made, self._owner)
        raise os_error(errno.EPROTONOSUPPORT, "a private network has TCP and UDP only")


class _Resolver(NetworkResolver):
    """Answers from its network while it is active, and hands on to what was there before else."""

    __slots__ = ("active", "previous")

    def __init__(self, network: Network, owner: object) -> None:
        super().__init__(network, owner)
        self.active = True
        self.previous: trio.abc.HostnameResolver | None = None

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        if self.active:
            return await super().getaddrinfo(host, port, family, type, proto, flags)
        if self.previous is not None:
            return await self.previous.getaddrinfo(host, port, family, type, proto, flags)
        return await trio.to_thread.run_sync(
            socket.getaddrinfo, host, port, family, type, proto, flags, abandon_on_cancel=True
        )

    async def getnameinfo(
        self, sockaddr: tuple[str, int] | tuple[str, int, int, int], flags: int
    ) -> tuple[str, str]:
        if self.active:
            return await super().getnameinfo(sockaddr, flags)
        if self.previous is not None:
            return await self.previous.getnameinfo(sockaddr, flags)
        return await trio.to_thread.run_sync(socket.getnameinfo, sockaddr, flags, abandon_on_cancel=True)


@contextmanager
def install(network: Network, owner: object) -> Iterator[None]:
    """`Network.installed`."""
    factory = _Factory(network, owner)
    resolver = _Resolver(network, owner)
    factory.previous = trio.socket.set_custom_socket_factory(factory)
    resolver.previous = trio.socket.set_custom_hostname_resolver(resolver)
    try:
        yield
    finally:
        # Somebody may have installed something on top and not removed it yet, and will then put these back: they
        # hand on from now on.
        factory.active = resolver.active = False
        topmost_factory = trio.socket.set_custom_socket_factory(factory.previous)
        if topmost_factory is not factory:
            trio.socket.set_custom_socket_factory(topmost_factory)
        topmost_resolver = trio.socket.set_custom_hostname_resolver(resolver.previous)
        if topmost_resolver is not resolver:
            trio.socket.set_custom_hostname_resolver(topmost_resolver)
