"""A gateway between a virtual network and an API server made for the test."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import trio

from service.kubernetes import AccessRule, Gateway, acting_as
from service.kubernetes.credentials import FixedToken
from tests.service.kubernetes.fake_api_server import FakeApiServer
from wasi_sockets import Network, TcpStream
from wasi_sockets.httpx_transport import NetworkTransport

__all__ = ["ALL_PODS", "PODS", "SECRET", "Given", "gateway", "raw", "status_of"]

PODS = "/api/v1/namespaces/default/pods"
SECRET = "a-token-that-nobody-may-see"
ALL_PODS = AccessRule(
    services=("controller",), verbs=("*",), resources=("pods", "pods/log", "pods/status"), namespaces=("*",)
)
_VERSION = AccessRule(services=("controller",), verbs=("get",), paths=("/version",))


class Given:
    """What a test has: the API server, and a network with the gateway on it."""

    def __init__(self, api: FakeApiServer, network: Network) -> None:
        self.api = api
        self.network = network

    def client(self) -> httpx.AsyncClient:
        transport = NetworkTransport(self.network)
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8001", timeout=None)

    async def connect(self) -> TcpStream:
        return await self.network.connect_tcp("127.0.0.1", 8001)


@asynccontextmanager
async def gateway(
    api: FakeApiServer | None = None, *, tokens: Any = None, **options: Any
) -> AsyncIterator[Given]:
    """A gateway for the service "controller", as which the block acts."""
    api = api or FakeApiServer()
    network = Network()
    async with api.running(), trio.open_nursery() as nursery:
        made = Gateway(api.address(tokens or FixedToken(SECRET)), (ALL_PODS, _VERSION), **options)
        await nursery.start(made.serve, network)
        with acting_as("controller"):
            yield Given(api, network)
        nursery.cancel_scope.cancel()


async def raw(stream: TcpStream, request: bytes) -> bytes:
    """What comes for some bytes, until the end."""
    await stream.send_all(request)
    await stream.send_eof()
    answer = b""
    while piece := await stream.receive_some():
        answer += piece
    await stream.aclose()
    return answer


def status_of(answer: bytes) -> dict[str, Any]:
    """The `Status` in an answer."""
    status: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert status["kind"] == "Status"
    assert status["status"] == "Failure"
    return status
