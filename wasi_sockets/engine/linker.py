"""Defining the host functions of the shim in a `wasmtime.component.Linker`."""

from __future__ import annotations

from weakref import WeakSet

from wasmtime import component

from wasi_sockets.engine.bindings_callbacks import define_functions
from wasi_sockets.engine.engines import engine_state

__all__ = ["HOST_INTERFACE", "add_to_linker", "has_host_functions"]

HOST_INTERFACE = "wasi-sockets:shim/host@0.1.0"
"""The one import that the interposer adds to a component."""

_linkers: WeakSet[component.Linker] = WeakSet()


def add_to_linker(linker: component.Linker) -> None:
    """Let components rewritten by the interposer be instantiated from this linker.

    The functions answer only guests that `instantiate` of this package runs, and find them by the store they
    are called in. Calling this twice for one linker does nothing.

    Raises:
        wasmtime.WasmtimeError: the linker has another definition of that name.
    """
    if linker not in _linkers:
        define_functions(linker, HOST_INTERFACE, engine_state(linker.engine).running)
        _linkers.add(linker)


def has_host_functions(linker: component.Linker) -> bool:
    """Whether `add_to_linker` was called for this linker."""
    return linker in _linkers
