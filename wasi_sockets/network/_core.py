"""The synchronous core of a network: what exists in it, and how to get more without waiting."""

from __future__ import annotations

import errno
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from wasi_sockets import telemetry
from wasi_sockets.network._address import (
    LOOPBACK,
    IpAddress,
    SocketAddress,
    is_loopback,
    is_loopback_number,
    parse_ip,
)
from wasi_sockets.network._border import Border
from wasi_sockets.network._budget import Budget, admit_connection
from wasi_sockets.network._lookup import Lookup, start_lookup
from wasi_sockets.network._names import DEFAULT_ZONE, NameTable
from wasi_sockets.network._pipe import DEFAULT_CAPACITY
from wasi_sockets.network._policy import Denial, Policy
from wasi_sockets.network._ports import PortReservation, PortTable
from wasi_sockets.network._registry import NetworkStatistics, Protocol, Registry, SocketRecord, SocketState
from wasi_sockets.network._tcp import (
    DEFAULT_BACKLOG,
    ConnectAttempt,
    ConnectTarget,
    TcpBacklog,
    TcpConnection,
)
from wasi_sockets.network._tracing import connecting, looking_up, measurements
from wasi_sockets.network._udp import DEFAULT_RECEIVE_BUFFER, UdpEndpoint

if TYPE_CHECKING:
    from wasi_sockets.network._own_loop import OwnLoop

__all__ = ["NetworkCore"]


def _os_error(number: int, about: object) -> OSError:
    return OSError(number, f"{os.strerror(number)}: {about}")


