"""Names and services as `getaddrinfo` and `getnameinfo` have them, of one network."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio

from wasi_sockets.network._address import (
    LOOPBACK,
    WILDCARD,
    IpAddress,
    SocketAddress,
    address_family,
    parse_ip,
)

if TYPE_CHECKING:
    from wasi_sockets.network._network import Network

__all__ = ["NetworkResolver", "port_number"]

_AddressInfo: TypeAlias = tuple[
    socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int] | tuple[str, int, int, int]
]

_PROTOCOLS: Final = {socket.SOCK_STREAM: socket.IPPROTO_TCP, socket.SOCK_DGRAM: socket.IPPROTO_UDP}


def port_number(port: object, kind: int = 0) -> int:
    """A port, given as a number, as its text, or as the name of a service; None is 0.

    Raises:
        socket.gaierror: EAI_SERVICE if there is no such service.
        OverflowError: if it is outside 0..65535, as from `socket.socket.bind`.
        TypeError: if it is nothing of that.
    """
    if isinstance(port, (bytes, bytearray)):
        port = port.decode("ascii", "replace")
    if isinstance(port, str):
        if port.isascii() and port.isdecimal():
            port = int(port)
        else:
            try:
                # Read from a file of the system; nothing is asked over any network.
                port = socket.getservbyname(port, "udp" if kind == socket.SOCK_DGRAM else "tcp")
            except OSError:
                raise socket.gaierror(socket.EAI_SERVICE, f"no such service: {port!r}") from None
    if port is None:
        return 0
    if not isinstance(port, int):
        raise TypeError(f"a port is an integer, not {type(port).__name__}")
    if not 0 <= port <= 65535:
        raise OverflowError(f"port must be 0-65535, not {port}")
    return port


class NetworkResolver(trio.abc.HostnameResolver):
    """Answers `trio.socket.getaddrinfo` and `getnameinfo` from a network.

    Trio asks it for names only; numeric addresses it converts itself.

    Args:
        network: where names are looked up.
        owner: of the lookups, as of `Network.lookup`.
    """

    __slots__ = ("_network", "_owner")

    def __init__(self, network: Network, owner: object = None) -> None:
        self._network: Final = network
        self._owner: Final = owner

    # Any: the result of `HostnameResolver` is of literal types that no value of the standard library fits.
    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        """As `socket.getaddrinfo`.

        Raises:
            socket.gaierror: if the name is not known, or has no address of the family.
        """
        kinds = [
            (kind, protocol)
            for kind, protocol in _PROTOCOLS.items()
            if type in (0, kind) and proto in (0, protocol)
        ]
        number = port_number(port, type)
        name = None if host is None else host.decode("ascii", "replace")
        if name is None:
            ips: list[IpAddress] = list((WILDCARD if flags & socket.AI_PASSIVE else LOOPBACK).values())
        elif flags & socket.AI_NUMERICHOST:
            ip = parse_ip(name)
            ips = [] if ip is None else [ip]
        else:
            ips = await self._network.lookup(name, owner=self._owner)
        canonical = name if name is not None and flags & socket.AI_CANONNAME else ""
        found: list[_AddressInfo] = []
        for ip in ips:
            if family in (0, address_family(ip)):
                for kind, protocol in kinds:
                    sockaddr = SocketAddress(ip, number).sockaddr()
                    found.append((address_family(ip), kind, protocol, "" if found else canonical, sockaddr))
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, f"no such address in this network: {name!r}")
        return found

    async def getnameinfo(
        self, sockaddr: tuple[str, int] | tuple[str, int, int, int], flags: int
    ) -> tuple[str, str]:
        """As `socket.getnameinfo`; a name is one that the network has for the address.

        Raises:
            socket.gaierror: EAI_NONAME with NI_NAMEREQD if there is none, or if `sockaddr` holds no address.
        """
        ip = parse_ip(sockaddr[0])
        if ip is None:
            raise socket.gaierror(socket.EAI_NONAME, f"not an address: {sockaddr[0]!r}")
        host = str(ip)
        if not flags & socket.NI_NUMERICHOST:
            name = next((name for name, ips in self._network.names.items() if ip in ips), None)
            if name is None and flags & socket.NI_NAMEREQD:
                raise socket.gaierror(socket.EAI_NONAME, f"no name for {ip} in this network")
            host = name or host
        service = str(sockaddr[1])
        if not flags & socket.NI_NUMERICSERV:
            try:
                service = socket.getservbyport(sockaddr[1], "udp" if flags & socket.NI_DGRAM else "tcp")
            except OSError:
                pass
        return host, service
