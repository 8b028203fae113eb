"""`wasi:sockets/tcp`. The resource `tcp-socket` is a `TcpSocket`; its rules are in `wasi_sockets/sockets/`.

`subscribe` is missing: pollables belong to the shim, which asks the socket itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from wasi_sockets.component.values import Err
from wasi_sockets.network import TcpConnection
from wasi_sockets.sockets import ErrorCode, TcpOption, TcpSocket
from wasi_sockets.wasi.p2.byte_streams import PipeInputStream, PipeOutputStream
from wasi_sockets.wasi.p2.error_codes import failure, result
from wasi_sockets.wasi.p2.network import (
    IpSocketAddressValue,
    NetworkResource,
    from_socket_address,
    to_socket_address,
)

__all__ = ["FUNCTIONS", "tcp_streams"]

_INTERFACE: Final = "wasi:sockets/tcp"


def tcp_streams(socket: TcpSocket, connection: TcpConnection) -> tuple[PipeInputStream, PipeOutputStream]:
    """The two streams of a connection, children of its socket.

    (wasmtime, `crates/wasi/src/p2/host/tcp.rs`, `finish_connect` and `accept`: `push_child`)
    """
    incoming = PipeInputStream(connection.receive_pipe, socket)
    outgoing = PipeOutputStream(connection.send_pipe, socket)
    incoming.peer = outgoing
    outgoing.peer = incoming
    return incoming, outgoing


def _start_bind(
    socket: TcpSocket, network: NetworkResource, local_address: IpSocketAddressValue
) -> Err | None:
    return result(socket.start_bind(to_socket_address(local_address)))


def _finish_bind(socket: TcpSocket) -> Err | None:
    return result(socket.finish_bind())


def _start_connect(
    socket: TcpSocket, network: NetworkResource, remote_address: IpSocketAddressValue
) -> Err | None:
    return result(socket.start_connect(to_socket_address(remote_address)))


def _finish_connect(socket: TcpSocket) -> tuple[PipeInputStream, PipeOutputStream] | Err:
    connection = socket.finish_connect()
    if isinstance(connection, ErrorCode):
        return failure(connection)
    return tcp_streams(socket, connection)


def _finish_early(socket: TcpSocket) -> tuple[PipeInputStream, PipeOutputStream] | None:
    """The streams right after `start-connect`, where that was decided at once; the engine hands them out later."""
    connection = socket.finish_connect_early()
    return None if connection is None else tcp_streams(socket, connection)


def _start_listen(socket: TcpSocket) -> Err | None:
    return result(socket.start_listen())


def _finish_listen(socket: TcpSocket) -> Err | None:
    return result(socket.finish_listen())


def _accept(socket: TcpSocket) -> tuple[TcpSocket, PipeInputStream, PipeOutputStream] | Err:
    accepted = socket.accept()
    if isinstance(accepted, ErrorCode):
        return failure(accepted)
    client, connection = accepted
    incoming, outgoing = tcp_streams(client, connection)
    return client, incoming, outgoing


def _local_address(socket: TcpSocket) -> IpSocketAddressValue | Err:
    address = socket.local_address()
    return failure(address) if isinstance(address, ErrorCode) else from_socket_address(address)


def _remote_address(socket: TcpSocket) -> IpSocketAddressValue | Err:
    address = socket.remote_address()
    return failure(address) if isinstance(address, ErrorCode) else from_socket_address(address)


def _address_family(socket: TcpSocket) -> str:
    return socket.family.value


def _set_listen_backlog_size(socket: TcpSocket, value: int) -> Err | None:
    return result(socket.set_backlog_size(value))


def _shutdown(socket: TcpSocket, shutdown_type: Literal["receive", "send", "both"]) -> Err | None:
    return result(socket.shutdown(receive=shutdown_type != "send", send=shutdown_type != "receive"))


def _getter(option: TcpOption) -> Callable[[TcpSocket], int | Err]:
    def get(socket: TcpSocket) -> int | Err:
        value = socket.get_option(option)
        return failure(value) if isinstance(value, ErrorCode) else value

    return get


def _setter(option: TcpOption) -> Callable[[TcpSocket, int], Err | None]:
    def set_(socket: TcpSocket, value: int) -> Err | None:
        return result(socket.set_option(option, value))

    return set_


def _get_keep_alive_enabled(socket: TcpSocket) -> bool | Err:
    value = socket.get_option(TcpOption.KEEP_ALIVE_ENABLED)
    return failure(value) if isinstance(value, ErrorCode) else bool(value)


_METHODS: Final[dict[str, Callable[..., object]]] = {
    "start-bind": _start_bind,
    "finish-bind": _finish_bind,
    "start-connect": _start_connect,
    "finish-connect": _finish_connect,
    "start-listen": _start_listen,
    "finish-listen": _finish_listen,
    "accept": _accept,
    "local-address": _local_address,
    "remote-address": _remote_address,
    "is-listening": TcpSocket.is_listening,
    "address-family": _address_family,
    "set-listen-backlog-size": _set_listen_backlog_size,
    "keep-alive-enabled": _get_keep_alive_enabled,
    "set-keep-alive-enabled": _setter(TcpOption.KEEP_ALIVE_ENABLED),
    "keep-alive-idle-time": _getter(TcpOption.KEEP_ALIVE_IDLE_TIME),
    "set-keep-alive-idle-time": _setter(TcpOption.KEEP_ALIVE_IDLE_TIME),
    "keep-alive-interval": _getter(TcpOption.KEEP_ALIVE_INTERVAL),
    "set-keep-alive-interval": _setter(TcpOption.KEEP_ALIVE_INTERVAL),
    "keep-alive-count": _getter(TcpOption.KEEP_ALIVE_COUNT),
    "set-keep-alive-count": _setter(TcpOption.KEEP_ALIVE_COUNT),
    "hop-limit": _getter(TcpOption.HOP_LIMIT),
    "set-hop-limit": _setter(TcpOption.HOP_LIMIT),
    "receive-buffer-size": _getter(TcpOption.RECEIVE_BUFFER_SIZE),
    "set-receive-buffer-size": _setter(TcpOption.RECEIVE_BUFFER_SIZE),
    "send-buffer-size": _getter(TcpOption.SEND_BUFFER_SIZE),
    "set-send-buffer-size": _setter(TcpOption.SEND_BUFFER_SIZE),
    "shutdown": _shutdown,
}

FUNCTIONS: Final[dict[tuple[str, str], Callable[..., object]]] = {
    **{(_INTERFACE, f"[method]tcp-socket.{name}"): method for name, method in _METHODS.items()},
    (_INTERFACE, "[resource-drop]tcp-socket"): TcpSocket.close,
    (_INTERFACE, "[early]tcp-socket.start-connect"): _finish_early,
    (_INTERFACE, "[take-back]tcp-socket.start-connect"): TcpSocket.unfinish_connect,
}
