"""What differs among the supported versions of wasmtime, each difference behind one named function.

Whoever takes in a new version starts here (UPGRADE.md, "Taking in a new version"). Every shim names the versions
that need it and the reason; when the oldest of them is no longer supported the shim goes. What can be asked of
the installed package is asked, so that a shim depends on a version number only where nothing else tells.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from typing import Any

import wasmtime
from wasmtime import Engine, Store, WasiConfig, WasmtimeError, component
from wasmtime import _bindings as _capi

__all__ = [
    "add_stock_http",
    "external_type",
    "instances_can_be_reopened",
    "preopen_directory",
    "set_stock_http",
    "stock_version",
]

_MOST_PATCHES = 100
"""WASI 0.2 patch versions that are tried; 0.2.12 is the newest of 2026."""


def external_type(external: Any) -> Any:
    """The type of an import or export, from what `ComponentType.exports` maps its name to.

    45 to 48 map to the type itself; from 49 on to a `ComponentExtern` with the type in `ty`.
    """
    return getattr(external, "ty", external)


def add_stock_http(linker: component.Linker) -> None:
    """Define stock wasi:http in a linker.

    45 has only the C function; `Linker.add_wasi_http` came with 46.

    Raises:
        wasmtime.WasmtimeError: the linker has wasi:http already.
    """
    method = getattr(linker, "add_wasi_http", None)
    if method is not None:
        method()
        return
    error = _capi.wasmtime_component_linker_add_wasi_http(linker.ptr())
    if error:
        raise WasmtimeError._from_ptr(error)


def set_stock_http(store: Store) -> None:
    """Give a store what stock wasi:http needs; without it the process aborts at the first call.

    45 has only the C function; `Store.set_wasi_http` came with 46.
    """
    method = getattr(store, "set_wasi_http", None)
    if method is not None:
        method()
    else:
        _capi.wasmtime_context_set_wasi_http(store._context())


def preopen_directory(
    wasi: WasiConfig, directory: str | os.PathLike[str], guest_path: str, *, writable: bool = True
) -> None:
    """Let a guest use a directory.

    45 to 47 want two enumerations, of permissions for directories and for files; 48 replaced both by one flag,
    which says whether anything may be changed.

    Raises:
        wasmtime.WasmtimeError: the directory cannot be opened.
    """
    if hasattr(wasmtime, "DirPerms"):
        name = "READ_WRITE" if writable else "READ_ONLY"
        permissions = (getattr(wasmtime.DirPerms, name), getattr(wasmtime.FilePerms, name))  # type: ignore[attr-defined]
        wasi.preopen_dir(os.fspath(directory), guest_path, *permissions)  # type: ignore[call-arg]
    else:
        wasi.preopen_dir(os.fspath(directory), guest_path, writable)


@cache
def instances_can_be_reopened() -> bool:
    """Whether a function can be added to an interface that the linker has already, such as a stock one.

    45 to 47 replace the whole interface when shadowing is allowed, and else refuse; 48 and later add to it.
    Asked of a scratch linker (`crates/wasmtime/src/runtime/component/linker.rs`, `into_instance`).
    """
    linker = component.Linker(Engine())
    for _ in range(2):
        try:
            with linker.root() as root, root.add_instance("wasi-sockets:probe/twice"):
                pass
        except WasmtimeError:
            return False
    return True


@cache
def stock_version(interface: str, member: str) -> str | None:
    """The WASI 0.2 version under which the stock host defines an interface, such as "0.2.12".

    wasmtime 45 defines 0.2.6, 46 to 50 define 0.2.12. A linker resolves an import by its exact version first and
    else by the newest on the same track, so shadowing under any other version than this leaves the stock
    definition within reach of guests that import exactly that.

    Args:
        interface: without a version, such as "wasi:http/outgoing-handler".
        member: a function or resource that the interface has.

    Returns:
        None when the stock host does not define it.
    """
    linker = component.Linker(Engine())
    linker.add_wasip2()
    add_stock_http(linker)
    return next((each for each in _versions() if _is_taken(linker, f"{interface}@{each}", member)), None)


def _versions() -> Iterator[str]:
    return (f"0.2.{patch}" for patch in range(_MOST_PATCHES))


def _is_taken(linker: component.Linker, instance_name: str, member: str) -> bool:
    try:
        with linker.root() as root, root.add_instance(instance_name) as instance:
            instance.add_func(member, lambda store: None)
    except WasmtimeError as error:
        if "defined twice" not in str(error):
            raise
        return True
    return False
