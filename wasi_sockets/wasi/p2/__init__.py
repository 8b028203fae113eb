"""WASI 0.2: every function that a guest can call, one file per interface, on plain Python values.

Names and values are those of contract 1 in docs/architecture.md. What the shim answers itself (reading,
writing, polling, `subscribe`) has no function here.
"""

from __future__ import annotations

from collections.abc import Callable

from wasi_sockets.wasi.host import Host
from wasi_sockets.wasi.p2 import (
    error,
    instance_network,
    ip_name_lookup,
    network,
    stdio,
    streams,
    tcp,
    tcp_create_socket,
    udp,
    udp_create_socket,
)

__all__ = ["functions"]


def functions(host: Host) -> dict[tuple[str, str], Callable[..., object]]:
    """Every function of one guest, by `(interface without version, name)`."""
    return {
        **error.FUNCTIONS,
        **streams.FUNCTIONS,
        **network.FUNCTIONS,
        **instance_network.FUNCTIONS,
        **tcp.FUNCTIONS,
        **udp.FUNCTIONS,
        **tcp_create_socket.functions(host),
        **udp_create_socket.functions(host),
        **ip_name_lookup.functions(host),
        **stdio.functions(host),
    }
