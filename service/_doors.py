"""Which doors of a workload, its forwards and published ports, want what somebody else has already.

Rules:

1. A forward listens at one address of the network, as `Network.forward` does: that of its host.
2. TCP ports that services declare are at 127.0.0.1 and ::1.
3. A wildcard address has the port at all addresses of its IP version, as on Linux.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple, Protocol

__all__ = ["Conflict", "conflicting_forwards", "conflicting_publishes", "same_real_port"]

_LOOPBACK: Final = (IPv4Address("127.0.0.1"), IPv6Address("::1"))


class Conflict(NamedTuple):
    """A door that cannot be had beside what is there.

    Attributes:
        place: of the door in its list.
        text: what it wants, and who has that.
    """

    place: int
    text: str


class _Forward(Protocol):
    @property
    def port(self) -> int: ...
    @property
    def host(self) -> str: ...
    @property
    def protocol(self) -> str: ...


class _Publish(Protocol):
    @property
    def host(self) -> str: ...
    @property
    def real_port(self) -> int: ...
    @property
    def protocol(self) -> str: ...


def conflicting_forwards(
    forwards: Mapping[int, _Forward], service_ports: Mapping[int, str]
) -> Iterator[Conflict]:
    """Forwards that want a port of a service, or of a forward before them.

    Args:
        forwards: those that could be read, by their index.
        service_ports: TCP port -> name of the service.
    """
    before: list[tuple[int, _Forward]] = []
    for index, forward in forwards.items():
        ip = _own_address(forward.host)
        owner = service_ports.get(forward.port)
        if owner is not None and forward.protocol == "tcp" and any(_meet(ip, each) for each in _LOOPBACK):
            yield Conflict(index, f"{forward.port} is a port of {owner!r} already")
            continue
        for other, there in before:
            same = (there.port, there.protocol) == (forward.port, forward.protocol)
            if same and _meet(ip, _own_address(there.host)):
                yield Conflict(index, f"{forward.port} is the port of forward[{other}] already")
                break
        before.append((index, forward))


def conflicting_publishes(published: Mapping[int, _Publish]) -> Iterator[Conflict]:
    """Published ports that want the real port of one before them."""
    before: list[tuple[int, _Publish]] = []
    for index, door in published.items():
        for other, there in before:
            if same_real_port(door, there):
                yield Conflict(index, f"the real port {door.real_port} is that of publish[{other}] already")
                break
        before.append((index, door))


def same_real_port(one: _Publish, other: _Publish) -> bool:
    """Whether two published ports cannot both be had; any free port, 0, always can."""
    return (
        one.real_port != 0
        and (one.real_port, one.protocol) == (other.real_port, other.protocol)
        and _meet(_real_address(one.host), _real_address(other.host))
    )


_Ip = IPv4Address | IPv6Address | None


def _meet(one: _Ip, other: _Ip) -> bool:
    """Whether who has a port at the one address keeps others from having it at the other."""
    if one is None or other is None or one.version != other.version:
        return False
    return one == other or one.is_unspecified or other.is_unspecified


def _own_address(host: str) -> _Ip:
    """Where a forward listens; None for a name that is not this machine's nor the workload's own."""
    try:
        return ip_address(host)
    except ValueError:
        name = host.lower().removesuffix(".")
        own = name == "localhost" or ".svc." in name or name.startswith("service.")
        return _LOOPBACK[0] if own else None


def _real_address(host: str) -> _Ip:
    try:
        return ip_address(host)
    except ValueError:
        return _LOOPBACK[0] if host == "localhost" else None
