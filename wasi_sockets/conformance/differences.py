"""What is known to be otherwise on stock wasmtime 47.0.1, and here on top of it, and where it says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["STOCK_47", "VIRTUAL_47"]

_CONFLICT: Final = (
    "wasmtime gives invalid-state up to 47, and concurrency-conflict since the sockets of 0.2 and 0.3 were made one"
    " (bytecodealliance/wasmtime#13934, in 48)"
)
_UNREPORTED: Final = (
    "wasmtime up to 47 wakes the pollable for the error of an unreachable port and then gives an empty list; corrected"
    " with a test of its own, p2_udp_send_to_closed_receiver (bytecodealliance/wasmtime#13933)"
)
_ALLOWED: Final = (
    "wasmtime 47 allows {} by default, and neither its C API nor the package has a way to deny it; the addresses are"
    " denied instead, at bind and connect"
)

STOCK_47: Final[Mapping[str, str]] = {
    **{
        f"tcp-states/{name}/{family}": _CONFLICT
        for name in ("binding-conflict", "listen-conflict", "connect-conflict")
        for family in ("ipv4", "ipv6")
    },
    **{f"udp-datagrams/to-closed-port/{family}": _UNREPORTED for family in ("ipv4", "ipv6")},
    "denied/tcp": _ALLOWED.format("TCP"),
    "denied/udp": _ALLOWED.format("UDP"),
    "errors/network-error-code": "the linker of the package leaves out functions that WIT calls unstable",
}
"""Name of a check -> why it fails there."""

VIRTUAL_47: Final[Mapping[str, str]] = {
    "errors/network-error-code": "wasmtime 45 to 47 cannot add to a stock interface the function that it leaves out",
}
"""The same for this library on wasmtime 45 to 47."""
