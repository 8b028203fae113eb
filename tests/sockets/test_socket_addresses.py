from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasi_sockets.network import IpAddress, SocketAddress
from wasi_sockets.sockets import AddressFamily
from wasi_sockets.sockets.addresses import belongs_to_family, is_bindable, is_connectable, is_unicast

IPV4, IPV6 = AddressFamily.IPV4, AddressFamily.IPV6


@pytest.mark.parametrize(
    ("text", "family", "bindable", "connectable"),
    [
        ("127.0.0.1", IPV4, True, True),
        ("10.1.2.3", IPV4, True, True),
        ("0.0.0.0", IPV4, True, False),
        ("255.255.255.255", IPV4, False, False),
        ("223.255.255.255", IPV4, True, True),
        ("224.0.0.0", IPV4, False, False),
        ("239.255.255.255", IPV4, False, False),
        ("240.0.0.1", IPV4, True, True),
        ("::1", IPV4, False, False),
        ("::1", IPV6, True, True),
        ("::", IPV6, True, False),
        ("::2", IPV6, False, False),
        ("::127.0.0.1", IPV6, False, False),
        ("::1:0:0", IPV6, True, True),
        ("::ffff:127.0.0.1", IPV6, False, False),
        ("::ffff:0.0.0.0", IPV6, False, False),
        ("2001:db8::1", IPV6, True, True),
        ("feff::1", IPV6, True, True),
        ("ff00::", IPV6, False, False),
        ("ff02::1", IPV6, False, False),
        ("127.0.0.1", IPV6, False, False),
    ],
)
def test_arguments_of_bind_and_connect(
    text: str, family: AddressFamily, bindable: bool, connectable: bool
) -> None:
    address = SocketAddress(ip_address(text), 80)
    assert is_bindable(address, family) is bindable
    assert is_connectable(address, family) is connectable


def test_port_0_is_bindable_and_not_connectable() -> None:
    address = SocketAddress(IPv4Address("127.0.0.1"), 0)
    assert is_bindable(address, IPV4)
    assert not is_connectable(address, IPV4)


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_the_bit_tests_agree_with_the_standard_library(ip: IpAddress) -> None:
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    assert is_unicast(ip) is not (ip.is_multicast or ip == IPv4Address("255.255.255.255"))
    assert not (belongs_to_family(ip, IPV4) and belongs_to_family(ip, IPV6))
    if isinstance(ip, IPv4Address):
        assert not belongs_to_family(IPv6Address(f"::ffff:{ip}"), IPV6)
        assert not is_connectable(SocketAddress(IPv6Address(f"::ffff:{ip}"), 1), IPV6)
