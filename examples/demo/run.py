"""A CPython component talks HTTP to an ASGI application in the process that runs it: `make demo`.

The guest uses the standard library and nothing else: http.client, socket and asyncio, on 127.0.0.1:8080 (see
tests/guests/python/commands/three_ways.py). The application is in app.py beside this file.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import trio
import wasmtime
from app import app, seen

import wasi_sockets
from wasi_sockets.asgi import serve_asgi

GUEST = Path(__file__).resolve().parents[2] / "build" / "guests" / "python.wasm"


async def main() -> int:
    """Runs the guest and reports. Returns its exit code."""
    if not GUEST.exists():
        print(f"{GUEST} is not there; 'make demo' builds it", file=sys.stderr)
        return 1
    network = wasi_sockets.Network("demo")
    engine = wasmtime.Engine(wasi_sockets.config())

    print(
        f"Loading {GUEST.name}, {GUEST.stat().st_size / 1e6:.1f} MB (compiled the first time, cached then)",
        flush=True,
    )
    started = time.perf_counter()
    component = await trio.to_thread.run_sync(wasi_sockets.load, engine, GUEST)
    loaded = time.perf_counter()

    print("The guest says:", flush=True)
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_asgi, app, [network.listen_tcp(8080)])
        code = await wasi_sockets.run(
            component, ["three-ways", "127.0.0.1", "8080"], network=network, engine=engine
        )
        ended = time.perf_counter()
        nursery.cancel_scope.cancel()

    statistics = network.statistics()
    interposed = len({(item.interface, item.name) for item in component.items if item.interface != "shim"})
    kernel = "not known here" if seen.kernel_sockets is None else str(seen.kernel_sockets)
    print(f"""
What talked to what
  guest           CPython as an unmodified component, {interposed} of its imported functions interposed
  server          an ASGI application under Hypercorn in this process, at 127.0.0.1:8080 of a network in memory
  requests        {seen.requests} answered
  connections     {statistics.connections_opened} opened, {statistics.connections_refused} refused, \
{statistics.connections_reset} reset
  bytes           {statistics.bytes_delivered} carried
  kernel sockets  {kernel} of AF_INET or AF_INET6 in this process while it answered: no packet left it
  time            {loaded - started:.2f} s to load, {ended - loaded:.3f} s to run
  exit code       {code}""")
    return code


if __name__ == "__main__":
    sys.exit(trio.run(main))
