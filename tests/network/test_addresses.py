from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from wasi_sockets.network import SocketAddress
from wasi_sockets.network._address import is_loopback, parse_ip


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1", IPv4Address("127.0.0.1")),
        ("::1", IPv6Address("::1")),
        (
            "1111:2222:3333:4444:5555:6666:255.255.255.255",
            IPv6Address("1111:2222:3333:4444:5555:6666:ffff:ffff"),
        ),
        ("fe80::1%eth0", None),
        ("127.0.0.01", None),
        ("1111:2222:3333:4444:5555:6666:255.255.255.255 ", None),
        ("1" * 100_000, None),
        ("", None),
    ],
)
def test_literals(text: str, address: IPv4Address | IPv6Address | None) -> None:
    assert parse_ip(text) == address
    assert parse_ip(text) == address  # and the second time


@pytest.mark.parametrize(
    ("text", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.255.0.9", True),
        ("128.0.0.1", False),
        ("0.0.0.1", False),
        ("::1", True),
        ("::", False),
    ],
)
def test_loopback_addresses(text: str, loopback: bool) -> None:
    assert is_loopback(ip_address(text)) is loopback


def test_addresses_read_as_people_write_them() -> None:
    assert str(SocketAddress(ip_address("::1"), 80)) == "[::1]:80"
    assert str(SocketAddress(ip_address("127.0.0.1"), 80)) == "127.0.0.1:80"
