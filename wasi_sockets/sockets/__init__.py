"""What `wasi:sockets` says about sockets: states, arguments, options, errors, names.

Sans-I/O and of no particular WASI version: operations return at once, and whoever has to wait is told when to
ask again. Imports only `errors` and `network`.
"""

from wasi_sockets.sockets.addresses import AddressFamily
from wasi_sockets.sockets.context import DEFAULT_MAX_LOOKUPS, DEFAULT_MAX_SOCKETS, SocketContext
from wasi_sockets.sockets.datagrams import IncomingDatagrams, OutgoingDatagrams
from wasi_sockets.sockets.error_codes import ErrorCode, from_os_error
from wasi_sockets.sockets.name_lookup import ResolveAddressStream, resolve_addresses
from wasi_sockets.sockets.options import TcpOption, UdpOption
from wasi_sockets.sockets.tcp import TcpSocket, create_tcp_socket
from wasi_sockets.sockets.udp import UdpSocket, create_udp_socket

__all__ = [
    "DEFAULT_MAX_LOOKUPS",
    "DEFAULT_MAX_SOCKETS",
    "AddressFamily",
    "ErrorCode",
    "IncomingDatagrams",
    "OutgoingDatagrams",
    "ResolveAddressStream",
    "SocketContext",
    "TcpOption",
    "TcpSocket",
    "UdpOption",
    "UdpSocket",
    "create_tcp_socket",
    "create_udp_socket",
    "from_os_error",
    "resolve_addresses",
]
