"""A private IP network: what exists in it, and how to get more."""

from __future__ import annotations

import errno
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final

import trio

from wasi_sockets.network._address import (
    LOOPBACK,
    IpAddress,
    SocketAddress,
    is_loopback,
    parse_ip,
)
from wasi_sockets.network._border import Border
from wasi_sockets.network._lookup import Lookup, start_lookup
from wasi_sockets.network._names import DEFAULT_ZONE, NameTable
from wasi_sockets.network._pipe import DEFAULT_CAPACITY
from wasi_sockets.network._policy import Denial, Policy
from wasi_sockets.network._ports import PortReservation, PortTable
from wasi_sockets.network._registry import NetworkStatistics, Protocol, Registry, SocketRecord, SocketState
from wasi_sockets.network._serving import Handler, serve
from wasi_sockets.network._streams import TcpListener, TcpStream
from wasi_sockets.network._tcp import (
    DEFAULT_BACKLOG,
    ConnectAttempt,
    ConnectTarget,
    TcpBacklog,
    TcpConnection,
)
from wasi_sockets.network._udp import DEFAULT_RECEIVE_BUFFER, UdpEndpoint
from wasi_sockets.network._udp_socket import UdpSocket
from wasi_sockets.network._waiting import wait_for
from wasi_sockets.network.trio_sockets import install

__all__ = ["Network"]


def _os_error(number: int, about: object) -> OSError:
    return OSError(number, f"{os.strerror(number)}: {about}")


