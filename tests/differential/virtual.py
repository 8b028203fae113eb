"""The virtual side: what the two virtual worlds have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final

from tests.differential.operations import (
    Accept,
    Address,
    Bind,
    Connect,
    Disconnect,
    Drain,
    Flood,
    Listen,
    Open,
    Operation,
    PortOf,
    Receive,
    Send,
    SendTo,
    SetOption,
    Shutdown,
)
from tests.differential.outcomes import DONE, END, WOULD_BLOCK, Observation, Outcome, failure, payload
from wasi_sockets.network import (
    ConnectAttempt,
    Datagram,
    Network,
    Pipe,
    PortReservation,
    SocketAddress,
    TcpBacklog,
    TcpConnection,
    UdpEndpoint,
)
from wasi_sockets.sockets import (
    IncomingDatagrams,
    OutgoingDatagrams,
)

__all__ = ["VirtualSocket", "VirtualWorld", "datagram", "pair"]


@dataclass(eq=False, slots=True)
class VirtualSocket:
    """One socket: what the core made for it, and for WASI the socket itself.

    Attributes:
        protocol: "tcp" or "udp".
        version: of IP.
        reservation: while bound, until something takes it over.
        listener: while listening.
        attempt: while connecting.
        connection: once connected.
        endpoint: a bound UDP socket.
        wasi: WASI's socket.
        streams: WASI's two streams of a UDP socket.
    """

    protocol: str
    version: int
    reservation: PortReservation | None = None
    listener: TcpBacklog | None = None
    attempt: ConnectAttempt | None = None
    connection: TcpConnection | None = None
    endpoint: UdpEndpoint | None = None
    wasi: Any = None
    streams: tuple[IncomingDatagrams, OutgoingDatagrams] | None = None

    @property
    def phase(self) -> str:
        """Where it is in its life."""
        if self.connection is not None:
            return "connected"
        if self.attempt is not None:
            return "pending"
        if self.listener is not None:
            return "listening"
        if self.endpoint is not None:
            return "bound" if self.endpoint.remote_address is None else "connected"
        return "unbound" if self.reservation is None else "bound"


_TCP_DATA: Final = (Send, Receive, Flood, Drain)
_UDP_ONLY: Final = (SendTo, Disconnect)


@dataclass(eq=False)
class VirtualWorld(ABC):
    """All sockets of a sequence, on a virtual network.

    Attributes:
        network: where they are.
        sockets: those that can still be reached, by number.
        ports: the last local port of each number.
        kinds: the protocol and IP version of each number.
        unsafe: numbers whose port `connect` chose. At the kernel that may be a port where another program's
            connection is in TIME_WAIT, so that binding to it says nothing.
        late: listeners whose options were set while somebody waited to be accepted, and whom they accepted since.
        flooded: pipes that have been written to the brim, so that the kernel holds another amount.
        widened: listeners that queue one connection more than they were told, as Linux does.
    """

    network: Network = field(default_factory=lambda: Network(buffer_size=64 * 1024))
    sockets: dict[int, VirtualSocket] = field(default_factory=dict)
    ports: dict[int, int] = field(default_factory=dict)
    kinds: dict[int, tuple[str, int]] = field(default_factory=dict)
    unsafe: set[int] = field(default_factory=set)
    late: set[int] = field(default_factory=set)
    flooded: set[Pipe] = field(default_factory=set)
    widened: set[TcpBacklog] = field(default_factory=set)
    lost: list[VirtualSocket] = field(default_factory=list)

    @abstractmethod
    def can(self, operation: Operation) -> bool:
        """Whether there is a way to ask for the operation."""

    @abstractmethod
    def _do(self, operation: Operation, each: VirtualSocket, serial: int) -> Outcome:
        """Do an operation on an existing socket."""

    def finish_connect(self, each: VirtualSocket) -> None:
        """A pending connect has been decided for the better."""
        if each.attempt is None or each.attempt.connection is None:
            raise RuntimeError(f"{each} is not connected")
        each.connection, each.attempt = each.attempt.connection, None

    @abstractmethod
    def _new(self, operation: Open) -> VirtualSocket: ...

    @abstractmethod
    def _end(self, each: VirtualSocket) -> None:
        """Close it."""

    def applicable(self, operation: Operation) -> bool:
        """Whether it can be asked for here: the socket exists, a port that it names is known, and `can`."""
        each = self.sockets.get(operation.socket)
        if isinstance(operation, Open):
            # A lost connect could not be looked at any more.
            return each is None or each.phase != "pending"
        if each is None:
            return False
        if isinstance(operation, Accept):
            replaced = self.sockets.get(operation.into)
            if replaced is not None and replaced.phase == "pending":
                return False
        if isinstance(operation, Bind | Connect | SendTo):
            if ip_address(operation.address.ip).version != each.version:
                return False  # Python does not even ask the kernel
            port = operation.address.port
            if isinstance(port, PortOf) and (
                port.socket not in self.ports
                or self.kinds[port.socket] != self.kinds[operation.socket]  # equal by chance, here or there
            ):
                return False
            if isinstance(operation, Bind) and isinstance(port, PortOf) and port.socket in self.unsafe:
                return False
        if each.protocol == "udp":
            if isinstance(operation, Listen | Accept | Flood | Drain | Shutdown):
                return False
        elif isinstance(operation, _UDP_ONLY):
            return False
        elif isinstance(operation, _TCP_DATA):
            return self._can_transfer(operation, each)
        return self.can(operation)

    def _can_transfer(self, operation: Operation, each: VirtualSocket) -> bool:
        connection = each.connection
        if connection is None:
            return False
        # What comes after a flood that has not been drained cannot be compared byte by byte.
        if isinstance(operation, Send | Flood):
            return connection.send_pipe not in self.flooded
        if isinstance(operation, Receive) and connection.receive_pipe in self.flooded:
            return operation.size <= 1000
        return True

    def apply(self, operation: Operation, serial: int) -> Outcome:
        """Do it."""
        if isinstance(operation, Open):
            self.ports.pop(operation.socket, None)
            self._put(operation.socket, self._new(operation))
            return DONE
        each = self.sockets[operation.socket]
        if isinstance(operation, Connect) and each.phase == "unbound":
            self.unsafe.add(operation.socket)
        if isinstance(operation, SetOption) and each.listener is not None and each.listener.queued:
            self.late.add(operation.socket)
        elif isinstance(operation, Accept) and operation.socket in self.late:
            outcome = self._do(operation, each, serial)
            self.late.add(operation.into)
            return outcome
        if each.protocol == "tcp" and isinstance(operation, _TCP_DATA):
            connection = each.connection
            if connection is None:
                raise RuntimeError(f"{operation} needs a connection")
            try:
                return self._transfer(operation, connection, serial)
            except OSError as error:
                return self.error(error)
        return self._do(operation, each, serial)

    def error(self, error: OSError) -> Outcome:
        """The outcome of an operation that raised."""
        return failure(error)

    def observe(self) -> dict[int, Observation]:
        """Look at all sockets."""
        found = {}
        for number, each in self.sockets.items():
            phase = each.phase
            if each.endpoint is not None:
                found[number] = Observation(each.endpoint.ready())
            elif phase == "listening" and each.listener is not None:
                found[number] = Observation(each.listener.queued > 0)
            elif phase == "pending" and each.attempt is not None:
                found[number] = Observation(None, each.attempt.state != "pending")
            elif each.connection is not None:
                receive, send = each.connection.receive_pipe, each.connection.send_pipe
                found[number] = Observation(
                    receive.available() != 0, send.permit() != 0, max(0, receive.available())
                )
        return found

    def close(self) -> None:
        """Close everything."""
        for each in [*self.sockets.values(), *self.lost]:
            self._end(each)
        self.sockets.clear()
        self.lost.clear()

    def ports_in_use(self) -> list[str]:
        """The ports of the sequence that the network does not give any more."""
        taken = []
        for number, port in self.ports.items():
            protocol, version = self.kinds[number]
            ip = ip_address("0.0.0.0" if version == 4 else "::")
            try:
                # The wildcard conflicts with every other address.
                self.network.reserve("tcp" if protocol == "tcp" else "udp", SocketAddress(ip, port)).release()
            except OSError as error:
                taken.append(f"{protocol}/{version} {error}")
        return taken

    def _put(self, number: int, new: VirtualSocket) -> None:
        old = self.sockets.pop(number, None)
        if old is not None:
            self.lost.append(old)
        self.sockets[number] = new
        self.kinds[number] = new.protocol, new.version
        self.unsafe.discard(number)
        self.late.discard(number)

    def _address(self, address: Address) -> SocketAddress:
        port = address.port
        return SocketAddress(
            ip_address(address.ip), self.ports[port.socket] if isinstance(port, PortOf) else port
        )

    def _transfer(self, operation: Operation, connection: TcpConnection, serial: int) -> Outcome:
        receive, send = connection.receive_pipe, connection.send_pipe
        if isinstance(operation, Send | Flood):
            data = payload(serial, operation.size if isinstance(operation, Send) else 1 << 20)
            permit = send.permit()
            if permit < 0:
                send.write(data)
                raise RuntimeError(f"{send} took what it did not permit")
            if not permit:
                return WOULD_BLOCK if isinstance(operation, Send) else Outcome("sent", 0)
            if isinstance(operation, Flood):
                self.flooded.add(send)
            if not send.discarding:
                data = data[:permit]
            send.write(data)
            return Outcome("sent", len(data))
        if isinstance(operation, Drain):
            data = receive.read(max(1, receive.buffered))
            available = receive.available()
            how = {0: "would-block", -1: "end"}.get(available)
            if how is None:
                how = str(self.error(ConnectionResetError(104, "")).value)
            if not receive.buffered:
                self.flooded.discard(receive)
            return Outcome("drained", (data, how))
        if isinstance(operation, Receive):
            available = receive.available()
            if available > 0:
                return Outcome("data", receive.read(operation.size))
            if available == -2:
                raise ConnectionResetError(104, "")
            return WOULD_BLOCK if available == 0 else END
        raise TypeError(operation)


def pair(address: SocketAddress) -> Outcome:
    """The outcome that is an address."""
    return Outcome("address", (str(address.ip), address.port))


def datagram(received: Datagram | None) -> Outcome:
    """The outcome of receiving a datagram, or none."""
    if received is None:
        return WOULD_BLOCK
    source = received.source
    return Outcome("datagram", (received.data, (str(source.ip), source.port)))
