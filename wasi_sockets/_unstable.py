"""`network-error-code`, which stock WASI leaves out because WIT calls it unstable, for guests that import it.

Calls about virtual streams never come here: the interposer answers them. What comes is about stock streams (files, and
standard streams of an embedding program), whose errors have no network error code: they trap, see below.
"""

from __future__ import annotations

from typing import Any, Final

import wasmtime.component

from wasi_sockets.errors import GuestTrap

__all__ = ["add_network_error_code"]

#: What wasmtime 50 defines; its linker lets every 0.2.x import find it.
_INTERFACE: Final = "wasi:sockets/network@0.2.12"


def add_network_error_code(linker: wasmtime.component.Linker) -> None:
    """Defines the function beside what the linker has of that interface."""
    linker.allow_shadowing = True
    try:
        with linker.root() as root, root.add_instance(_INTERFACE) as interface:
            interface.add_func("network-error-code", _no_code)
    finally:
        linker.allow_shadowing = False


def _no_code(_store: Any, _error: Any) -> None:
    # `none` would be the answer, but wasmtime has no way to give the borrowed handle back from a callback of a store
    # whose guest is suspended and resumed, and a handle that is not given back traps as well.
    raise GuestTrap("network-error-code cannot be asked of the error of a stock stream")
