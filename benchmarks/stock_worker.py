"""The stock host: wasmtime's own sockets over the kernel's loopback, the guest in a thread beside the service.

Runs in an environment of its own, with the last wasmtime that gives a Python host component networking, so it
imports nothing of the project but its neighbours here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import trio
import wasmtime
import wasmtime.component

from benchmarks.services import serve
from benchmarks.worker import answer_requests


def _allow_network(config: wasmtime.WasiConfig) -> None:
    # The package exports the C function but gives it no method.
    wasmtime._ffi.wasi_config_inherit_network(config.ptr())


class _Stock:
    def __init__(self, guest: Path) -> None:
        self.engine = wasmtime.Engine()
        self.component = wasmtime.component.Component(self.engine, guest.read_bytes())
        self.linker = wasmtime.component.Linker(self.engine)
        self.linker.add_wasip2()

    def call(self, port: int, function: str, arguments: Sequence[Any]) -> int:
        store = wasmtime.Store(self.engine)
        config = wasmtime.WasiConfig()
        _allow_network(config)
        store.set_wasi(config)
        instance = self.linker.instantiate(store, self.component)
        exported = instance.get_func(store, function)
        if exported is None:
            raise LookupError(function)
        result = exported(store, port, *arguments)
        exported.post_return(store)
        return int(result)

    async def run(self, function: str, arguments: Sequence[Any]) -> int:
        async with trio.open_nursery() as nursery:
            listeners: list[trio.SocketListener] = await nursery.start(
                partial(trio.serve_tcp, serve, 0, host="127.0.0.1")
            )
            port = listeners[0].socket.getsockname()[1]
            result = await trio.to_thread.run_sync(self.call, port, function, arguments)
            nursery.cancel_scope.cancel()
        return result

    def measure(self, _transport: str, function: str, arguments: Sequence[Any]) -> int:
        return trio.run(self.run, function, arguments)


if __name__ == "__main__":
    facts = {"wasmtime": version("wasmtime"), "trio": trio.__version__}
    answer_requests(_Stock(Path(sys.argv[1])).measure, facts)
