"""One server for `publish_load.py`, on a real port of 127.0.0.1 until it is ended: `KIND PORT GUEST`.

Runs in the stock host's environment too, so whatever of the project a kind needs is imported by that kind.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import trio

__all__ = ["KINDS"]

_END = b"\r\n\r\n"
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_VIRTUAL_PORT = 8080
_GUEST_ARGUMENTS = ("1000000000", "127.0.0.1", "http")
"""After the port: how many connections it serves before it ends, where it listens, and what it speaks."""


async def _answer(stream: trio.abc.Stream) -> None:
    """Answer each HTTP request of a connection the same."""
    rest = b""
    try:
        while data := await stream.receive_some(65536):
            rest += data
            count = rest.count(_END)
            if count:
                rest = rest.rpartition(_END)[2]
                await stream.send_all(_ANSWER * count)
    except trio.BrokenResourceError:
        pass  # the load ends by closing connections in the middle of requests


async def _real(port: int, _guest: Path) -> None:
    await trio.serve_tcp(_answer, port, host="127.0.0.1")


async def _published(port: int, _guest: Path) -> None:
    import wasi_sockets

    network = wasi_sockets.Network()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(network.serve_tcp, _answer, _VIRTUAL_PORT)
        nursery.start_soon(partial(network.publish, _VIRTUAL_PORT, port=port))


async def _guest_published(port: int, guest: Path) -> None:
    import wasi_sockets

    network = wasi_sockets.Network()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(network.publish, _VIRTUAL_PORT, port=port))
        await wasi_sockets.run(
            guest, (str(_VIRTUAL_PORT), *_GUEST_ARGUMENTS), network=network, stdin=None, stdout=None
        )


async def _guest_on_stock(port: int, guest: Path) -> None:
    # The guest blocks this thread for good; nothing else is to be done here.
    _run_on_stock(port, guest)


def _run_on_stock(port: int, guest: Path) -> None:
    import wasmtime
    import wasmtime.component

    engine = wasmtime.Engine()
    component = wasmtime.component.Component(engine, guest.read_bytes())
    linker = wasmtime.component.Linker(engine)
    linker.add_wasip2()
    store = wasmtime.Store(engine)
    config = wasmtime.WasiConfig()
    config.argv = ["guest", str(port), *_GUEST_ARGUMENTS]
    config.stdout_file = os.devnull
    # The package exports the C function but gives it no method.
    wasmtime._ffi.wasi_config_inherit_network(config.ptr())
    store.set_wasi(config)
    instance = linker.instantiate(store, component)
    (name,) = [name for name in component.type.exports(engine) if name.startswith("wasi:cli/run@0.2")]
    interface = instance.get_export_index(store, name)
    run = instance.get_func(store, instance.get_export_index(store, "run", interface))
    if run is None:
        raise LookupError(f"{name} has no function `run`")
    run(store)


KINDS: dict[str, Callable[[int, Path], Awaitable[None]]] = {
    "trio.serve_tcp": _real,
    "published": _published,
    "guest published": _guest_published,
    "guest on stock": _guest_on_stock,
}


if __name__ == "__main__":
    kind, port, guest = sys.argv[1:]
    trio.run(KINDS[kind], int(port), Path(guest))
