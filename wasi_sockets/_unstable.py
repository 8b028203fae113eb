"""`network-error-code`, which stock WASI leaves out because WIT calls it unstable, for guests that import it.

Calls about virtual streams never come here: the interposer answers them. What comes is about stock streams (files, and
standard streams of an embedding program), whose errors have no network error code: they trap, see below.
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
    # `none` would be the answer, but wasmtime has no way to give the borrowed handle back from a callback of a store
    # whose guest is suspended and resumed, and a handle that is not given back traps as well.
    raise GuestTrap("network-error-code cannot be asked of the error of a stock stream")
