"""Virtual `wasi:sockets` for WebAssembly components on the PyPI package `wasmtime`.

A component's sockets reach services in the same process, through memory; every other WASI interface stays the stock
one. In a program that already uses `wasmtime` and `trio`::

    network = wasi_sockets.Network()
    engine = wasmtime.Engine(wasi_sockets.config())
    component = wasi_sockets.load(engine, "guest.wasm")
    linker = wasmtime.component.Linker(engine)
    linker.add_wasip2()
    wasi_sockets.add_to_linker(linker)
    ...                                     # your own imports, your own store and WasiConfig
    async with wasi_sockets.instantiate(linker, store, component, network=network) as guest:
        await guest.call("wasi:cli/run@0.2", "run")

or, for the common case, ``await wasi_sockets.run("guest.wasm", arguments, network=network)``.
"""

from __future__ import annotations

from wasi_sockets._background import BackgroundLoop
from wasi_sockets._component import GuestComponent, load
from wasi_sockets._guest import add_to_linker, instantiate
from wasi_sockets._inspection import Extern, Inspection, InterfaceUse, inspect
from wasi_sockets._run import open_guest, run
from wasi_sockets._traced_linker import traced_linker
from wasi_sockets.engine import Guest, config
from wasi_sockets.errors import (
    ComponentError,
    GuestBusyError,
    GuestClosedError,
    GuestLimitError,
    GuestTrap,
    InvalidComponentError,
    UnsupportedComponentError,
    WasiSocketsError,
)
from wasi_sockets.network import (
    WASMCLOUD_ZONE,
    Allow,
    Denial,
    Deny,
    Network,
    NetworkStatistics,
    Policy,
    PolicyDenied,
    Reason,
    Rule,
    SocketAddress,
    SocketRecord,
    TcpListener,
    TcpStream,
    UdpSocket,
)
from wasi_sockets.telemetry import VERSION as __version__
from wasi_sockets.wasi import InputPipe, Limits, OutputPipe

__all__ = [
    "WASMCLOUD_ZONE",
    "Allow",
    "BackgroundLoop",
    "ComponentError",
    "Denial",
    "Deny",
    "Extern",
    "Guest",
    "GuestBusyError",
    "GuestClosedError",
    "GuestComponent",
    "GuestLimitError",
    "GuestTrap",
    "InputPipe",
    "Inspection",
    "InterfaceUse",
    "InvalidComponentError",
    "Limits",
    "Network",
    "NetworkStatistics",
    "OutputPipe",
    "Policy",
    "PolicyDenied",
    "Reason",
    "Rule",
    "SocketAddress",
    "SocketRecord",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "UnsupportedComponentError",
    "WasiSocketsError",
    "__version__",
    "add_to_linker",
    "config",
    "inspect",
    "instantiate",
    "load",
    "open_guest",
    "run",
    "traced_linker",
]
