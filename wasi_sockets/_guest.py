"""Joining a guest, its network and wasmtime: what an embedding program calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from weakref import WeakKeyDictionary

import wasmtime
import wasmtime.component

from wasi_sockets import engine, telemetry
from wasi_sockets._argument_checks import check_kind, check_trio
from wasi_sockets._component import GuestComponent
from wasi_sockets._http import HttpPolicy, add_http, imports_http
from wasi_sockets._unstable import add_network_error_code
from wasi_sockets.engine import Guest, TracedGuest
from wasi_sockets.engine.bindings_versions import set_stock_http
from wasi_sockets.network import Network
from wasi_sockets.wasi import Host, InputPipe, Limits, OutputPipe
from wasi_sockets.wasi.p2 import functions

__all__ = ["add_to_linker", "instantiate"]

_linkers: WeakKeyDictionary[wasmtime.component.Linker, HttpPolicy] = WeakKeyDictionary()
"""Those that `add_to_linker` has added to, with what it was told about wasi:http."""


def add_to_linker(linker: wasmtime.component.Linker, *, http: HttpPolicy = "deny") -> None:
    """Defines in a linker what interposed guests import besides stock WASI.

    Call it after `linker.add_wasip2()`, once for each linker; once more with the same `http` does nothing.

    Args:
        linker: where the guests will be instantiated from; other definitions in it are yours.
        http: what becomes of requests that a guest makes through `wasi:http`, which the stock host would send to
            the real network, around every policy. "deny" answers them with `HTTP-request-denied`, "stock" lets
            them go.

    Raises:
        TypeError: `linker` is none of components.
        ValueError: an unknown `http`, or another one than this linker was given before.
        wasmtime.WasmtimeError: the linker defines wasi:http already.
    """
    check_kind("linker", linker, wasmtime.component.Linker)
    before = _linkers.get(linker)
    if before is not None:
        if http != before:
            raise ValueError(
                f"add_to_linker was called for this linker with http={before!r}; now http={http!r}"
            )
        return
    add_http(linker, http)
    add_network_error_code(linker)
    engine.add_to_linker(linker)
    _linkers[linker] = http


@asynccontextmanager
async def instantiate(
    linker: wasmtime.component.Linker,
    store: wasmtime.Store,
    component: GuestComponent,
    *,
    network: Network,
    name: str = "",
    stdin: InputPipe | None = None,
    stdout: OutputPipe | None = None,
    stderr: OutputPipe | None = None,
    limits: Limits | None = None,
    thread: bool = False,
    direct_memory: bool = True,
) -> AsyncIterator[Guest]:
    """Instantiates a guest on a network, and ends it with the block: connections closed, ports free.

    When the guest traps, its call is cancelled or a host function raises, its connections are reset at once
    instead, so that their peers do not take half an answer for a whole one.

        async with wasi_sockets.instantiate(linker, store, component, network=network) as guest:
            await guest.call("wasi:cli/run@0.2", "run")

    Args:
        linker: has stock WASI, `add_to_linker`, and whatever else the guest imports.
        store: fresh, with its `WasiConfig` set; it takes one guest, and after a trap a new one is needed.
        component: from `load`.
        network: what the guest's sockets reach.
        name: for people: the owner of its sockets in `Network.sockets` and in denials.
        stdin: a virtual standard input, whose other end the caller feeds; None leaves it to the `WasiConfig`.
        stdout: likewise; the caller drains it.
        stderr: likewise.
        limits: what the guest may have at most. Limits of memory, tables or instances replace those that the store was
            given with `set_limits`.
        thread: poll the guest in a worker thread, for guests whose *stock* calls may block: a FIFO in a preopened
            directory would otherwise stop the whole trio loop. Each host call then costs two thread switches.
        direct_memory: let Python copy to and from the guest's memory by address where that is possible; else bytes
            cross as strings, which is slower.

    Raises:
        TypeError: an argument of the wrong kind, such as a component that is not from `load`.
        RuntimeError: trio does not run the caller.
        ValueError: linker and store do not fit together, or `add_to_linker` was forgotten; or `limits.cpu` for an
            engine that was not made from `config()`.
        GuestBusyError: the store already has a guest.
        GuestLimitError: the guest needs more than `limits` allows, or this process has no room for another one.
        wasmtime.WasmtimeError: the component cannot be instantiated, such as for a missing import.
    """
    check_trio("wasi_sockets.instantiate")
    check_kind("linker", linker, wasmtime.component.Linker)
    check_kind("store", store, wasmtime.Store)
    check_kind("network", network, Network)
    if limits is not None:
        check_kind("limits", limits, Limits)
    if not isinstance(component, GuestComponent):
        raise TypeError(f"component must come from wasi_sockets.load(), not {type(component).__name__}")
    telemetry.refresh()
    host = Host(network, name=name, stdin=stdin, stdout=stdout, stderr=stderr, limits=limits)
    try:
        if imports_http(component.type.imports(store.engine)):
            set_stock_http(store)  # without it the process aborts at the first call
        async with engine.instantiate(
            linker,
            store,
            component,
            functions=functions(host),
            items=component.items,
            thread=thread,
            direct_memory=direct_memory,
            on_abort=host.release,
            make_guest=_kind_of_guest(component, name),
            limits=_engine_limits(host.limits),
        ) as guest:
            yield guest
    finally:
        host.release()


def _kind_of_guest(component: GuestComponent, name: str) -> Callable[..., Guest]:
    if not telemetry.active:
        return Guest
    workload = telemetry.workload_attributes()
    own_name = name or component.name
    if own_name and "component.name" not in workload:
        workload = {**workload, "component.name": own_name}
    return partial(TracedGuest, workload=workload)


def _engine_limits(limits: Limits) -> engine.GuestLimits:
    return engine.GuestLimits(
        pollables=limits.pollables,
        memory=limits.memory,
        table_elements=limits.table_elements,
        memories=limits.memories,
        tables=limits.tables,
        instances=limits.instances,
        cpu=limits.cpu,
        lifetime=limits.lifetime,
    )
