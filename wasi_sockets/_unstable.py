"""`network-error-code`, which stock WASI leaves out because WIT calls it unstable, for guests that import it.

The definition only makes such guests link. Their calls never come here: the interposer answers them.
"""

from __future__ import annotations

from typing import Any, Final

import wasmtime.component

from wasi_sockets.engine.bindings_versions import instances_can_be_reopened, stock_version
from wasi_sockets.errors import GuestTrap

__all__ = ["add_network_error_code"]

_INTERFACE: Final = "wasi:sockets/network"


def add_network_error_code(linker: wasmtime.component.Linker) -> None:
    """Defines the function beside what the linker has of that interface.

    wasmtime 45 to 47 cannot add to an interface: guests that import the function do not link there, as on stock.
    """
    if not instances_can_be_reopened():
        return
    version = stock_version(_INTERFACE, "network")
    if version is None:
        return
    linker.allow_shadowing = True
    try:
        with linker.root() as root, root.add_instance(f"{_INTERFACE}@{version}") as interface:
            interface.add_func("network-error-code", _no_code)
    finally:
        linker.allow_shadowing = False


def _no_code(_store: Any, _error: Any) -> None:
    raise GuestTrap("network-error-code was called by a component that wasi_sockets.load() did not make")
