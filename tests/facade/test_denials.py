"""What guests are told when a policy denies something, with egress running; and that the kernel is not asked then."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.guest_runs import Inputs, run_interposed
from wasi_sockets import Allow, Deny, Network, Policy
from wasi_sockets.network import IpAddress

Files = Callable[[str], Path]


@pytest.fixture
def internet_sockets(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The families of the Internet sockets that anything here asks the kernel for, and does not get."""
    asked: list[int] = []

    class Counted(socket.socket):
        def __init__(self, family: int = socket.AF_INET, *arguments: Any, **options: Any) -> None:
            if family in (socket.AF_INET, socket.AF_INET6):
                asked.append(family)
                raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
            super().__init__(family, *arguments, **options)

    monkeypatch.setattr(socket, "socket", Counted)
    return asked


async def lines_of(guest: Path, network: Network, *words: str) -> list[str]:
    """What a guest says while egress runs; no name has an address but a private one."""

    async def resolve(name: str) -> list[IpAddress]:
        return [ip_address("10.0.0.1")]

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(network.egress, resolver=resolve))
        ended = await run_interposed(guest, Inputs(arguments=words), network=network)
        nursery.cancel_scope.cancel()
    return ended.succeeded().lines


@pytest.mark.parametrize(
    ("host", "error"),
    [
        *(
            (host, "PermissionError EACCES")
            for host in ("192.0.2.1", "10.0.0.1", "169.254.169.254", "2001:db8::1", "fe80::1", "fc00::1")
        ),
        ("127.0.0.9", "PermissionError EACCES"),
        ("rebinding.example.com", "gaierror"),
        ("unknown.example.org", "gaierror"),
        ("nobody.internal", "gaierror"),
    ],
)
async def test_a_denied_connect(
    guest_file: Files, internet_sockets: list[int], host: str, error: str
) -> None:
    policy = Policy([Deny.connect("127.0.0.9"), Allow.connect("203.0.113.0/24", "*.example.com")])
    network = Network(policy=policy)
    [line] = await lines_of(guest_file("python"), network, "connect-error", host, "80")
    assert line.startswith(error)
    assert bool(network.denials()) is (host != "nobody.internal")
    assert internet_sockets == []


@pytest.mark.parametrize(
    "host", ["224.0.0.1", "255.255.255.255", "ff02::1", "::ffff:192.0.2.1", "0.0.0.0", "::"]
)
async def test_what_no_rule_lets_out(guest_file: Files, internet_sockets: list[int], host: str) -> None:
    network = Network(policy=Policy([Allow.connect("0.0.0.0/0", "::/0"), Allow.send()]))
    [line] = await lines_of(guest_file("python"), network, "connect-error", host, "80")
    assert line != "connected"
    assert internet_sockets == []


async def test_what_is_allowed_does_reach_the_kernel(guest_file: Files, internet_sockets: list[int]) -> None:
    network = Network(policy=Policy([Allow.connect("203.0.113.1")]))
    words = ("connect-error", "203.0.113.1", "80")
    assert await lines_of(guest_file("python"), network, *words) == [
        "OSError EHOSTUNREACH"
    ]  # remote-unreachable
    assert internet_sockets == [socket.AF_INET]
    assert network.denials() == []
