"""Guests beside real servers: redis-py and redis, PostgreSQL's start-up, and HTTPS made by the host for nginx."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from tests.guest_runs import Ended, Inputs, run_interposed
from tests.real_parts import servers
from tests.real_parts.parts import RealPartMissing
from wasi_sockets import Network

Files = Callable[[str], Path]


def _or_skip(server: AbstractContextManager[Any]) -> Iterator[Any]:
    try:
        given = server.__enter__()
    except RealPartMissing as missing:
        pytest.skip(str(missing))
    try:
        yield given
    finally:
        server.__exit__(None, None, None)


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    yield from _or_skip(servers.redis(tmp_path_factory.mktemp("redis")))


@pytest.fixture(scope="module")
def postgresql_server() -> Iterator[tuple[int, str]]:
    yield from _or_skip(servers.postgresql())


async def beside(
    guest: Path, arguments: list[str], host: str, port: int, real_port: int, **options: Any
) -> tuple[Ended, Network]:
    """Run a guest on a network where one port leads to a real server."""
    network = Network()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(network.forward, port, ("127.0.0.1", real_port), host=host, **options))
        with trio.fail_after(120):
            ended = await run_interposed(guest, Inputs(arguments=arguments), network=network)
        nursery.cancel_scope.cancel()
    return ended, network


async def test_redis_py_and_redis(guest_file: Files, redis_port: int) -> None:
    guest = guest_file("python-databases")
    ended, network = await beside(
        guest, ["redis", "host.internal", "6379"], "host.internal", 6379, redis_port
    )
    assert ended.succeeded().lines == [
        "ping True",
        "set True b'blue'",
        "large True",
        "pipeline True True",
        "wrong type WRONGTYPE",
        "blocking pop None",
        *["published to 1"] * 5,
        "heard ['item 0', 'item 1', 'item 2', 'item 3', 'item 4']",
    ]
    assert network.statistics().connections_opened == 2


async def test_the_start_up_of_postgresql(guest_file: Files, postgresql_server: tuple[int, str]) -> None:
    real_port, user = postgresql_server
    guest = guest_file("python-databases")
    words = ["postgresql", "127.0.0.5", "5432", user, "postgres"]
    ended, _ = await beside(guest, words, "127.0.0.5", 5432, real_port)
    lines = ended.succeeded().lines
    assert (
        lines
        == [
            "TLS N",
            "R 00000000",  # AuthenticationOk
            "key data 8",
            "Z 49",  # ReadyForQuery, idle
            "server encoding UTF8",
            *lines[5:6],  # RowDescription
            f"D {2 + 4 + 300_000 + 4 + 2} 42",
            "C 9 ",  # "SELECT 1"
            "Z 1 ",
            "ended b''",
            "R 00000000",
            "E 3D000",  # invalid_catalog_name
        ]
    )
    assert lines[5].startswith("T ")


class Authority:
    """A certificate authority, and nginx with a certificate by it."""

    def __init__(self, directory: Path) -> None:
        self.ca = trustme.CA()
        self.directory = directory
        self.ca.cert_pem.write_to_path(str(directory / "ca.pem"))
        self.ca.issue_cert("shop.example").private_key_and_cert_chain_pem.write_to_path(
            str(directory / "server.pem")
        )

    def server(self, port: int) -> str:
        pem = self.directory / "server.pem"
        return (
            f"listen 127.0.0.1:{port} ssl;\nserver_name shop.example;\n"
            f"ssl_certificate {pem};\nssl_certificate_key {pem};\n"
            f"ssl_client_certificate {self.directory / 'ca.pem'};\nssl_verify_client optional;\n"
            "location = /missing { return 404; }\n"
            "location / { return 200 '$scheme $ssl_server_name $ssl_client_verify $request_method $request_uri'; }"
        )

    def context(self, *, client_certificate: bool = False) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        if client_certificate:
            self.ca.issue_cert("guest.example").configure_cert(context)
        return context


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Authority, int]]:
    directory = tmp_path_factory.mktemp("nginx")
    authority = Authority(directory)
    for port in _or_skip(servers.nginx(directory, authority.server)):
        yield authority, port


@pytest.mark.parametrize("client_certificate", [False, True])
async def test_https_by_the_host(
    guest_file: Files, shop: tuple[Authority, int], client_certificate: bool
) -> None:
    authority, real_port = shop
    ended, _ = await beside(
        guest_file("python"),
        ["http", "127.0.0.1", "80"],
        "127.0.0.1",
        80,
        real_port,
        tls=authority.context(client_certificate=client_certificate),
        server_hostname="shop.example",
    )
    seen = f"https shop.example {'SUCCESS' if client_certificate else 'NONE'}"
    assert ended.succeeded().lines == [
        f"http.client GET /a 200 {seen} GET /a",
        f"http.client GET /b?x=1 200 {seen} GET /b?x=1",
        f"http.client POST /c 200 {seen} POST /c",
        "connections used: 1",
        f"urllib GET /urllib 200 {seen} GET /urllib",
        "urllib GET /missing 404",
    ]


@pytest.mark.parametrize("wrong", ["authority", "name"])
async def test_a_server_that_cannot_be_verified_is_never_spoken_to(
    guest_file: Files, shop: tuple[Authority, int], wrong: str
) -> None:
    authority, real_port = shop
    context = ssl.create_default_context() if wrong == "authority" else authority.context()
    ended, _ = await beside(
        guest_file("python"),
        ["http", "127.0.0.1", "80"],
        "127.0.0.1",
        80,
        real_port,
        tls=context,
        server_hostname="shop.example" if wrong == "authority" else "bank.example",
    )
    assert ended.code != 0
    assert ended.stdout == b""
