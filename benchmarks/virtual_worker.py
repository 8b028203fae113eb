"""Our host: the same guest and service on a virtual network, by either transport; or no guest at all."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import trio
import wasmtime
import wasmtime.component

import wasi_sockets
from benchmarks.services import CLIENTS, serve
from benchmarks.worker import answer_requests

_PORT = 8080

__all__ = ["Virtual"]


class Virtual:
    """Runs the guest's functions against the service."""

    def __init__(self, guest: Path) -> None:
        self.engine = wasmtime.Engine(wasi_sockets.config())
        self.component = wasi_sockets.load(self.engine, guest.read_bytes(), cache=False)
        self.linker = wasmtime.component.Linker(self.engine)
        self.linker.add_wasip2()
        wasi_sockets.add_to_linker(self.linker)

    async def call(
        self, network: wasi_sockets.Network, transport: str, function: str, arguments: Sequence[Any]
    ) -> int:
        if transport == "floor":
            return await CLIENTS[function](lambda: network.connect_tcp("127.0.0.1", _PORT), *arguments)
        store = wasmtime.Store(self.engine)
        store.set_wasi(wasmtime.WasiConfig())
        async with wasi_sockets.instantiate(
            self.linker, store, self.component, network=network, direct_memory=transport == "direct"
        ) as guest:
            return int(await guest.call(function, _PORT, *arguments))

    async def run(self, transport: str, function: str, arguments: Sequence[Any]) -> int:
        network = wasi_sockets.Network()
        async with trio.open_nursery() as nursery:
            await nursery.start(network.serve_tcp, serve, _PORT)
            result = await self.call(network, transport, function, arguments)
            nursery.cancel_scope.cancel()
        network.close()
        return result

    def measure(self, transport: str, function: str, arguments: Sequence[Any]) -> int:
        return trio.run(self.run, transport, function, arguments)


if __name__ == "__main__":
    facts = {"wasmtime": version("wasmtime"), "trio": trio.__version__}
    answer_requests(Virtual(Path(sys.argv[1])).measure, facts)
