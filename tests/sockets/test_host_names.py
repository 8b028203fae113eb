from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasi_sockets.network import Network
from wasi_sockets.sockets import ErrorCode, ResolveAddressStream, SocketContext, resolve_addresses
from wasi_sockets.sockets.host_names import MAX_NAME_BYTES, DomainName, parse_host


def context_of(network: Network) -> SocketContext:
    return SocketContext(network, object())


@pytest.mark.parametrize(
    ("name", "address"),
    [
        # p2_ip_name_lookup
        ("0.0.0.0", "0.0.0.0"),
        ("127.0.0.1", "127.0.0.1"),
        ("192.0.2.0", "192.0.2.0"),
        ("::", "::"),
        ("::1", "::1"),
        ("[::]", "::"),
        ("2001:0db8:0:0:0:0:0:0", "2001:db8::"),
        ("dead:beef::", "dead:beef::"),
        ("dead:beef::0", "dead:beef::"),
        ("DEAD:BEEF::0", "dead:beef::"),
        # the URL standard's IPv4 parser
        ("127.1", "127.0.0.1"),
        ("0x7f.0.0.1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("0x", "0.0.0.0"),
        ("127.65535", "127.0.255.255"),
        ("%31%32%37.0.0.1", "127.0.0.1"),
        # a mapped address is what was asked for
        ("::ffff:1.2.3.4", "::ffff:1.2.3.4"),
    ],
)
def test_literals(name: str, address: str) -> None:
    assert parse_host(name) == ip_address(address)


@pytest.mark.parametrize(
    "name",
    [
        # p2_ip_name_lookup
        "",
        " ",
        "a.b<&>",
        "127.0.0.1:80",
        "[::]:80",
        "http://example.com/",
        # numbers that are no addresses are no names either
        "256.0.0.1",
        "1.2.3.4.5",
        "1.2.3.08",
        "foo.1",
        "foo.0x1",
        "1..2",
        "4294967296",
        # not a host
        "a b",
        "a%20b",
        "a%zz",
        "%",
        "a\x00b",
        "a\tb",
        "user@host",
        "[::1",
        "[127.0.0.1]",
        "[fe80::1%25eth0]",
        "fe80::1%eth0",
        "12345::",
        "xn--\u00fc..x",
        "a" * (MAX_NAME_BYTES + 1),
        "\u00fc" * (MAX_NAME_BYTES // 2 + 1),
    ],
)
def test_invalid_names(name: str) -> None:
    assert parse_host(name) is None
    assert resolve_addresses(context_of(Network()), name) is ErrorCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("localhost", "localhost"),
        ("LocalHost", "localhost"),
        ("example.com.", "example.com"),
        ("a_b-c.d", "a_b-c.d"),
        ("ex%41mple", "example"),
        ("m\u00fcnchen.de", "xn--mnchen-3ya.de"),
        ("a" * MAX_NAME_BYTES, "a" * MAX_NAME_BYTES),
    ],
)
def test_names(name: str, text: str) -> None:
    assert parse_host(name) == DomainName(text)


@given(st.text(max_size=300))
def test_parsing_never_raises_and_what_it_takes_is_clean(name: str) -> None:
    host = parse_host(name)
    if isinstance(host, DomainName):
        assert host.text.isascii()
        assert host.text == host.text.lower()
        assert not set(host.text) & set(" #/:<>?@[\\]^|%")
    else:
        assert host is None or isinstance(host, IPv4Address | IPv6Address)


def addresses(network: Network, name: str) -> list[str]:
    stream = resolve_addresses(context_of(network), name)
    assert isinstance(stream, ResolveAddressStream)
    assert stream.ready()
    found = []
    while (ip := stream.next_address()) is not None:
        found.append(str(ip))
    assert stream.next_address() is None  # again and again
    return found


def test_localhost_is_both_loopbacks_ipv4_first() -> None:
    assert addresses(Network(), "localhost") == ["127.0.0.1", "::1"]


@pytest.mark.parametrize("name", ["127.0.0.9", "127.9", "::1", "[::1]", "192.0.2.0", "::ffff:1.2.3.4"])
def test_literals_resolve_to_themselves_known_or_not(name: str) -> None:
    assert addresses(Network(), name) == [str(parse_host(name))]


def test_names_of_the_network_are_found_in_their_order() -> None:
    network = Network()
    network.add_name("db.internal", "127.0.0.9", "::1")
    assert addresses(network, "DB.Internal.") == ["127.0.0.9", "::1"]


def test_a_mapped_address_behind_a_name_is_given_as_ipv4() -> None:
    network = Network()
    network.add_name("old", "::ffff:127.0.0.5")
    assert addresses(network, "old") == ["127.0.0.5"]


@pytest.mark.parametrize("name", ["example.com", ".", "a..b", "a" * MAX_NAME_BYTES])
def test_unknown_names_do_not_resolve(name: str) -> None:
    stream = resolve_addresses(context_of(Network()), name)
    assert isinstance(stream, ResolveAddressStream)
    assert stream.ready()
    for _ in range(2):
        assert stream.next_address() is ErrorCode.NAME_UNRESOLVABLE


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "a b"])
def test_denied_lookups_fail_whatever_the_name(name: str) -> None:
    """`p2_cli_no_ip_name_lookup`"""
    context = SocketContext(Network(), object(), name_lookup=False)
    assert resolve_addresses(context, name) is ErrorCode.PERMANENT_RESOLVER_FAILURE
