"""Loading a guest: read, rewritten, compiled, cached."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import wasmtime
import wasmtime.component

from wasi_sockets import telemetry
from wasi_sockets._argument_checks import check_kind, file_name
from wasi_sockets._cache import CompiledCache, Entry, default_directory
from wasi_sockets.engine import engine_settings
from wasi_sockets.errors import InvalidComponentError
from wasi_sockets.interposer import Item, interpose

__all__ = ["GuestComponent", "Stage", "component_bytes", "load"]

Stage = Literal["reading", "rewriting", "compiling", "loading"]


class GuestComponent(wasmtime.component.Component):
    """A compiled guest: a `wasmtime.component.Component` that knows which of its calls were interposed.

    Attributes:
        items: what its trampolines send, by number; empty for a guest in which nothing had to be replaced.
        name: of the file it was loaded from, empty for none.
    """

    items: tuple[Item, ...] = ()
    name: str = ""


def load(
    engine: wasmtime.Engine,
    source: str | os.PathLike[str] | bytes | bytearray | memoryview,
    *,
    cache: bool | str | os.PathLike[str] = True,
    progress: Callable[[Stage], None] | None = None,
) -> GuestComponent:
    """Makes a component ready to be instantiated with its sockets interposed.

    Args:
        engine: made with `wasmtime.Engine(wasi_sockets.config())`. Another engine works too, without preemption of
            guests that only compute, and with the slower transport of bytes.
        source: a file's path, or the component itself; WebAssembly text is taken too.
        cache: keep compiled code for the next time; a directory to keep it elsewhere than in the user's cache
            directory (`$WASI_SOCKETS_CACHE`, else `wasi-sockets` below `$XDG_CACHE_HOME` or `~/.cache`).
        progress: called with the name of each stage as it begins.

    Raises:
        OSError: the file cannot be read.
        TypeError: `engine` is none.
        InvalidComponentError: the bytes are no component, or damaged.
        UnsupportedComponentError: the component uses something that cannot be interposed.
        wasmtime.WasmtimeError: wasmtime does not accept the component; its message says where.
    """
    check_kind("engine", engine, wasmtime.Engine)
    telemetry.refresh()
    name = file_name(source) if isinstance(source, str | os.PathLike) else ""
    named = "component.name" in telemetry.workload_attributes()
    attributes = {"component.name": name} if name and not named and telemetry.tracing else {}
    with telemetry.span("component.load", attributes) as span:
        component = _load(engine, source, cache, progress or _silent, span)
    component.name = name
    return component


def _load(
    engine: wasmtime.Engine,
    source: str | os.PathLike[str] | bytes | bytearray | memoryview,
    cache: bool | str | os.PathLike[str],
    said: Callable[[Stage], object],
    span: telemetry.Span,
) -> GuestComponent:
    said("reading")
    wasm = component_bytes(source)
    span.set_attribute("wasi_sockets.component.size", len(wasm))
    store = (
        CompiledCache(default_directory() if cache is True else Path(cache)) if cache is not False else None
    )
    key = store.key(wasm, engine_settings(engine)) if store is not None else ""
    found = store.find(key) if store is not None else None
    if store is not None and found is not None:
        said("loading")
        component = _from_cache(engine, found)
        if component is not None:
            span.set_attribute("wasi_sockets.cache", "hit")
            return component
        store.discard(key)
    span.set_attribute("wasi_sockets.cache", "off" if store is None else "miss")
    said("rewriting")
    with telemetry.span("component.rewrite"):
        interposition = interpose(wasm)
    said("compiling")
    with telemetry.span("component.compile"):
        component = GuestComponent(engine, interposition.wasm)
    component.items = interposition.items
    if store is not None:
        store.store(key, component.serialize(), interposition.items)
    return component


def _silent(_: Stage) -> None:
    pass


def component_bytes(source: str | os.PathLike[str] | bytes | bytearray | memoryview) -> bytes:
    """A component in binary form, read from its file or made from text where it is not that already."""
    wasm = bytes(source) if isinstance(source, bytes | bytearray | memoryview) else Path(source).read_bytes()
    if wasm[:4] != b"\0asm" and wasm.lstrip()[:1] in (b"(", b";"):
        try:
            return bytes(wasmtime.wat2wasm(wasm.decode()))
        except (UnicodeDecodeError, wasmtime.WasmtimeError) as error:
            raise InvalidComponentError(f"neither a component nor WebAssembly text: {error}") from error
    return wasm


def _from_cache(engine: wasmtime.Engine, entry: Entry) -> GuestComponent | None:
    try:
        # Through the open descriptor: the very file that was verified, whatever stands at its path by now.
        descriptor_path = f"/proc/self/fd/{entry.descriptor}"
        if os.path.exists(descriptor_path):
            component = GuestComponent.deserialize_file(engine, descriptor_path)
        else:
            with os.fdopen(os.dup(entry.descriptor), "rb") as file:
                component = GuestComponent.deserialize(engine, file.read())
    except wasmtime.WasmtimeError:
        return None  # compiled for an engine with other settings
    finally:
        os.close(entry.descriptor)
    if not isinstance(component, GuestComponent):
        return None
    component.items = entry.items
    return component
