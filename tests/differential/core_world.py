"""The virtual side as the synchronous core of the network."""

from __future__ import annotations

from tests.differential.operations import (
    Abort,
    Accept,
    Bind,
    Close,
    Connect,
    Disconnect,
    Listen,
    LocalAddress,
    Open,
    Operation,
    Receive,
    RemoteAddress,
    Send,
    SendTo,
    Shutdown,
)
from tests.differential.outcomes import DONE, WOULD_BLOCK, Outcome, failure, payload
from tests.differential.virtual import VirtualSocket, VirtualWorld, datagram, pair
from wasi_sockets.network import TcpConnection, UdpEndpoint

__all__ = ["CoreWorld"]


class CoreWorld(VirtualWorld):
    """The synchronous core of `wasi_sockets.network`, in the states in which it has the operation."""

    name = "core"

    def can(self, operation: Operation) -> bool:
        each = self.sockets[operation.socket]
        phase = each.phase
        match operation:
            case Bind():
                return phase == "unbound"
            case Listen():
                return phase == "bound"
            case Connect():
                return each.endpoint is not None or (phase in ("unbound", "bound") and each.protocol == "tcp")
            case Accept():
                return phase == "listening"
            case Shutdown() | RemoteAddress():
                return phase == "connected"
            case LocalAddress():
                return phase in ("bound", "listening", "connected")
            case Send() | SendTo() | Receive() | Disconnect():
                return each.endpoint is not None
            case Close() | Abort():
                return True
        return False

    def _new(self, operation: Open) -> VirtualSocket:
        return VirtualSocket(operation.protocol, operation.version)

    def _end(self, each: VirtualSocket) -> None:
        for part in (each.reservation, each.attempt):
            if part is not None:
                part.abort()
        for other in (each.connection, each.listener, each.endpoint):
            if other is not None:
                other.close()

    def _do(self, operation: Operation, each: VirtualSocket, serial: int) -> Outcome:
        try:
            if each.endpoint is not None:
                return self._datagrams(operation, each, each.endpoint, serial)
            return self._control(operation, each)
        except OSError as error:
            return failure(error)

    def _control(self, operation: Operation, each: VirtualSocket) -> Outcome:
        network = self.network
        number = operation.socket
        match operation:
            case Bind():
                address = self._address(operation.address)
                if each.protocol == "udp":
                    reservation = network.reserve("udp", address)
                    each.endpoint = network.start_udp(reservation)
                else:
                    each.reservation = reservation = network.reserve("tcp", address)
                self.ports[number] = reservation.address.port
            case Listen() if each.reservation is not None:
                each.listener = network.start_listen(each.reservation, operation.backlog)
                each.reservation = None
            case Connect():
                attempt = network.start_connect(
                    self._address(operation.address), reservation=each.reservation
                )
                each.reservation = None
                if attempt.state == "pending":
                    each.attempt = attempt
                    return WOULD_BLOCK
                if attempt.connection is None:
                    del self.sockets[number]
                attempt.raise_for_state()
                self.ports[number] = attempt.local_address.port
                each.connection = attempt.connection
            case Accept() if each.listener is not None:
                connection = each.listener.try_accept()
                if connection is None:
                    return WOULD_BLOCK
                self._put(operation.into, VirtualSocket("tcp", each.version, connection=connection))
                self.ports[operation.into] = connection.local_address.port
                return pair(connection.remote_address)
            case Shutdown() if each.connection is not None:
                if operation.how != "receive":
                    each.connection.shutdown_send()
                if operation.how != "send":
                    each.connection.shutdown_receive()
            case LocalAddress():
                named = each.connection or each.listener or each.reservation
                if named is None:
                    raise RuntimeError(f"{each} has no address")
                return pair(named.address if not isinstance(named, TcpConnection) else named.local_address)
            case RemoteAddress() if each.connection is not None:
                return pair(each.connection.remote_address)
            case Close():
                self._end(self.sockets.pop(number))
            case Abort():
                del self.sockets[number]
                if each.connection is not None:
                    each.connection.abort()
                else:
                    self._end(each)
            case _:
                raise RuntimeError(f"{operation} on {each}")
        return DONE

    def _datagrams(
        self, operation: Operation, each: VirtualSocket, endpoint: UdpEndpoint, serial: int
    ) -> Outcome:
        match operation:
            case Connect():
                endpoint.connect(self._address(operation.address))
            case Disconnect():
                endpoint.disconnect()
                return pair(endpoint.local_address)
            case Send():
                endpoint.send(payload(serial, operation.size))
                return Outcome("sent", operation.size)
            case SendTo():
                endpoint.send(payload(serial, operation.size), self._address(operation.address))
                return Outcome("sent", operation.size)
            case Receive():
                return datagram(endpoint.try_receive())
            case LocalAddress():
                return pair(endpoint.local_address)
            case RemoteAddress() if endpoint.remote_address is not None:
                return pair(endpoint.remote_address)
            case Close() | Abort():
                self._end(self.sockets.pop(operation.socket))
            case _:
                raise RuntimeError(f"{operation} on {each}")
        return DONE
