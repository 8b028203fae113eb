"""The virtual side as the sockets of WASI."""

from __future__ import annotations

from typing import Any, Final

from tests.differential.operations import (
    Abort,
    Accept,
    Bind,
    Close,
    Connect,
    Disconnect,
    GetOption,
    Listen,
    LocalAddress,
    Open,
    Operation,
    Receive,
    RemoteAddress,
    Send,
    SendTo,
    SetOption,
    Shutdown,
)
from tests.differential.outcomes import DONE, WOULD_BLOCK, Outcome, payload
from tests.differential.virtual import VirtualSocket, VirtualWorld, datagram, pair
from wasi_sockets.network import SocketAddress
from wasi_sockets.sockets import (
    AddressFamily,
    ErrorCode,
    SocketContext,
    TcpOption,
    TcpSocket,
    UdpOption,
    UdpSocket,
    create_tcp_socket,
    create_udp_socket,
    from_os_error,
)

__all__ = ["WasiWorld"]

_SECOND: Final = 1_000_000_000


def _result(result: object) -> Outcome:
    return Outcome("error", result.value) if isinstance(result, ErrorCode) else DONE


class WasiWorld(VirtualWorld):
    """`wasi_sockets.sockets`, in every state; errors are WASI's."""

    name = "wasi"

    def __init__(self) -> None:
        super().__init__()
        self.context = SocketContext(self.network, self)

    def error(self, error: OSError) -> Outcome:
        return Outcome("error", from_os_error(error).value)

    def can(self, operation: Operation) -> bool:
        each = self.sockets[operation.socket]
        if each.protocol == "udp":
            if isinstance(operation, GetOption | SetOption):
                return operation.name == "hop-limit"
            if isinstance(operation, Send | SendTo | Receive):
                return each.phase != "unbound"
        return True

    def _new(self, operation: Open) -> VirtualSocket:
        family = AddressFamily.IPV4 if operation.version == 4 else AddressFamily.IPV6
        create = create_tcp_socket if operation.protocol == "tcp" else create_udp_socket
        socket = create(self.context, family)
        if isinstance(socket, ErrorCode):
            raise RuntimeError(f"no new socket: {socket}")
        return VirtualSocket(operation.protocol, operation.version, wasi=socket)

    def _end(self, each: VirtualSocket) -> None:
        for stream in each.streams or ():
            stream.close()
        each.wasi.close()

    def _do(self, operation: Operation, each: VirtualSocket, serial: int) -> Outcome:
        socket = each.wasi
        match operation:
            case SetOption() | GetOption():
                return self._option(operation, socket)
            case LocalAddress():
                return self._named(socket.local_address())
            case RemoteAddress():
                return self._named(socket.remote_address())
            case Close():
                self._end(self.sockets.pop(operation.socket))
                return DONE
            case Abort():
                if each.connection is not None:
                    each.connection.abort()
                self._end(self.sockets.pop(operation.socket))
                return DONE
            case Bind():
                outcome = _result(socket.start_bind(self._address(operation.address)))
                if outcome != DONE:
                    return outcome
                outcome = _result(socket.finish_bind())
                each.reservation = getattr(socket, "_reservation", None)
                each.endpoint = getattr(socket, "_endpoint", None)
                self._note_port(operation.socket)
                return outcome
        if each.protocol == "udp":
            return self._datagrams(operation, each, socket, serial)
        return self._control(operation, each, socket)

    def finish_connect(self, each: VirtualSocket) -> None:
        super().finish_connect(each)
        each.wasi.finish_connect()

    def _control(self, operation: Operation, each: VirtualSocket, socket: TcpSocket) -> Outcome:
        match operation:
            case Listen():
                if socket.state.name not in ("LISTENING", "CONNECTED", "CONNECT_IN_PROGRESS"):
                    socket.set_backlog_size(max(1, operation.backlog))  # 0 is refused
                outcome = _result(socket.start_listen())
                if outcome != DONE:
                    return outcome
                outcome = _result(socket.finish_listen())
                each.listener, each.reservation = socket._listener, None
                return outcome
            case Connect():
                outcome = _result(socket.start_connect(self._address(operation.address)))
                if outcome != DONE:
                    return outcome
                connection = socket.finish_connect()
                if connection is ErrorCode.WOULD_BLOCK:
                    each.attempt, each.reservation = socket._attempt, None
                    return WOULD_BLOCK
                if isinstance(connection, ErrorCode):
                    self._end(self.sockets.pop(operation.socket))
                    return _result(connection)
                each.connection, each.reservation = connection, None
                self._note_port(operation.socket)
                return DONE
            case Accept():
                accepted = socket.accept()
                if accepted is ErrorCode.WOULD_BLOCK:
                    return WOULD_BLOCK
                if isinstance(accepted, ErrorCode):
                    return _result(accepted)
                self._put(
                    operation.into,
                    VirtualSocket("tcp", each.version, connection=accepted[1], wasi=accepted[0]),
                )
                self._note_port(operation.into)
                return self._named(accepted[0].remote_address())
            case Shutdown():
                return _result(
                    socket.shutdown(receive=operation.how != "send", send=operation.how != "receive")
                )
        raise RuntimeError(f"{operation} on {each}")

    def _datagrams(
        self, operation: Operation, each: VirtualSocket, socket: UdpSocket, serial: int
    ) -> Outcome:
        match operation:
            case Connect():
                return self._stream(each, socket, self._address(operation.address))
            case Disconnect():
                outcome = self._stream(each, socket, None)
                return self._named(socket.local_address()) if outcome == DONE else outcome
        if each.streams is None:
            self._stream(each, socket, None)
        if each.streams is None:
            raise RuntimeError(f"{each} has no streams")
        incoming, outgoing = each.streams
        match operation:
            case Send() | SendTo():
                to = self._address(operation.address) if isinstance(operation, SendTo) else None
                outgoing.check_send()
                sent = outgoing.send([(payload(serial, operation.size), to)])
                return _result(sent) if isinstance(sent, ErrorCode) else Outcome("sent", operation.size)
            case Receive():
                received = incoming.receive(1)
                if isinstance(received, ErrorCode):
                    return _result(received)
                return datagram(received[0] if received else None)
        raise RuntimeError(f"{operation} on {each}")

    def _stream(self, each: VirtualSocket, socket: UdpSocket, remote: SocketAddress | None) -> Outcome:
        for stream in each.streams or ():
            stream.close()
        each.streams = None
        streams = socket.stream(remote)
        if isinstance(streams, ErrorCode):
            return _result(streams)
        each.streams = streams
        return DONE

    def _option(self, operation: SetOption | GetOption, socket: TcpSocket | UdpSocket) -> Outcome:
        tcp = isinstance(socket, TcpSocket)
        if operation.name == "hop-limit":
            option: Any = TcpOption.HOP_LIMIT if tcp else UdpOption.UNICAST_HOP_LIMIT
        else:
            option = TcpOption[operation.name.upper().replace("-", "_")]
        unit = _SECOND if operation.name in ("keep-alive-idle-time", "keep-alive-interval") else 1
        if isinstance(operation, SetOption):
            return _result(socket.set_option(option, operation.value * unit))
        value = socket.get_option(option)
        return _result(value) if isinstance(value, ErrorCode) else Outcome("value", value // unit)

    def _named(self, address: SocketAddress | ErrorCode) -> Outcome:
        return _result(address) if isinstance(address, ErrorCode) else pair(address)

    def _note_port(self, number: int) -> None:
        address = self.sockets[number].wasi.local_address()
        if isinstance(address, SocketAddress):
            self.ports[number] = address.port
