"""The checks, a file for each subject. Importing this package fills `CHECKS`, in this order."""

from wasi_sockets.conformance.checks import (  # noqa: I001  # the order is that of the report
    tcp_bind,
    tcp_connect,
    tcp_states,
    tcp_options,
    tcp_streams,
    polling,
    udp_sockets,
    udp_datagrams,
    names,
    denials,
    lifetimes,
    traps,
)

__all__ = [
    "denials",
    "lifetimes",
    "names",
    "polling",
    "tcp_bind",
    "tcp_connect",
    "tcp_options",
    "tcp_states",
    "tcp_streams",
    "traps",
    "udp_datagrams",
    "udp_sockets",
]
