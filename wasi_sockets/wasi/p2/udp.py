"""`wasi:sockets/udp`. Its resources are a `UdpSocket`, its `IncomingDatagrams` and its `OutgoingDatagrams`; the
rules are in `wasi_sockets/sockets/`.

`subscribe` is missing: pollables belong to the shim, which asks the objects themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from wasi_sockets.component.values import Err
from wasi_sockets.sockets import ErrorCode, IncomingDatagrams, OutgoingDatagrams, UdpOption, UdpSocket
from wasi_sockets.wasi.p2.error_codes import failure, result
from wasi_sockets.wasi.p2.network import (
    IpSocketAddressValue,
    NetworkResource,
    from_socket_address,
    to_socket_address,
)

__all__ = ["FUNCTIONS"]

_INTERFACE: Final = "wasi:sockets/udp"


def _start_bind(
    socket: UdpSocket, network: NetworkResource, local_address: IpSocketAddressValue
) -> Err | None:
    return result(socket.start_bind(to_socket_address(local_address)))


def _finish_bind(socket: UdpSocket) -> Err | None:
    return result(socket.finish_bind())


def _stream(
    socket: UdpSocket, remote_address: IpSocketAddressValue | None
) -> tuple[IncomingDatagrams, OutgoingDatagrams] | Err:
    streams = socket.stream(None if remote_address is None else to_socket_address(remote_address))
    return failure(streams) if isinstance(streams, ErrorCode) else streams


def _local_address(socket: UdpSocket) -> IpSocketAddressValue | Err:
    address = socket.local_address()
    return failure(address) if isinstance(address, ErrorCode) else from_socket_address(address)


def _remote_address(socket: UdpSocket) -> IpSocketAddressValue | Err:
    address = socket.remote_address()
    return failure(address) if isinstance(address, ErrorCode) else from_socket_address(address)


def _address_family(socket: UdpSocket) -> str:
    return socket.family.value


def _getter(option: UdpOption) -> Callable[[UdpSocket], int]:
    def get(socket: UdpSocket) -> int:
        return socket.get_option(option)

    return get


def _setter(option: UdpOption) -> Callable[[UdpSocket, int], Err | None]:
    def set_(socket: UdpSocket, value: int) -> Err | None:
        return result(socket.set_option(option, value))

    return set_


def _receive(stream: IncomingDatagrams, max_results: int) -> list[dict[str, Any]] | Err:
    received = stream.receive(max_results)
    if isinstance(received, ErrorCode):
        return failure(received)
    return [{"data": data, "remote-address": from_socket_address(source)} for data, source in received]


def _send(stream: OutgoingDatagrams, datagrams: list[dict[str, Any]]) -> int | Err:
    outgoing = []
    for datagram in datagrams:
        remote: IpSocketAddressValue | None = datagram["remote-address"]
        outgoing.append((datagram["data"], None if remote is None else to_socket_address(remote)))
    sent = stream.send(outgoing)
    return failure(sent) if isinstance(sent, ErrorCode) else sent


_METHODS: Final[dict[str, Callable[..., object]]] = {
    "udp-socket.start-bind": _start_bind,
    "udp-socket.finish-bind": _finish_bind,
    "udp-socket.stream": _stream,
    "udp-socket.local-address": _local_address,
    "udp-socket.remote-address": _remote_address,
    "udp-socket.address-family": _address_family,
    "udp-socket.unicast-hop-limit": _getter(UdpOption.UNICAST_HOP_LIMIT),
    "udp-socket.set-unicast-hop-limit": _setter(UdpOption.UNICAST_HOP_LIMIT),
    "udp-socket.receive-buffer-size": _getter(UdpOption.RECEIVE_BUFFER_SIZE),
    "udp-socket.set-receive-buffer-size": _setter(UdpOption.RECEIVE_BUFFER_SIZE),
    "udp-socket.send-buffer-size": _getter(UdpOption.SEND_BUFFER_SIZE),
    "udp-socket.set-send-buffer-size": _setter(UdpOption.SEND_BUFFER_SIZE),
    "incoming-datagram-stream.receive": _receive,
    "outgoing-datagram-stream.check-send": OutgoingDatagrams.check_send,
    "outgoing-datagram-stream.send": _send,
}

FUNCTIONS: Final[dict[tuple[str, str], Callable[..., object]]] = {
    **{(_INTERFACE, f"[method]{name}"): method for name, method in _METHODS.items()},
    (_INTERFACE, "[resource-drop]udp-socket"): UdpSocket.close,
    (_INTERFACE, "[resource-drop]incoming-datagram-stream"): IncomingDatagrams.close,
    (_INTERFACE, "[resource-drop]outgoing-datagram-stream"): OutgoingDatagrams.close,
}
