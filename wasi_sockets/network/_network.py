"""A private IP network for trio programs: the synchronous core, with waiting."""

from __future__ import annotations

import ssl
from contextlib import AbstractContextManager
from typing import Final

import trio

from wasi_sockets.network._address import IpAddress, SocketAddress, parse_ip
from wasi_sockets.network._core import NetworkCore
from wasi_sockets.network._hold import hold
from wasi_sockets.network._own_loop import OwnLoop
from wasi_sockets.network._registry import Protocol
from wasi_sockets.network._serving import Handler, serve
from wasi_sockets.network._streams import TcpListener, TcpStream
from wasi_sockets.network._tcp import DEFAULT_BACKLOG, TcpConnection
from wasi_sockets.network._udp import DEFAULT_RECEIVE_BUFFER
from wasi_sockets.network._udp_socket import UdpSocket
from wasi_sockets.network._waiting import wait_for
from wasi_sockets.network.bridges import (
    Resolver,
    egress,
    forward,
    forward_udp,
    publish,
    publish_all,
    publish_udp,
)
from wasi_sockets.network.trio_sockets import install

__all__ = ["DEFAULT_READY_SECONDS", "Network"]

#: How long a published port holds connections while nobody listens.
DEFAULT_READY_SECONDS: Final = 5.0


def _check_port(name: str, port: object) -> None:
    if not isinstance(port, int):
        raise TypeError(f"{name} must be an int, such as 8080, not {port!r}")


def _check_goal(to: object) -> None:
    if not isinstance(to, tuple | list) or len(to) != 2 or not isinstance(to[0], str | IpAddress):
        raise TypeError(f"`to` must be a host and a port, such as ('db.example.com', 5432), not {to!r}")
    _check_port("the port in `to`", to[1])


def _real_address(host: str | IpAddress, port: int) -> SocketAddress:
    """A real address to listen at: no name, so that nobody else decides where that is."""
    ip = parse_ip("127.0.0.1" if host == "localhost" else host) if isinstance(host, str) else host
    if ip is None:
        raise ValueError(f"not an IP address: {host!r}")
    _check_port("port", port)
    if not 0 <= port <= 65535:
        raise ValueError(f"port must be in 0..65535, not {port}")
    return SocketAddress(ip, port)


