"""`wasi:sockets/tcp-create-socket`."""

from __future__ import annotations

from collections.abc import Callable

from wasi_sockets.component.values import Err
from wasi_sockets.sockets import AddressFamily, ErrorCode, TcpSocket, create_tcp_socket
from wasi_sockets.wasi.host import Host
from wasi_sockets.wasi.p2.error_codes import failure

__all__ = ["functions"]

# Calling an enum takes longer than making the socket.
_FAMILIES = {family.value: family for family in AddressFamily}


def functions(host: Host) -> dict[tuple[str, str], Callable[..., object]]:
    """The functions of this interface for one guest."""
    context = host.sockets

    def create(address_family: str) -> TcpSocket | Err:
        socket = create_tcp_socket(context, _FAMILIES[address_family])
        return failure(socket) if isinstance(socket, ErrorCode) else socket

    return {("wasi:sockets/tcp-create-socket", "create-tcp-socket"): create}
