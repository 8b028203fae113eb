"""Ports: who has which, and which are free."""

from __future__ import annotations

import errno
import os
from array import array
from typing import TYPE_CHECKING, Final

from wasi_sockets.network._address import IpAddress, SocketAddress
from wasi_sockets.network._registry import Endpoint, Protocol, Registry, SocketRecord

if TYPE_CHECKING:
    from wasi_sockets.network._tcp import ConnectTarget
    from wasi_sockets.network._udp import UdpEndpoint

__all__ = ["EPHEMERAL_PORTS", "ForeignAddress", "PortReservation", "PortTable"]

#: The ports given out for port 0: those of Linux (`net.ipv4.ip_local_port_range`).
EPHEMERAL_PORTS: Final = range(32768, 61000)

_FIRST: Final = EPHEMERAL_PORTS.start
_COUNT: Final = len(EPHEMERAL_PORTS)

# A ring of all ephemeral ports; the extra place _COUNT is its beginning and end.
_FULL_NEXT: Final = array("H", [*range(1, _COUNT + 1), 0])
_FULL_PREVIOUS: Final = array("H", [_COUNT, *range(_COUNT)])


def _in_use(what: object) -> OSError:
    return OSError(errno.EADDRINUSE, f"{os.strerror(errno.EADDRINUSE)}: {what}")


class _FreePorts:
    """The free ephemeral ports, the longest-free first. Every operation takes constant time.

    A doubly linked list in two arrays of 56 KB, whatever has happened: the size must not grow with the number
    of connections ever made. Oldest first, because a port that was just given back may still be
    known to a peer.
    """

    __slots__ = ("_next", "_previous")

    def __init__(self) -> None:
        self._next = _FULL_NEXT[:]
        self._previous = _FULL_PREVIOUS[:]

    def take(self) -> int | None:
        """Remove the port to take next, None if there is none."""
        following = self._next
        place: int = following[_COUNT]
        if place == _COUNT:
            return None
        after = following[_COUNT] = following[place]
        self._previous[after] = _COUNT
        return place + _FIRST

    def remove(self, port: int) -> None:
        """`port` is taken; it must be in the list."""
        place = port - _FIRST
        before = self._previous[place]
        after = self._next[place]
        self._next[before] = after
        self._previous[after] = before

    def append(self, port: int) -> None:
        """`port` is free again; it must not be in the list."""
        place = port - _FIRST
        last = self._previous[_COUNT]
        self._next[last] = place
        self._previous[place] = last
        self._next[place] = _COUNT
        self._previous[_COUNT] = place


class PortReservation(Endpoint):
    """A port at an address, held until `release`.

    A listener, an attempt to connect, a connection or a UDP endpoint takes it over, and gives the port back when
    it ends.

    Attributes:
        address: with the actual port, also where port 0 was asked for.
        key: the address as a number and the port, `ip << 16 | port`.
        listed: it is in the registry, being nobody's.
        taken: somebody has taken it over.
        released: nothing is held any more.
        listener: who accepts connections here, if anybody.
        endpoint: who receives datagrams here, if anybody.
    """

    __slots__ = ("_table", "address", "endpoint", "key", "listed", "listener", "released", "taken")

    def __init__(
        self, table: PortTable, registry: Registry, address: SocketAddress, key: int, owner: object
    ) -> None:
        # Not by way of `Endpoint.__init__`, as every connect makes one.
        self._registry = registry
        self.owner = owner
        self.created = registry.clock()
        self._table: Final = table
        self.key: Final = key
        self.address: Final = address
        self.listed = False
        self.taken = False
        self.released = False
        self.listener: ConnectTarget | None = None
        self.endpoint: UdpEndpoint | None = None

    def __repr__(self) -> str:
        return f"<PortReservation {self.address}{' released' if self.released else ''}>"

    @property
    def protocol(self) -> Protocol:
        """Whose port it is."""
        return self._table.protocol

    def release(self) -> None:
        """Give the port back, unless somebody has taken it over. Idempotent."""
        if not self.taken and not self.released:
            self._registry.remove(self)
            self.free()

    abort = release

    def take(self) -> None:
        """The caller takes it over, and must call `free`.

        Raises:
            OSError: EINVAL if it was taken over before, or released.
        """
        if self.taken or self.released:
            raise OSError(errno.EINVAL, f"{os.strerror(errno.EINVAL)}: {self}")
        self.taken = True
        if self.listed:
            self._registry.remove(self)

    def free(self) -> None:
        """Give the port back; for whoever took it over. Idempotent."""
        if not self.released:
            self.released = True
            self._table.give_back(self.address.port, self.key)

    def enlist(self) -> None:
        """Let it be found in the registry until somebody takes it over."""
        self.listed = True
        self._registry.add(self)

    def describe(self, now: float) -> SocketRecord:
        protocol = self._table.protocol
        return SocketRecord(protocol, self.address, None, "bound", 0, 0, self.owner, now - self.created)


