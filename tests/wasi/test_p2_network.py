"""Addresses and error codes as a 0.2 guest sees them."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p2_guest import Guest

from wasi_sockets.component.values import Err
from wasi_sockets.network import IpAddress, Network, SocketAddress
from wasi_sockets.sockets import ErrorCode
from wasi_sockets.wasi import Host, Limits
from wasi_sockets.wasi.p2.error import IoError
from wasi_sockets.wasi.p2.error_codes import CODES, failure, wit_name
from wasi_sockets.wasi.p2.network import from_ip, from_socket_address, to_socket_address


def test_an_ipv4_address() -> None:
    value = ("ipv4", {"port": 8080, "address": (127, 0, 0, 1)})
    address = SocketAddress(ip_address("127.0.0.1"), 8080)
    assert to_socket_address(value) == address  # type: ignore[arg-type]
    assert from_socket_address(address) == value


def test_an_ipv6_address_loses_its_scope_and_flow() -> None:
    segments = (0xFE80, 0, 0, 0, 0, 0, 0, 0x1234)
    value = ("ipv6", {"port": 1, "flow-info": 7, "address": segments, "scope-id": 3})
    address = SocketAddress(ip_address("fe80::1234"), 1)
    assert to_socket_address(value) == address  # type: ignore[arg-type]
    assert from_socket_address(address) == (
        "ipv6",
        {"port": 1, "flow-info": 0, "address": segments, "scope-id": 0},
    )


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), st.integers(0, 65535))
def test_every_address_survives_the_way_there_and_back(ip: IpAddress, port: int) -> None:
    address = SocketAddress(ip, port)
    value = from_socket_address(address)
    assert to_socket_address(value) == address
    assert from_ip(ip) == (value[0], value[1]["address"])


def test_every_code_has_a_name_that_0_2_knows() -> None:
    assert len(set(CODES)) == 21
    for code in ErrorCode:
        assert wit_name(code) in CODES
        assert failure(code) == Err(wit_name(code))
    assert {code for code in ErrorCode if wit_name(code) != code.value} == {ErrorCode.CONNECTION_BROKEN}
    assert wit_name(ErrorCode.CONNECTION_BROKEN) == "unknown"


@pytest.mark.parametrize(
    ("interface", "name", "of_a_reset", "of_another"),
    [
        ("wasi:io/error", "[method]error.to-debug-string", "connection-reset", "no space left"),
        ("wasi:sockets/network", "network-error-code", "connection-reset", None),
        ("wasi:filesystem/types", "filesystem-error-code", None, None),
        ("wasi:http/types", "http-error-code", None, None),
    ],
)
def test_looking_into_an_error(
    guest: Guest, interface: str, name: str, of_a_reset: str | None, of_another: str | None
) -> None:
    assert guest.call(interface, name, IoError(ErrorCode.CONNECTION_RESET)) == of_a_reset
    assert guest.call(interface, name, IoError(None, "no space left")) == of_another


def test_what_is_denied_altogether() -> None:
    """`p2_cli_no_tcp`, `p2_cli_no_udp`, `p2_cli_no_ip_name_lookup`"""
    calls = {
        "tcp": ("wasi:sockets/tcp-create-socket", "create-tcp-socket", "access-denied"),
        "udp": ("wasi:sockets/udp-create-socket", "create-udp-socket", "access-denied"),
        "name_lookup": ("wasi:sockets/ip-name-lookup", "resolve-addresses", "permanent-resolver-failure"),
    }
    for denied in calls:
        guest = Guest(Host(Network(), limits=Limits(**{denied: False})))  # type: ignore[arg-type]
        for kind, (interface, name, code) in calls.items():
            arguments = (guest.network, "localhost") if kind == "name_lookup" else ("ipv4",)
            made = guest.call(interface, name, *arguments)
            assert (made == Err(code)) == (kind == denied)