class Network(NetworkCore):
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

    __slots__ = ()

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
            RuntimeError: if a trio loop in another thread uses this network.
        """
        _check_port("port", port)
        self._check_loop("listen_tcp")
        ip = self.resolve(host)[0] if isinstance(host, str) else host
        reservation = self.reserve("tcp", SocketAddress(ip, port), owner=owner)
        try:
            return TcpListener(self.start_listen(reservation, backlog))
        except BaseException:
            reservation.release()
            raise

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
            TypeError: `handler` returned something that cannot be awaited; it is to be an async function.
        """
        _check_port("port", port)
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
        if port.__class__ is not int:
            _check_port("port", port)
        if not isinstance(host, str):
            await trio.lowlevel.checkpoint()
            addresses = [host]
        elif (literal := parse_ip(host)) is not None:
            await trio.lowlevel.checkpoint()
            addresses = [literal]
        else:
            addresses = await self.lookup(host, owner=owner)
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
            RuntimeError: if a trio loop in another thread uses this network.
        """
        _check_port("port", port)
        self._check_loop("open_udp")
        if receive_buffer < 1:
            raise ValueError(f"receive_buffer must be at least 1, not {receive_buffer}")
        ip = self.resolve(host)[0] if isinstance(host, str) else host
        reservation = self.reserve("udp", SocketAddress(ip, port), owner=owner)
        return UdpSocket(self.start_udp(reservation, receive_buffer), self.resolve, self.lookup)

    def _check_loop(self, function: str) -> None:
        if self._own_loop is None:
            self._own_loop = OwnLoop()
        self._own_loop.check(function)

    async def until_listening(self, *ports: int) -> None:
        """Wait until connects to all of these TCP ports of 127.0.0.1 or ::1 would find a listener. A checkpoint."""
        await trio.lowlevel.checkpoint()
        while not all(map(self.listens, ports)):
            await wait_for(self._registry.listeners_changed)

    async def until_not_listening(self, *ports: int) -> None:
        """Wait until a connect to one of these TCP ports would find no listener. A checkpoint."""
        await trio.lowlevel.checkpoint()
        while all(map(self.listens, ports)):
            await wait_for(self._registry.listeners_changed)

    async def hold(
        self, port: int, within: float, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Let connects to a TCP port wait while nobody listens there, until cancelled.

            await nursery.start(network.hold, 8080, 5.0)

        For ports whose service restarts: who connects meanwhile need not try again.

        Args:
            port: in 1..65535.
            within: seconds that each connect waits at most before it is refused.
            task_status: for `nursery.start`.

        Raises:
            ValueError: if the port is held already, or none, or `within` is not positive.
        """
        _check_port("port", port)
        if not 1 <= port <= 65535:
            raise ValueError(f"port must be in 1..65535, not {port}")
        if not within > 0:
            raise ValueError(f"within must be a positive number of seconds, not {within}")
        await hold(self, port, within, task_status)

    # Bridges to the real network

    async def egress(
        self,
        *,
        resolver: Resolver | None = None,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Let out what the policy allows, until cancelled: ``await nursery.start(network.egress)``.

        Guests and host programs then connect, send and look names up as if the real addresses were of this network.
        A connect fails as the real one does. The other side sees this machine's address, a socket its virtual one.

        Args:
            resolver: looks names up, the system's resolver by default; the policy judges its answers.
            task_status: for `nursery.start`.

        Raises:
            ValueError: if the network has no policy.
            RuntimeError: if it is running already.
        """
        await egress(self, resolver, task_status)

    async def forward(
        self,
        port: int,
        to: tuple[str | IpAddress, int],
        *,
        host: str | IpAddress = "127.0.0.1",
        protocol: Protocol = "tcp",
        tls: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        task_status: trio.TaskStatus[SocketAddress] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Let a port of this network lead to a real host, until cancelled.

            await nursery.start(network.forward, 5432, ("db.example.com", 5432))

        No policy is asked about the real host: this is the permission. A connect waits until the real one stands,
        and fails as that does. The name is looked up for each connection. With UDP each sender has a real socket of
        its own, until nothing has gone through it for five minutes.

        Args:
            port: 0 for a free one; the address is what `nursery.start` returns.
            to: real host, a name or an address, and port.
            host: own address, as for `listen_tcp`; ``"host.internal"`` for what is this machine's.
            protocol: ``"tcp"`` or ``"udp"``.
            tls: speak TLS to the real host, with what this context trusts and the client certificate that it has;
                guests then speak plainly, and never see keys.
            server_hostname: the name that TLS asks for and verifies, instead of that in `to`.
            task_status: for `nursery.start`.

        Raises:
            OSError: as from `reserve`.
            socket.gaierror: if the own host's name is not known.
            ValueError: on TLS over UDP.
        """
        _check_port("port", port)
        _check_goal(to)
        ip = self.resolve(host)[0] if isinstance(host, str) else host
        listen = SocketAddress(ip, port)
        if protocol == "tcp":
            await forward(self, listen, to, tls, server_hostname, task_status)
        elif tls is not None:
            raise ValueError("TLS is spoken over TCP, not over UDP")
        else:
            await forward_udp(self, listen, to, task_status)

    async def publish(
        self,
        virtual_port: int,
        *,
        host: str | IpAddress = "127.0.0.1",
        port: int = 0,
        protocol: Protocol = "tcp",
        target: str | IpAddress = "localhost",
        ready_within: float = DEFAULT_READY_SECONDS,
        handler_nursery: trio.Nursery | None = None,
        task_status: trio.TaskStatus[SocketAddress] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Let a real port lead to a port of this network, until cancelled.

            address = await nursery.start(partial(network.publish, 8080, port=80))

        Whoever listens there sees the real peer's address. No policy is asked, except for rules that deny `accept`
        or `receive`. With UDP a peer is known until nothing has come or gone for five minutes, and may have another
        port in the network if its own is taken there.

        Args:
            virtual_port: where a service listens, now or later.
            host: real address to listen at, this machine only by default; ``"0.0.0.0"`` for all of IPv4.
            port: real port, 0 for a free one; the address is what `nursery.start` returns.
            protocol: ``"tcp"`` or ``"udp"``.
            target: own address of the service, or a name whose addresses are tried.
            ready_within: seconds that a TCP connection is held while nobody listens, such as during a restart; it is
                reset then.
            handler_nursery: for the tasks of TCP connections, which then outlive the accepting; one of its own by
                default.
            task_status: for `nursery.start`.

        Raises:
            OSError: EADDRINUSE, EACCES and others of the real port.
            socket.gaierror: if the target's name is not known.
        """
        _check_port("virtual_port", virtual_port)
        ips = self.resolve(target) if isinstance(target, str) else [target]
        real = _real_address(host, port)
        if protocol == "tcp":
            await publish(self, real, virtual_port, lambda: ips, ready_within, task_status, handler_nursery)
        else:
            await publish_udp(self, real, virtual_port, lambda: ips, task_status)

    async def publish_all(
        self,
        *,
        host: str | IpAddress = "127.0.0.1",
        ready_within: float = DEFAULT_READY_SECONDS,
        handler_nursery: trio.Nursery | None = None,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Let every TCP port where somebody listens in this network have the same real port, until cancelled.

        A port that cannot be had is logged, and the others go on.

        Args:
            host: real address to listen at, this machine only by default.
            ready_within: as for `publish`; the real port stays for as long after the listener is gone.
            handler_nursery: as for `publish`.
            task_status: for `nursery.start`.
        """
        await publish_all(self, _real_address(host, 0).ip, ready_within, task_status, handler_nursery)

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
