"""A network for each test, which its guests must leave empty."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import trio

import wasi_sockets
from tests.guest_runs import compiled_already, echo

Handler = Callable[[wasi_sockets.TcpStream], Awaitable[object]]
Serving = Callable[..., AbstractAsyncContextManager[int]]


@pytest.fixture
async def network() -> AsyncIterator[wasi_sockets.Network]:
    network = wasi_sockets.Network()
    yield network
    assert network.sockets() == []


@pytest.fixture
def serving(network: wasi_sockets.Network) -> Serving:
    """`async with serving(handler) as port`: a service in Python on 127.0.0.1; by default one that echoes."""

    @asynccontextmanager
    async def serving(handler: Handler = echo, host: str = "127.0.0.1") -> AsyncIterator[int]:
        listener = network.listen_tcp(0, host)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, handler, [listener])
            with trio.fail_after(60):
                yield listener.local_address.port
            nursery.cancel_scope.cancel()

    return serving


@pytest.fixture(scope="session")
def guest_file(guest_file: Callable[[str], Path]) -> Callable[[str], Path]:
    """As for all tests, and compiled already, so that no time limit includes that."""
    return compiled_already(guest_file)
