"""What `wasi:sockets` says about sockets: states, arguments, options, errors, names.

Sans-I/O and of no particular WASI version: operations return at once, and whoever has to wait is told when to
ask again. Imports only `errors` and `network`. UDP will stand beside TCP (`udp.py`, `udp_states.py`).
"""

from wasi_sockets.sockets.addresses import AddressFamily
from wasi_sockets.sockets.context import DEFAULT_MAX_SOCKETS, SocketContext
from wasi_sockets.sockets.error_codes import ErrorCode, from_os_error
from wasi_sockets.sockets.name_lookup import ResolveAddressStream, resolve_addresses
from wasi_sockets.sockets.options import TcpOption
from wasi_sockets.sockets.tcp import TcpSocket, create_tcp_socket

__all__ = [
    "DEFAULT_MAX_SOCKETS",
    "AddressFamily",
    "ErrorCode",
    "ResolveAddressStream",
    "SocketContext",
    "TcpOption",
    "TcpSocket",
    "create_tcp_socket",
    "from_os_error",
    "resolve_addresses",
]
