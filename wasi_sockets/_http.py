"""Stock `wasi:http` goes around every policy of the network: denied unless the embedding program says otherwise."""

from __future__ import annotations

from typing import Any, Literal

import wasmtime
import wasmtime.component

from wasi_sockets.engine.bindings_versions import add_stock_http, stock_version

__all__ = ["HttpPolicy", "add_http", "imports_http"]

HttpPolicy = Literal["deny", "stock"]

_HANDLER = "wasi:http/outgoing-handler"


def imports_http(imports: object) -> bool:
    """Whether any of these import names belongs to wasi:http."""
    return any(str(name).startswith("wasi:http/") for name in imports)  # type: ignore[attr-defined]


def add_http(linker: wasmtime.component.Linker, policy: HttpPolicy) -> None:
    """Defines wasi:http in a linker, its way out to the real network open or refused.

    Raises:
        ValueError: an unknown policy.
        wasmtime.WasmtimeError: the linker has wasi:http already (leave that to this function), or the stock host
            has no requests that could be denied.
    """
    if policy not in ("deny", "stock"):
        raise ValueError(f"http must be 'deny' or 'stock', not {policy!r}")
    add_stock_http(linker)
    if policy == "stock":
        return
    version = stock_version(_HANDLER, "handle")
    if version is None:
        raise wasmtime.WasmtimeError(f"the stock host has no {_HANDLER} that could be denied")
    linker.allow_shadowing = True
    try:
        with linker.root() as root, root.add_instance(f"{_HANDLER}@{version}") as handler:
            handler.add_func("handle", _denied)
    finally:
        linker.allow_shadowing = False


def _denied(_store: Any, _request: Any, _options: Any) -> Any:
    # What was handed over stays in the store until the guest ends: wasmtime has no way to drop it from a callback of a
    # store whose guest is suspended and resumed. A guest that never asks can keep as many requests itself.
    return wasmtime.component.Variant("HTTP-request-denied")
