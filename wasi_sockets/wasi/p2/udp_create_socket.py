"""`wasi:sockets/udp-create-socket`."""

from __future__ import annotations

from collections.abc import Callable

from wasi_sockets.component.values import Err
from wasi_sockets.sockets import AddressFamily, ErrorCode, UdpSocket, create_udp_socket
from wasi_sockets.wasi.host import Host
from wasi_sockets.wasi.p2.error_codes import failure

__all__ = ["functions"]


def functions(host: Host) -> dict[tuple[str, str], Callable[..., object]]:
    """The functions of this interface for one guest."""
    context = host.sockets

    def create(address_family: str) -> UdpSocket | Err:
        socket = create_udp_socket(context, AddressFamily(address_family))
        return failure(socket) if isinstance(socket, ErrorCode) else socket

    return {("wasi:sockets/udp-create-socket", "create-udp-socket"): create}
