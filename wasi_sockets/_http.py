"""Stock `wasi:http` goes around every policy of the network: denied unless the embedding program says otherwise."""

from __future__ import annotations

from typing import Any, Literal

import wasmtime
import wasmtime.component

__all__ = ["HttpPolicy", "add_http", "imports_http"]

HttpPolicy = Literal["deny", "stock"]

_STOCK_VERSION = "0.2.12"
"""What wasmtime 50 defines; its linker lets every 0.2.x import find it."""


def imports_http(imports: object) -> bool:
    """Whether any of these import names belongs to wasi:http."""
    return any(str(name).startswith("wasi:http/") for name in imports)  # type: ignore[attr-defined]


def add_http(linker: wasmtime.component.Linker, policy: HttpPolicy) -> None:
    """Defines wasi:http in a linker, its way out to the real network open or refused.

    Raises:
        ValueError: an unknown policy.
        wasmtime.WasmtimeError: the linker has wasi:http already; leave that to this function.
    """
    if policy not in ("deny", "stock"):
        raise ValueError(f"http must be 'deny' or 'stock', not {policy!r}")
    linker.add_wasi_http()
    if policy == "stock":
        return
    linker.allow_shadowing = True
    try:
        with (
            linker.root() as root,
            root.add_instance(f"wasi:http/outgoing-handler@{_STOCK_VERSION}") as handler,
        ):
            handler.add_func("handle", _denied)
    finally:
        linker.allow_shadowing = False


def _denied(_store: Any, request: Any, options: Any) -> Any:
    for resource in (request, options):
        if resource is not None:
            resource.drop(_store)
    return wasmtime.component.Variant("HTTP-request-denied")
