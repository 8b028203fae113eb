"""Spans of the host functions that an embedding program adds to a linker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import wasmtime.component

from wasi_sockets import telemetry
from wasi_sockets._argument_checks import check_kind

__all__ = ["traced_linker"]


def traced_linker(linker: wasmtime.component.Linker) -> Any:
    """A view of a linker for adding host functions, each of which then has a span when a guest calls it.

        with wasi_sockets.traced_linker(linker).root() as root:
            with root.add_instance("demo:shop/prices") as prices:
                prices.add_func("price-of", price_of)      # as always

    It has what the linker has; instantiate from the linker itself.

    Raises:
        TypeError: `linker` is none of components.
    """
    check_kind("linker", linker, wasmtime.component.Linker)
    return _View(linker, "")


class _View:
    """A linker, or an instance in it, whose name is that of an interface."""

    def __init__(self, viewed: Any, interface: str) -> None:
        self._viewed = viewed
        self._interface = interface

    def __getattr__(self, name: str) -> Any:
        return getattr(self._viewed, name)

    def __enter__(self) -> _View:
        self._viewed.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self._viewed.__exit__(*error)

    def root(self) -> _View:
        return _View(self._viewed.root(), "")

    def add_instance(self, name: str) -> _View:
        return _View(self._viewed.add_instance(name), name.partition("@")[0])

    def add_func(self, name: str, function: Callable[..., Any]) -> None:
        self._viewed.add_func(name, _traced(function, self._interface, name))


def _traced(function: Callable[..., Any], interface: str, name: str) -> Callable[..., Any]:
    attributes: dict[str, telemetry.Value] = {"wasi_sockets.function": name}
    if interface:
        attributes["wasi_sockets.interface"] = interface

    def traced(*arguments: Any) -> Any:
        if not telemetry.tracing:
            return function(*arguments)
        with telemetry.span("host.call", attributes):
            return function(*arguments)

    return traced
