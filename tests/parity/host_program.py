"""A program that runs one guest on its own standard streams: `host_program.py stock|ours GUEST ARGUMENT ...`.

What a terminal or a pipe is to a guest can be seen only with the streams of a process. The exit code is the guest's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import trio
import wasmtime
import wasmtime.component

import wasi_sockets
from tests.guest_runs import call_stock, engine, interposed_component, stock_component, stock_engine


def stock(guest: Path, arguments: list[str]) -> int:
    """Run it on the stock host, with the streams of this process."""
    linker = wasmtime.component.Linker(stock_engine())
    linker.add_wasip2()
    store = wasmtime.Store(stock_engine())
    wasi = wasmtime.WasiConfig()
    wasi.argv = ["guest", *arguments]
    wasi.inherit_stdin()
    wasi.inherit_stdout()
    wasi.inherit_stderr()
    store.set_wasi(wasi)
    return call_stock(linker, store, stock_component(guest))


def ours(guest: Path, arguments: list[str]) -> int:
    """Run it on the interposed host, likewise."""

    async def main() -> int:
        return await wasi_sockets.run(
            interposed_component(guest), arguments, engine=engine(), network=wasi_sockets.Network()
        )

    return trio.run(main)


if __name__ == "__main__":
    host, guest, *arguments = sys.argv[1:]
    sys.exit({"stock": stock, "ours": ours}[host](Path(guest), arguments))