class NetworkCore:
    """What a network can do without waiting, and without a trio loop; see `Network`, which adds the rest.

    The bridges to the outside stand on it, and know its private parts.
    """

    __slots__ = (
        "__weakref__",
        "_border",
        "_buffer_size",
        "_held",
        "_names",
        "_own_loop",
        "_ports",
        "_registry",
        "_workload",
        "closed",
        "name",
    )

    def __init__(
        self,
        name: str = "",
        *,
        buffer_size: int = DEFAULT_CAPACITY,
        policy: Policy | None = None,
        zone: str = DEFAULT_ZONE,
        zone_aliases: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not isinstance(name, str):
            hint = (
                ": give a policy as policy=..." if isinstance(name, Policy) else "; a policy goes to policy="
            )
            raise TypeError(f"name must be a str, not {type(name).__name__}{hint}")
        if policy is not None and not isinstance(policy, Policy):
            raise TypeError(f"policy must be a Policy, not {type(policy).__name__}")
        if buffer_size < 1:
            raise ValueError(f"buffer_size must be at least 1, not {buffer_size}")
        self.name: Final = name
        self.closed = False
        self._buffer_size: Final = buffer_size
        self._registry: Final = Registry(clock)
        self._border: Final = Border(policy, clock)
        self._names: Final = NameTable(zone, zone_aliases)
        self._own_loop: OwnLoop | None = None
        self._held: Final[dict[int, ConnectTarget]] = {}
        self._ports: Final[dict[tuple[Protocol, int], PortTable]] = {
            ("tcp", 4): PortTable(self._registry, "tcp"),
            ("tcp", 6): PortTable(self._registry, "tcp"),
            ("udp", 4): PortTable(self._registry, "udp"),
            ("udp", 6): PortTable(self._registry, "udp"),
        }

        telemetry.refresh()
        self._workload: Final = telemetry.point_attributes()
        telemetry.observe(self)

    def __del__(self) -> None:
        if hasattr(self, "_workload"):  # else it never came to be
            telemetry.retire(self)

    def __repr__(self) -> str:
        return f"<Network {self.name!r}{', closed' if self.closed else ''}>"

    # The synchronous core

    def reserve(
        self, protocol: Protocol, address: SocketAddress, *, owner: object = None, bridge: bool = False
    ) -> PortReservation:
        """Take a port at an address of this network or at the wildcard address; port 0 takes a free one.

        Args:
            protocol: whose port.
            address: where.
            owner: see `release`.
            bridge: it is for a bridge, which the operator made and no policy is asked about.

        Raises:
            OSError: EADDRNOTAVAIL if the address is not one of this network, EADDRINUSE if the port is taken
                or no port is free, ENETDOWN after `close`.
            PolicyDenied: if the policy does not allow it.
            ValueError: on an unknown protocol, or a port outside 0..65535.
        """
        ip, port = address
        ports = self._ports.get((protocol, ip.version))
        if ports is None:
            raise ValueError(f"unknown protocol: {protocol!r}")
        if not 0 <= port <= 65535:
            raise ValueError(f"port must be in 0..65535, not {port}")
        if self.closed:
            raise _os_error(errno.ENETDOWN, self)
        if int(ip) and not is_loopback(ip):
            raise _os_error(errno.EADDRNOTAVAIL, ip)
        if self._border.concerns and not bridge:
            self._border.admit("bind", address, owner)
        reservation = ports.reserve(ip, port, owner)
        reservation.enlist()
        return reservation

    def start_listen(self, reservation: PortReservation, backlog: int = DEFAULT_BACKLOG) -> TcpBacklog:
        """Listen at a reserved port. The listener takes over the reservation, and its owner.

        Raises:
            OSError: EINVAL if the reservation was released, or is in use by a listener or a connection.
            PolicyDenied: if the policy does not allow it. The reservation is then as it was.
            ValueError: if it is no reservation of a TCP port.
        """
        if reservation.protocol != "tcp":
            raise ValueError(f"not a TCP port: {reservation}")
        if self._border.concerns:
            self._border.admit("listen", reservation.address, reservation.owner)
        return TcpBacklog(self._registry, reservation, backlog, self._buffer_size)

    def start_connect(
        self,
        remote: SocketAddress,
        *,
        reservation: PortReservation | None = None,
        owner: object = None,
    ) -> ConnectAttempt:
        """Connect to a listener, from a reserved port or an ephemeral one.

        The result may be decided already. The attempt takes over the reservation and its owner: the port is
        free again as soon as the attempt fails or its connection is closed.

        Raises:
            PolicyDenied: if the policy does not allow it.
            OSError: ENETUNREACH if `remote` is no address of this network and nothing leads out, EADDRNOTAVAIL if
                no ephemeral port is free, EINVAL if the reservation was released or is in use, EAFNOSUPPORT if it
                is of the other IP version, ENETDOWN after `close`, EMFILE or ENOBUFS if the owner has a limit (see
                `limit`) and has as much. The reservation is always as it was.
            ValueError: on a port outside 0..65535, or a reservation of no TCP port.
        """
        if telemetry.tracing:
            connect = partial(self._start_connect, remote, reservation, owner)
            return connecting(self._registry, remote, owner, connect)
        return self._start_connect(remote, reservation, owner)

    def _start_connect(
        self, remote: SocketAddress, reservation: PortReservation | None, owner: object
    ) -> ConnectAttempt:
        if self.closed:
            raise _os_error(errno.ENETDOWN, self)
        ip, port = remote
        if not 0 <= port <= 65535:
            raise ValueError(f"port must be in 0..65535, not {port}")
        version, number = ip.version, int(ip)  # once: both are calls
        if not number:
            # As on Linux, where connecting to the wildcard address is connecting to this host: to the socket's own
            # address, if it has one.
            own = None if reservation is None else reservation.address.ip
            ip = own if own is not None and int(own) and own.version == version else LOOPBACK[version]
            remote = SocketAddress(ip, port)
            number = int(ip)
        border = self._border
        target: ConnectTarget | None = None
        if owner is None and reservation is not None:
            owner = reservation.owner
        if self._registry.budgets:
            admit_connection(self._registry.budgets, owner)
        if not is_loopback_number(number, version):
            target = border.leave("connect", remote, owner).connects
        elif border.concerns:
            border.admit("connect", remote, owner)
        ports = self._ports["tcp", version]
        if reservation is None:
            try:
                # 127.0.0.1 also towards 127.0.0.2, as Linux chooses the source address.
                reservation = ports.reserve(LOOPBACK[version], 0, owner)
            except OSError as error:
                raise _os_error(errno.EADDRNOTAVAIL, "no ephemeral port is free") from error
        else:
            if reservation.protocol != "tcp":
                raise ValueError(f"not a TCP port: {reservation}")
            if reservation.address.ip.version != version:
                raise _os_error(errno.EAFNOSUPPORT, remote)
        if target is None and (found := ports.find_number(number, port)) is not None:
            target = found.listener
            if border.concerns and not border.permits("accept", reservation.address, port, found.owner):
                return ConnectAttempt(self._registry, owner, reservation, remote, None)
        if target is None and self._held:
            target = self._held.get(port)
        return ConnectAttempt(self._registry, owner, reservation, remote, target)

    def start_udp(
        self, reservation: PortReservation, receive_buffer: int = DEFAULT_RECEIVE_BUFFER
    ) -> UdpEndpoint:
        """Receive datagrams at a reserved UDP port, and send from it. The endpoint takes over the reservation.

        Raises:
            OSError: EINVAL if the reservation was released, or is in use.
            ValueError: if it is no reservation of a UDP port.
        """
        if reservation.protocol != "udp":
            raise ValueError(f"not a UDP port: {reservation}")
        ports = self._ports["udp", reservation.address.ip.version]
        return UdpEndpoint(self._registry, ports, reservation, receive_buffer, self._border)

    def listens(self, port: int) -> bool:
        """Whether a connect to this TCP port of 127.0.0.1 or ::1 would find a listener."""
        return any(
            (found := self._ports["tcp", version].find(ip, port)) is not None and found.listener is not None
            for version, ip in LOOPBACK.items()
        )

    # Names

    def add_name(self, name: str, *addresses: str | IpAddress) -> None:
        """Let a name mean these addresses, in this order, instead of what it meant before.

        Raises:
            ValueError: without an address, if an address is none, or if `name` is no host name.
        """
        parsed: list[IpAddress] = []
        for address in addresses:
            ip = parse_ip(address) if isinstance(address, str) else address
            if ip is None:
                raise ValueError(f"not an IP address: {address!r}")
            parsed.append(ip)
        self._names.add(name, tuple(parsed))

    def add_service_name(self, service: str, *addresses: str | IpAddress) -> str:
        """Name a service ``<service>.svc.internal``, in the network's zone; 127.0.0.1 and ::1 without addresses.

        Returns:
            The full name.

        Raises:
            ValueError: if an address is none, or the service cannot be named so.
        """
        name = self._names.service_name(service)
        self.add_name(name, *(addresses or LOOPBACK.values()))
        return name

    def remove_name(self, name: str) -> None:
        """Forget a name.

        Raises:
            KeyError: if it is not known.
        """
        self._names.remove(name)

    @property
    def names(self) -> dict[str, tuple[IpAddress, ...]]:
        """A copy of all names and their addresses."""
        return self._names.names()

    def resolve(self, name: str) -> list[IpAddress]:
        """The addresses of a name of this network, or of an IP literal, at least one, best first.

        Nobody outside is asked; see `lookup`.

        Raises:
            socket.gaierror: EAI_NONAME if the name is not known here.
        """
        return self._names.resolve(name)

    def start_lookup(self, name: str, *, owner: object = None) -> Lookup:
        """Look a name up, as guests do: here, or with the real resolver if the policy allows it and `egress` runs.

        Names of the reserved zone never leave. The result may be decided already. What the resolver gave may then
        be connected and sent to where a rule has the name.

        Args:
            name: a name, or an IP literal, which is its own address.
            owner: for the records of denials.
        """
        if telemetry.tracing and parse_ip(name) is None:
            return looking_up(name, partial(start_lookup, self._names, self._border, name, owner))
        return start_lookup(self._names, self._border, name, owner)

    # What exists

    def sockets(self) -> list[SocketRecord]:
        """Every socket as it is: bound ports, listeners, connects in progress, both ends of connections, UDP."""
        now = self._registry.clock()
        return [endpoint.describe(now) for endpoint in self._registry]

    def statistics(self) -> NetworkStatistics:
        """Counts of what exists and of what happened. Takes time in proportion to the number of sockets."""
        registry = self._registry
        gate = self._border.gate
        states: Counter[SocketState] = Counter()
        buffered = 0
        delivered = registry.bytes_delivered
        now = registry.clock()
        for endpoint in registry:
            states[endpoint.describe(now).state] += 1
            if isinstance(endpoint, TcpConnection):
                buffered += endpoint.receive_pipe.buffered
                delivered += endpoint.receive_pipe.delivered
            elif isinstance(endpoint, UdpEndpoint):
                buffered += endpoint.buffered
        return NetworkStatistics(
            sockets=dict(states),
            buffered_bytes=buffered,
            connections_opened=registry.connections_opened,
            connections_refused=registry.connections_refused,
            connections_reset=registry.connections_reset,
            bytes_delivered=delivered,
            datagrams_delivered=registry.datagrams_delivered,
            datagrams_dropped=registry.datagrams_dropped,
            datagrams_unmatched=registry.datagrams_unmatched,
            denials={} if gate is None else dict(gate.counts),
        )

    def measurements(self) -> Iterable[telemetry.Measurement]:
        """What OpenTelemetry collects of it, see `telemetry_table.py`; of the workload in whose scope it was made."""
        return measurements(self, self._workload)

    @property
    def policy(self) -> Policy | None:
        """The policy that it was made with."""
        return None if self._border.gate is None else self._border.gate.policy

    def denials(self) -> list[Denial]:
        """The last 256 uses that the policy denied, or in audit mode would have denied, oldest first.

        Each different one is also logged once, to the logger ``wasi_sockets.policy``; all are counted in
        `statistics`.
        """
        return [] if self._border.gate is None else list(self._border.gate.recent)

    # The end

    def drain(self, owner: object) -> None:
        """Let the TCP listeners of `owner` (by identity) refuse new connects; what is connected goes on.

        Raises:
            ValueError: for None, which is everything that has no owner.
        """
        if owner is None:
            raise ValueError("None is no owner")
        for endpoint in self._registry.owned_by(owner):
            if isinstance(endpoint, TcpBacklog):
                endpoint.drain()

    def adopt(self, owner: object, port: int) -> None:
        """Give `owner` the TCP listeners at a port that nobody owns, and the connections that they took.

        Raises:
            ValueError: for None, which is no owner.
        """
        if owner is None:
            raise ValueError("None is no owner")
        for endpoint in self._registry.owned_by(None):
            if isinstance(endpoint, TcpBacklog):
                local = endpoint.address
            elif isinstance(endpoint, TcpConnection):
                local = endpoint.local_address
            else:
                continue
            if local.port == port:
                self._registry.remove(endpoint)
                endpoint.owner = owner
                self._registry.add(endpoint)

    def limit(
        self,
        owner: object,
        *,
        connections: int | None = None,
        buffered: int | None = None,
        datagrams: int | None = None,
    ) -> None:
        """Bound what the sockets of `owner` (by identity) are and hold together, until `release`; None: no limit.

        To be called before it has any. The rules are in `_budget.py`.

        Args:
            owner: whose.
            connections: TCP connections, those not yet accepted included.
            buffered: bytes, of both directions of its connections and of queued datagrams.
            datagrams: queued datagrams.

        Raises:
            ValueError: for None, which is everything that has no owner; for an owner that has a limit or sockets; or
                for a negative limit.
            TypeError: for a limit that is no whole number.
        """
        for name, most in (("connections", connections), ("buffered", buffered), ("datagrams", datagrams)):
            if most is not None and (isinstance(most, bool) or not isinstance(most, int)):
                raise TypeError(f"{name} must be an int, or None for no limit, not {most!r}")
            if most is not None and most < 0:
                raise ValueError(f"{name} must be at least 0, not {most}")
        if owner is None:
            raise ValueError("None is no owner")
        if id(owner) in self._registry.budgets or self._registry.owned_by(owner):
            raise ValueError("the owner has sockets already, or another limit")
        self._registry.budgets[id(owner)] = Budget(owner, connections, buffered, datagrams)

    def release(self, owner: object) -> None:
        """End everything of `owner` (by identity): connections are reset, ports freed. For a guest that died.

        What wakes up meanwhile may not create new sockets for the same owner.

        Raises:
            ValueError: for None, which is everything that has no owner.
        """
        if owner is None:
            raise ValueError("None is no owner")
        for endpoint in self._registry.owned_by(owner):
            endpoint.abort()
        self._registry.budgets.pop(id(owner), None)

    def close(self) -> None:
        """End everything: connections are reset, ports freed, and nothing new can be made. Idempotent."""
        self.closed = True
        for endpoint in self._registry:
            endpoint.abort()