class ForeignAddress(PortReservation):
    """The address of a peer outside, in place of a reservation: it is nobody's here, so it conflicts with nothing."""

    __slots__ = ()

    def __init__(self, table: PortTable, registry: Registry, address: SocketAddress, owner: object) -> None:
        super().__init__(table, registry, address, int(address.ip) << 16 | address.port, owner)

    def free(self) -> None:
        """Nobody answers for it any more. Idempotent."""
        if not self.released:
            self.released = True
            if self.protocol == "udp":
                self._table.give_back_foreign(self.address)


class PortTable:
    """The ports of one protocol and one IP version.

    A port may be reserved once at each address; the wildcard address conflicts with all of them, as on Linux.
    (Linux lets two sockets that do not listen share an address under SO_REUSEADDR; nobody wants to.)

    Attributes:
        protocol: whose ports these are.
    """

    __slots__ = ("_by_address", "_foreign", "_free", "_registry", "_uses", "protocol")

    def __init__(self, registry: Registry, protocol: Protocol) -> None:
        self.protocol: Final = protocol
        self._registry: Final = registry
        # Keys are ip << 16 | port, the wildcard's ip being 0: hashing an IPv4Address is ten times slower.
        self._by_address: Final[dict[int, PortReservation]] = {}
        # How many addresses have a port reserved: answers for the wildcard, and for ephemeral ports, at once.
        self._uses: Final[dict[int, int]] = {}
        self._foreign: Final[dict[int, PortReservation]] = {}
        self._free: _FreePorts | None = None

    def reserve(self, ip: IpAddress, port: int, owner: object) -> PortReservation:
        """Reserve `port`, or for port 0 an ephemeral port that no address uses.

        Raises:
            OSError: EADDRINUSE if the port is taken, or every ephemeral port is.
        """
        number = int(ip)
        if port == 0:
            found = (self._free or self._free_ports()).take()
            if found is None:
                raise _in_use("no ephemeral port is free")
            port = found
            self._uses[port] = 1
        else:
            uses = self._uses.get(port, 0)
            if uses:
                by_address = self._by_address
                if not number or port in by_address or (number << 16 | port) in by_address:
                    raise _in_use(SocketAddress(ip, port))
            elif port in EPHEMERAL_PORTS:
                self._free_ports().remove(port)
            self._uses[port] = uses + 1
        key = number << 16 | port
        reservation = PortReservation(self, self._registry, SocketAddress(ip, port), key, owner)
        self._by_address[key] = reservation
        return reservation

    def give_back(self, port: int, key: int) -> None:
        """Free what `reserve` gave; for `PortReservation.free` only, which calls it once."""
        del self._by_address[key]
        uses = self._uses.pop(port)
        if uses > 1:
            self._uses[port] = uses - 1
        elif port in EPHEMERAL_PORTS:
            (self._free or self._free_ports()).append(port)

    def find(self, ip: IpAddress, port: int) -> PortReservation | None:
        """Who is reached at `ip` and `port`: a reservation of that address, or of the wildcard."""
        return self.find_number(int(ip), port)

    def find_number(self, number: int, port: int) -> PortReservation | None:
        """As `find`, for an address as a number."""
        by_address = self._by_address
        return by_address.get(number << 16 | port) or by_address.get(port)

    def reserve_foreign(self, ip: IpAddress, port: int, owner: object) -> PortReservation:
        """Let a bridge answer for an address that is not the network's own. It conflicts with no other.

        Raises:
            OSError: EADDRINUSE if a bridge does so already.
        """
        key = int(ip) << 16 | port
        if key in self._foreign:
            raise _in_use(SocketAddress(ip, port))
        reservation = ForeignAddress(self, self._registry, SocketAddress(ip, port), owner)
        self._foreign[key] = reservation
        return reservation

    def give_back_foreign(self, address: SocketAddress) -> None:
        """Free what `reserve_foreign` gave, if it did; for `ForeignAddress.free` only, which calls it once."""
        self._foreign.pop(int(address.ip) << 16 | address.port, None)

    def find_foreign(self, ip: IpAddress, port: int) -> PortReservation | None:
        """The bridge that answers for an address that is not the network's own."""
        return self._foreign.get(int(ip) << 16 | port)

    def _free_ports(self) -> _FreePorts:
        # Made late: most networks never see IPv6, and those with few sockets should stay small.
        if self._free is None:
            self._free = _FreePorts()
        return self._free
