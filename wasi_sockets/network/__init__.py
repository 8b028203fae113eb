"""A private IP network in memory: addresses, ports, names, TCP with all the ways it can end, and UDP.

Useful with no WebAssembly at all::

    network = Network()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, handler, [network.listen_tcp(8080)])
        stream = await network.connect_tcp("localhost", 8080)

`Network` and the streams are for trio programs. Under them is a synchronous core, which never waits: it
tries, and calls back when another try may succeed (`Pipe`, `TcpConnection`, `TcpBacklog`, `ConnectAttempt`,
`UdpEndpoint`).
"""

from __future__ import annotations

from wasi_sockets.network._address import IpAddress, SocketAddress
from wasi_sockets.network._budget import LEAST_BUFFERED
from wasi_sockets.network._lookup import Lookup
from wasi_sockets.network._names import DEFAULT_ZONE, HOST_ADDRESS, WASMCLOUD_ZONE
from wasi_sockets.network._network import Network
from wasi_sockets.network._pipe import DEFAULT_CAPACITY, Pipe
from wasi_sockets.network._policy import Allow, Denial, Deny, Policy, PolicyDenied, Reason, Rule
from wasi_sockets.network._ports import EPHEMERAL_PORTS, PortReservation
from wasi_sockets.network._registry import NetworkStatistics, SocketRecord
from wasi_sockets.network._streams import SocketView, TcpListener, TcpStream
from wasi_sockets.network._tcp import DEFAULT_BACKLOG, ConnectAttempt, TcpBacklog, TcpConnection
from wasi_sockets.network._tracing import continue_trace
from wasi_sockets.network._udp import (
    DATAGRAM_OVERHEAD,
    DEFAULT_RECEIVE_BUFFER,
    MAX_DATAGRAM,
    Datagram,
    UdpEndpoint,
)
from wasi_sockets.network._udp_socket import UdpSocket
from wasi_sockets.network._waiters import Waiters

__all__ = [
    "DATAGRAM_OVERHEAD",
    "DEFAULT_BACKLOG",
    "DEFAULT_CAPACITY",
    "DEFAULT_RECEIVE_BUFFER",
    "DEFAULT_ZONE",
    "EPHEMERAL_PORTS",
    "HOST_ADDRESS",
    "LEAST_BUFFERED",
    "MAX_DATAGRAM",
    "WASMCLOUD_ZONE",
    "Allow",
    "ConnectAttempt",
    "Datagram",
    "Denial",
    "Deny",
    "IpAddress",
    "Lookup",
    "Network",
    "NetworkStatistics",
    "Pipe",
    "Policy",
    "PolicyDenied",
    "PortReservation",
    "Reason",
    "Rule",
    "SocketAddress",
    "SocketRecord",
    "SocketView",
    "TcpBacklog",
    "TcpConnection",
    "TcpListener",
    "TcpStream",
    "UdpEndpoint",
    "UdpSocket",
    "Waiters",
    "continue_trace",
]
