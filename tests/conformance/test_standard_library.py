"""CPython's own servers and clients inside guests: the extra suite.

Each side that can be both runs in one guest; the others run in two guests of one network.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from tests.guest_runs import Ended, Inputs, run_interposed
from wasi_sockets.network import Network

GuestFile = Callable[[str], Path]
HOSTS = ["127.0.0.1", "::1"]


@pytest.fixture
def guest(guest_file: GuestFile) -> Path:
    return guest_file("python")


async def alone(guest: Path, *arguments: str) -> list[str]:
    """What one guest says, after which the network is empty."""
    network = Network()
    ended = (await run_interposed(guest, Inputs(arguments), network=network)).succeeded()
    assert network.sockets() == []
    return ended.lines


async def server_and_client(
    guest: Path, server: tuple[str, ...], client: tuple[str, ...]
) -> tuple[list[str], list[str]]:
    """What two guests say, the second one started when the first listens."""
    network = Network()
    ended: dict[str, Ended] = {}

    async def run(name: str, arguments: tuple[str, ...]) -> None:
        ended[name] = (await run_interposed(guest, Inputs(arguments), network=network)).succeeded()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, "server", server)
            while not any(each.state == "listening" for each in network.sockets()):
                assert "server" not in ended
                await trio.lowlevel.checkpoint()
            await run("client", client)
    assert network.sockets() == []
    return ended["server"].lines, ended["client"].lines


async def test_socketserver(guest: Path) -> None:
    served, answers = await server_and_client(
        guest, ("std-socketserver", "127.0.0.1", "8000", "1"), ("std-socket-client", "127.0.0.1", "8000")
    )
    assert (served, answers) == (["served 1"], ["ONE", "TWO"])


async def test_http_server_and_client(guest: Path) -> None:
    served, answers = await server_and_client(
        guest, ("std-http-server", "127.0.0.1", "8000"), ("std-http-requests", "127.0.0.1", "8000")
    )
    assert served == ["served"]
    assert answers == ["200 5 /here", "404 5 /gone", "200 80000 desserts"]


async def test_xmlrpc(guest: Path) -> None:
    served, answers = await server_and_client(
        guest, ("std-xmlrpc-server", "127.0.0.1", "8000", "3"), ("std-xmlrpc-calls", "127.0.0.1", "8000")
    )
    assert (served, answers) == (["served 3"], ["1024 desserts", "fault True"])


@pytest.mark.parametrize("host", HOSTS)
async def test_selectors(guest: Path, host: str) -> None:
    assert await alone(guest, "std-selectors", host) == ["client 0, client 1, client 2"]


@pytest.mark.parametrize("host", HOSTS)
async def test_nonblocking_connect_with_select(guest: Path, host: str) -> None:
    assert await alone(guest, "std-connect-select", host) == ["connected: 0 True", "refused: ECONNREFUSED"]


@pytest.mark.parametrize("host", HOSTS)
async def test_asyncio_streams(guest: Path, host: str) -> None:
    assert await alone(guest, "std-asyncio-streams", host) == ["LINE 0, LINE 1, LINE 2, LINE 3"]


@pytest.mark.parametrize("host", HOSTS)
async def test_asyncio_datagrams(guest: Path, host: str) -> None:
    assert await alone(guest, "std-asyncio-datagrams", host) == ["tsrif dnoces"]


async def test_dual_stack_sockets_are_refused(guest: Path) -> None:
    """`create_server(dualstack_ipv6=True)` is refused by CPython itself, before it makes a socket.

    Its C library refuses IPV6_V6ONLY altogether, even to be turned on, and so `create_server` for IPv6 alone, on any
    host. Binding by hand works.
    """
    assert await alone(guest, "std-dual-stack") == [
        "has_dualstack_ipv6: False",
        "ValueError: dualstack_ipv6 not supported on this platform",
        "without it: ENOPROTOOPT",
        "by hand: ::1",
    ]