class Network:
    """A private IP network in memory, apart from every other and from the machine's.

    All of 127.0.0.0/8 and ::1 are its own addresses, and it has no others. `reserve`, `start_listen` and
    `start_connect` never wait; `listen_tcp` and `connect_tcp` stand on them for trio programs, as `open_udp` does
    on `start_udp`. Not for use by several threads at once.

    Args:
        name: for people, in listings and messages.
        buffer_size: bytes that each direction of a connection holds.
        policy: what its sockets may do, see `Policy`; without one all inside, and nothing is outside.
        zone: the reserved zone of names, see `_names.py`: ``<service>.svc.internal``, ``host.internal``.
        zone_aliases: other names of that zone, such as `WASMCLOUD_ZONE`.
        clock: gives seconds, for the age of sockets; `trio.current_time` follows a `MockClock`.

    Attributes:
        name: as given.
        closed: after `close`.
    """

    __slots__ = ("_border", "_buffer_size", "_names", "_ports", "_registry", "closed", "name")

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
        if buffer_size < 1:
            raise ValueError(f"buffer_size must be at least 1, not {buffer_size}")
        self.name: Final = name
        self.closed = False
        self._buffer_size: Final = buffer_size
        self._registry: Final = Registry(clock)
        self._border: Final = Border(policy, clock)
        self._names: Final = NameTable(zone, zone_aliases)
        self._ports: Final[dict[tuple[Protocol, int], PortTable]] = {
            ("tcp", 4): PortTable(self._registry, "tcp"),
            ("tcp", 6): PortTable(self._registry, "tcp"),
            ("udp", 4): PortTable(self._registry, "udp"),
            ("udp", 6): PortTable(self._registry, "udp"),
        }

    def __repr__(self) -> str:
        return f"<Network {self.name!r}{', closed' if self.closed else ''}>"

    # The synchronous core

    def reserve(self, protocol: Protocol, address: SocketAddress, *, owner: object = None) -> PortReservation:
        """Take a port at an address of this network or at the wildcard address; port 0 takes a free one.

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
        if self._border.concerns:
            self._border.admit("bind", address, owner)
        reservation = ports.reserve(ip, port, owner)
        self._registry.add(reservation)
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
                is of the other IP version, ENETDOWN after `close`. The reservation is always as it was.
            ValueError: on a port outside 0..65535, or a reservation of no TCP port.
        """
        if self.closed:
            raise _os_error(errno.ENETDOWN, self)
        ip, port = remote
        if not 0 <= port <= 65535:
            raise ValueError(f"port must be in 0..65535, not {port}")
        if not int(ip):
            # As on Linux, where connecting to the wildcard address is connecting to this host: to the socket's own
            # address, if it has one.
            own = None if reservation is None else reservation.address.ip
            ip = own if own is not None and int(own) and own.version == ip.version else LOOPBACK[ip.version]
            remote = SocketAddress(ip, port)
        border = self._border
        target: ConnectTarget | None = None
        if owner is None and reservation is not None:
            owner = reservation.owner
        if not is_loopback(ip):
            target = border.leave("connect", remote, owner).connects
        elif border.concerns:
            border.admit("connect", remote, owner)
        ports = self._ports["tcp", ip.version]
        if reservation is None:
            try:
                # 127.0.0.1 also towards 127.0.0.2, as Linux chooses the source address.
                reservation = ports.reserve(LOOPBACK[ip.version], 0, owner)
            except OSError as error:
                raise _os_error(errno.EADDRNOTAVAIL, "no ephemeral port is free") from error
        else:
            if reservation.protocol != "tcp":
                raise ValueError(f"not a TCP port: {reservation}")
            if reservation.address.ip.version != ip.version:
                raise _os_error(errno.EAFNOSUPPORT, remote)
        if target is None and (found := ports.find(ip, port)) is not None:
            target = found.listener
            if border.concerns and not border.permits("accept", reservation.address, port, found.owner):
                target = None
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
        return start_lookup(self._names, self._border, name, owner)

    async def lookup(self, name: str, *, owner: object = None) -> list[IpAddress]:
        """The addresses of a name, at least one, best first; as `start_lookup`.

        Raises:
            socket.gaierror: EAI_NONAME if nobody knows it, EAI_FAIL if the policy does not allow it or its answer,
                EAI_AGAIN while nothing leads out.
        """
        lookup = self.start_lookup(name, owner=owner)
        if lookup.pending:
            try:
                await wait_for(lookup.done)
            finally:
                lookup.cancel()
        else:
            await trio.lowlevel.checkpoint()
        if lookup.addresses is None:
            raise lookup.error or RuntimeError(f"a lookup without an answer: {name!r}")
        return lookup.addresses

    # For trio programs

    def listen_tcp(
        self,
        port: int = 0,
        host: str | IpAddress = "127.0.0.1",
        backlog: int = DEFAULT_BACKLOG,
        *,
        owner: object = None,
    ) -> TcpListener:
        """Listen, as in ``trio.serve_listeners(handler, [network.listen_tcp(8080)])``.

        Args:
            port: 0 for a free one; see `TcpListener.local_address`.
            host: an address or a name, of which the first address counts; ``"0.0.0.0"`` or ``"::"`` for all
                addresses of that IP version.
            backlog: connections that wait for accept before further connects have to wait.
            owner: see `release`.

        Raises:
            OSError: as from `reserve`.
            socket.gaierror: if the name is not known.
        """
        ip = self.resolve(host)[0] if isinstance(host, str) else host
        reservation = self.reserve("tcp", SocketAddress(ip, port), owner=owner)
        return TcpListener(self.start_listen(reservation, backlog))

    async def serve_tcp(
        self,
        handler: Handler,
        port: int = 0,
        host: str | IpAddress = "127.0.0.1",
        *,
        owner: object = None,
        handler_nursery: trio.Nursery | None = None,
        task_status: trio.TaskStatus[list[TcpListener]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve connections with a task for each until cancelled, as `trio.serve_tcp` does for real ones.

        Faster than `trio.serve_listeners`: the connect itself starts the handler, without a turn of the loop for an
        accepting task. The handler has the context variables of whoever connected.

        Args:
            handler: called with each connection, which is closed when it returns. What it raises ends the serving.
            port: 0 for a free one; the listener is what `nursery.start` returns, in a list.
            host: as for `listen_tcp`.
            owner: see `release`.
            handler_nursery: for the handlers' tasks; one of its own by default.
            task_status: for `nursery.start`.

        Returns:
            When somebody has closed the listener, and the handlers in a nursery of its own have returned.

        Raises:
            OSError: as from `reserve`.
            socket.gaierror: if the name is not known.
        """
        await serve(self, handler, port, host, owner, handler_nursery, task_status)

    async def connect_tcp(self, host: str | IpAddress, port: int, *, owner: object = None) -> TcpStream:
        """Connect, waiting while the listener's backlog is full. The addresses of a name are tried in order,
        and the error is that of the last one.

        Args:
            host: an address or a name.
            port: in 1..65535.
            owner: see `release`.

        Raises:
            ConnectionRefusedError: if nobody listens there, or the listener closed meanwhile.
            ConnectionResetError: if the network closed, or released the owner, meanwhile.
            OSError: as from `start_connect`.
            socket.gaierror: if the name is not known.
        """
        if isinstance(host, str):
            addresses = await self.lookup(host, owner=owner)
        else:
            await trio.lowlevel.checkpoint()
            addresses = [host]
        for ip in addresses[:-1]:
            try:
                return TcpStream(await self._connect(SocketAddress(ip, port), owner))
            except ConnectionResetError:
                raise  # somebody ended this connect; another address is no answer to that
            except OSError:
                continue
        return TcpStream(await self._connect(SocketAddress(addresses[-1], port), owner))

    async def _connect(self, remote: SocketAddress, owner: object) -> TcpConnection:
        attempt = self.start_connect(remote, owner=owner)
        if attempt.state == "pending":
            changed = trio.Event()
            attempt.done.add(changed.set)
            try:
                await changed.wait()
            except BaseException:
                attempt.cancel()
                raise
        attempt.raise_for_state()
        connection = attempt.connection
        if connection is None:
            raise RuntimeError(f"{attempt} has no connection")
        return connection

    def open_udp(
        self,
        port: int = 0,
        host: str | IpAddress = "127.0.0.1",
        *,
        receive_buffer: int = DEFAULT_RECEIVE_BUFFER,
        owner: object = None,
    ) -> UdpSocket:
        """A UDP socket, as in ``async with network.open_udp(53) as socket: ...``.

        Args:
            port: 0 for a free one; see `UdpSocket.local_address`.
            host: an address or a name, of which the first address counts; ``"0.0.0.0"`` or ``"::"`` for all
                addresses of that IP version.
            receive_buffer: bytes of datagrams that may wait to be received, each counting
                `DATAGRAM_OVERHEAD` more; what comes on top is dropped.
            owner: see `release`.

        Raises:
            OSError: as from `reserve`.
            socket.gaierror: if the name is not known.
            ValueError: if `receive_buffer` is below 1.
        """
        if receive_buffer < 1:
            raise ValueError(f"receive_buffer must be at least 1, not {receive_buffer}")
        ip = self.resolve(host)[0] if isinstance(host, str) else host
        reservation = self.reserve("udp", SocketAddress(ip, port), owner=owner)
        return UdpSocket(self.start_udp(reservation, receive_buffer), self.resolve)

    def installed(self, *, owner: object = None) -> AbstractContextManager[None]:
        """Make this network the one that `trio.socket` sees: ``with network.installed(): ...``.

        Within it every IP socket and every name lookup of trio in this `trio.run`, in whatever task, is of this
        network, and so is what stands on them, unmodified: `trio.open_tcp_stream`, `trio.serve_tcp`, httpx... What
        was made within keeps working after it. Contexts may be nested; the innermost counts. Unix sockets stay the
        kernel's, and so does what code makes of `socket.socket` by itself.

        Args:
            owner: of all the sockets; see `release`.

        Raises:
            RuntimeError: outside of `trio.run`.
        """
        return install(self, owner)

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

    def close(self) -> None:
        """End everything: connections are reset, ports freed, and nothing new can be made. Idempotent."""
        self.closed = True
        for endpoint in self._registry:
            endpoint.abort()
