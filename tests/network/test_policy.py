"""Policies by themselves: what rules mean, over all kinds of addresses."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasi_sockets.network import Allow, Deny, IpAddress, Policy, Reason, Rule, SocketAddress
from wasi_sockets.network._policy import Decision, can_leave, canonical_ip, is_public

IPS = st.one_of(
    st.ip_addresses(),
    st.sampled_from(
        ["0.0.0.0", "0.1.2.3", "127.0.0.1", "169.254.169.254", "224.0.0.1", "255.255.255.255", "10.0.0.1"]
    ),
    st.sampled_from(
        ["::", "::1", "fe80::1", "ff02::1", "fc00::1", "2001:db8::1", "::ffff:127.0.0.1", "::7f00:1"]
    ),
    st.ip_addresses(v=4).map(lambda ip: IPv6Address(f"::ffff:{ip}")),
    st.ip_addresses(v=4, network="127.0.0.0/8"),
).map(ip_address)
PORTS = st.integers(1, 65535)
NEVER = [
    ip_network("0.0.0.0/8"),
    ip_network("127.0.0.0/8"),
    ip_network("224.0.0.0/4"),
    ip_network("255.255.255.255/32"),
    ip_network("::/96"),
    ip_network("ff00::/8"),
    ip_network("::ffff:0.0.0.0/104"),
    ip_network("::ffff:127.0.0.0/104"),
    ip_network("::ffff:224.0.0.0/100"),
    ip_network("::ffff:255.255.255.255/128"),
]


def decide(
    policy: Policy, use: str, ip: str | IpAddress, port: int = 80, leaves: bool = True, names=()
) -> Decision:
    return policy.decide(use, SocketAddress(ip_address(ip), port), leaves=leaves, names=names)


@given(IPS, PORTS)
def test_without_rules_nothing_leaves_and_everything_inside_is_allowed(ip: IpAddress, port: int) -> None:
    assert not decide(Policy(), "connect", ip, port).allowed
    assert decide(Policy(), "connect", ip, port, leaves=False).allowed


@given(IPS)
def test_some_addresses_never_leave(ip: IpAddress) -> None:
    never = any(ip in network for network in NEVER)
    assert can_leave(ip) is not never
    everything = Policy([Allow.connect("0.0.0.0/0", "::/0"), Allow.send()])
    for use in ("connect", "send"):
        found = decide(everything, use, ip)
        assert found.allowed is not never
        assert (found.reason is Reason.NEVER_LEAVES) is never


@given(st.ip_addresses(v=4), st.integers(0, 32), st.ip_addresses(v=4))
def test_a_range_holds_what_ipaddress_says_and_its_mapped_forms(
    base: IPv4Address, length: int, ip: IPv4Address
) -> None:
    network = ip_network((base, length), strict=False)
    mapped = IPv6Address(f"::ffff:{ip}")
    rule = Deny.accept(network)
    assert canonical_ip(mapped) == ip
    for form in (ip, mapped):
        assert decide(Policy([rule]), "accept", form, leaves=False).allowed is (ip not in network)
    text = f"::ffff:{network.network_address}/{96 + length}"
    assert Deny.accept(text).networks == (network,)


@given(st.ip_addresses(v=6), st.integers(0, 128), st.ip_addresses(v=6))
def test_a_range_of_ipv6(base: IPv6Address, length: int, ip: IPv6Address) -> None:
    network = ip_network((base, length), strict=False)
    inside = decide(Policy([Allow.connect(network)]), "connect", ip).allowed
    if ip.ipv4_mapped is None:
        assert inside is (ip in network and can_leave(ip))


@pytest.mark.parametrize(
    "ip", ["64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "2001:0:a9fe:a9fe::1", "::ffff:169.254.169.254"]
)
def test_a_deny_rule_sees_through_what_carries_an_ipv4_address(ip: str) -> None:
    policy = Policy([Deny.connect("169.254.0.0/16"), Allow.connect("0.0.0.0/0", "::/0")])
    assert decide(policy, "connect", ip).reason is Reason.RULE
    assert not is_public(ip_address(ip))


@pytest.mark.parametrize(
    "ip",
    [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.1.1",
        "198.18.0.1",
        "192.0.2.1",
        "240.0.0.1",
        "fe80::1",
        "fc00::1",
        "fd12::1",
        "2001:db8::1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
    ],
)
def test_public_is_the_internet_only(ip: str) -> None:
    policy = Policy([Allow.connect("public")])
    assert not decide(policy, "connect", ip).allowed
    assert decide(policy, "connect", "1.1.1.1").allowed
    assert decide(policy, "connect", "2606:4700::1111").allowed
    assert decide(policy, "connect", "64:ff9b::101:101").allowed


def test_the_first_rule_that_matches_decides() -> None:
    policy = Policy([Deny.connect("203.0.113.7"), Allow.connect("203.0.113.0/24", ports=443)])
    assert decide(policy, "connect", "203.0.113.8", 443).allowed
    assert decide(policy, "connect", "203.0.113.7", 443).rule == policy.rules[0]
    assert decide(policy, "connect", "203.0.113.8", 80).reason is Reason.NO_RULE
    assert decide(policy, "send", "203.0.113.8", 443).reason is Reason.NO_RULE


@given(PORTS)
def test_ports(port: int) -> None:
    policy = Policy([Allow.connect("192.0.2.1", ports=[22, range(8000, 8010)])])
    assert decide(policy, "connect", "192.0.2.1", port).allowed is (port == 22 or 8000 <= port < 8010)


def test_a_name_allows_its_public_addresses_only() -> None:
    policy = Policy([Allow.connect("api.example.com", "*.example.org", ports=443)])
    names = ("api.example.com",)
    assert decide(policy, "connect", "1.1.1.1", 443, names=names).allowed
    assert decide(policy, "connect", "1.1.1.1", 443, names=("a.b.example.org",)).allowed
    assert not decide(policy, "connect", "1.1.1.1", 443, names=("example.org",)).allowed
    assert not decide(policy, "connect", "1.1.1.1", 80, names=names).allowed
    assert not decide(policy, "connect", "1.1.1.1", 443).allowed
    assert decide(policy, "connect", "192.168.0.1", 443, names=names).reason is Reason.REBINDING
    denied = Policy([Deny.connect("evil.example.com"), Allow.connect("public")])
    assert decide(denied, "connect", "1.1.1.1", 443, names=("evil.example.com",)).reason is Reason.RULE


@given(IPS)
def test_an_answer_is_told_if_public_or_named_by_a_rule(ip: IpAddress) -> None:
    policy = Policy([Allow.lookup("*"), Allow.connect("10.0.0.0/8")])
    found = policy.decide_answer("a.example", ip)
    private = canonical_ip(ip) in ip_network("10.0.0.0/8")
    assert found.allowed is (is_public(ip) or private)
    if not found.allowed:
        assert found.reason is (Reason.REBINDING if can_leave(ip) else Reason.NEVER_LEAVES)


def test_names_in_rules_for_connect_and_send_allow_looking_them_up() -> None:
    policy = Policy(
        [Deny.lookup("no.example.com"), Allow.connect("*.example.com"), Allow.send("dns.example.net")]
    )
    assert policy.decide_lookup("api.example.com", leaves=True).allowed
    assert policy.decide_lookup("dns.example.net", leaves=True).allowed
    assert policy.decide_lookup("no.example.com", leaves=True).reason is Reason.RULE
    assert policy.decide_lookup("example.com", leaves=True).reason is Reason.NO_RULE
    assert policy.decide_lookup("db.internal", leaves=False).allowed
    assert not Policy([Allow.connect("1.1.1.1")]).decide_lookup("a.example", leaves=True).allowed
    assert Policy([Allow.lookup()]).decide_lookup("a.example", leaves=True).allowed


@pytest.mark.parametrize(
    "make",
    [
        lambda: Allow.connect("10.0.0.1/8"),
        lambda: Allow.connect("300.1.2.3"),
        lambda: Allow.connect("1.2.3"),
        lambda: Allow.connect("fe80::1%eth0/64"),
        lambda: Allow.connect("a b"),
        lambda: Allow.connect("*example.com"),
        lambda: Allow.connect("10.0.0.1", ports=65536),
        lambda: Allow.connect("10.0.0.1", ports=range(5, 5)),
        lambda: Allow.connect("10.0.0.1", ports=range(1, 10, 2)),
        lambda: Allow.connect("10.0.0.1", ports=[]),
        lambda: Allow.accept("api.example.com"),
        lambda: Allow.lookup("10.0.0.1"),
        lambda: Allow.lookup("public"),
        lambda: Policy(mode="count"),  # type: ignore[arg-type]
    ],
)
def test_a_rule_that_cannot_be_meant_is_an_error(make) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # each has a text of its own
        make()


def test_rules_can_be_read() -> None:
    rule = Allow.connect("203.0.113.0/24", "public", "API.Example.com.", ports=[443, range(8000, 8010)])
    assert str(rule) == "allow connect 203.0.113.0/24,public,api.example.com ports 443,8000-8009"
    assert str(Deny.listen()) == "deny listen all"
    assert isinstance(rule, Rule)
    assert Policy([rule]) == Policy((rule,))
    assert hash(Policy([rule])) == hash(Policy([rule]))
