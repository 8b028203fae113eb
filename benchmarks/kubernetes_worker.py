"""A watcher of `benchmarks.kubernetes`, in a process of its own: `WAY KUBECONFIG NAMESPACE NAME`.

- **guest**: the component, and the gateway, in this process.
- **gateway**: the guest's own client in CPython, outside wasm, in a process beside the gateway's; between them is a
  published port.
- **direct**: the same client with TLS and the token, to the API server.
"""

from __future__ import annotations

import asyncio
import signal
import ssl
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trio

import wasi_sockets
from service.identity import acting_as
from service.kubernetes import AccessRule, ApiServer, Gateway, load_kubeconfig

ROOT = Path(__file__).resolve().parents[1]
GUEST = ROOT / "build" / "guests" / "static-site-controller.wasm"
SOURCES = ROOT / "tests" / "guests" / "static-site-controller"


def gateway(server: ApiServer, namespace: str) -> Gateway:
    rule = AccessRule(
        services=("watcher",), verbs=("list", "watch"), resources=("configmaps",), namespaces=(namespace,)
    )
    return Gateway(server, [rule], identify=lambda connection: "watcher")


async def say(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


async def guest(server: ApiServer, namespace: str, name: str) -> None:
    import wasmtime

    engine = wasmtime.Engine(wasi_sockets.config())
    component = wasi_sockets.load(engine, GUEST, cache=str(ROOT / "build" / "cache"))
    network = wasi_sockets.Network()
    async with trio.open_nursery() as nursery:
        await nursery.start(gateway(server, namespace).serve, network)
        words = ["latencies", "127.0.0.1", "8001", namespace, name]
        with acting_as("watcher"):
            await wasi_sockets.run(component, words, network=network, engine=engine, stdout=say, stderr=say)


async def published(server: ApiServer, namespace: str, name: str) -> None:
    network = wasi_sockets.Network()
    async with trio.open_nursery() as nursery:
        await nursery.start(gateway(server, namespace).serve, network)
        address = await nursery.start(network.publish, 8001)
        command = [
            sys.executable,
            "-m",
            "benchmarks.kubernetes_worker",
            "client",
            str(address.port),
            namespace,
            name,
        ]
        await trio.run_process(command, stdin=subprocess.DEVNULL)


def client(
    port: int, namespace: str, name: str, url: str = "", tls: ssl.SSLContext | None = None, token: str = ""
) -> None:
    sys.path.insert(0, str(SOURCES))
    from api import Api, ApiError
    from latencies import tell

    class Native(Api):
        headers = (("authorization", f"Bearer {token}"),) if token else ()

        async def connect(self) -> Any:
            host = urlsplit(url).hostname if url else "127.0.0.1"
            return await asyncio.open_connection(host, port, ssl=tls)

    with suppress(ApiError):  # the gateway has gone, and who reads the output sees its end
        asyncio.run(tell(Native("", 0), namespace, name))


def main(way: str, where: str, namespace: str, name: str) -> None:
    if way == "client":
        client(int(where), namespace, name)
        return
    server = load_kubeconfig(where)
    if way == "direct":
        token = trio.run(server.tokens.token) or ""
        client(urlsplit(server.url).port or 443, namespace, name, server.url, server.tls, token)
    else:
        trio.run({"guest": guest, "gateway": published}[way], server, namespace, name)


if __name__ == "__main__":
    # A shell starts what runs in its background with SIGINT ignored, and that is how this is ended.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main(*sys.argv[1:])
    except* KeyboardInterrupt:
        pass
