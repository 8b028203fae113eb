"""A network that has a policy: each use, who hears of a denial, and what never reaches the kernel."""

from __future__ import annotations

import errno
import logging
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasi_sockets.network import (
    Allow,
    Denial,
    Deny,
    IpAddress,
    Network,
    Policy,
    PolicyDenied,
    Reason,
    SocketAddress,
    UdpEndpoint,
)


def at(ip: str | IpAddress, port: int = 0) -> SocketAddress:
    return SocketAddress(ip_address(ip), port)


def udp(network: Network, ip: str = "127.0.0.1", port: int = 0) -> UdpEndpoint:
    return network.start_udp(network.reserve("udp", at(ip, port)))


def last_denial(network: Network) -> Denial:
    return network.denials()[-1]


async def test_uses_inside_can_be_denied() -> None:
    network = Network(
        policy=Policy(
            [
                Deny.bind("127.0.0.9"),
                Deny.listen(ports=range(1, 1024)),
                Deny.connect("127.0.0.2", ports=5000),
                Deny.accept("127.0.0.3", ports=6000),
            ]
        )
    )
    for protocol in ("tcp", "udp"):
        with pytest.raises(PolicyDenied):
            network.reserve(protocol, at("127.0.0.9", 4000))
    reservation = network.reserve("tcp", at("127.0.0.1", 80))
    with pytest.raises(PolicyDenied) as caught:
        network.start_listen(reservation)
    assert caught.value.errno == errno.EACCES
    assert caught.value.denial == last_denial(network)
    assert caught.value.denial.use == "listen"
    assert not reservation.taken
    reservation.release()

    network.listen_tcp(5000, "127.0.0.2")
    with pytest.raises(PolicyDenied):
        await network.connect_tcp("127.0.0.2", 5000)
    network.listen_tcp(6000)
    await network.connect_tcp("127.0.0.1", 6000)
    source = network.reserve("tcp", at("127.0.0.3"))
    assert network.start_connect(at("127.0.0.1", 6000), reservation=source).state == "refused"
    assert last_denial(network).use == "accept"
    assert network.statistics().denials == {"bind": 2, "listen": 1, "connect": 1, "accept": 1}


def test_datagrams_inside_can_be_denied() -> None:
    network = Network(policy=Policy([Deny.send(ports=53), Deny.receive("127.0.0.3", ports=7000)]))
    server, client, stranger = udp(network, port=7000), udp(network), udp(network, "127.0.0.3")
    client.send(b"yes", server.local_address)
    stranger.send(b"no", server.local_address)
    assert server.queued == 1
    assert network.statistics().datagrams_dropped == 1
    udp(network, port=53)
    for operation in (
        lambda: client.send(b"", at("127.0.0.1", 53)),
        lambda: client.connect(at("127.0.0.1", 53)),
    ):
        with pytest.raises(PolicyDenied):
            operation()
    assert client.remote_address is None
    assert network.statistics().denials == {"receive": 1, "send": 2}


OUTSIDE = st.one_of(
    st.ip_addresses(v=4),
    st.ip_addresses(v=6),
    st.ip_addresses(v=4).map(lambda ip: ip_address(f"::ffff:{ip}")),
    st.sampled_from(
        ["169.254.169.254", "224.0.0.1", "255.255.255.255", "fe80::1", "ff02::1", "::ffff:127.0.0.1"]
    ).map(ip_address),
).filter(
    lambda ip: not ip.is_unspecified and not (ip.is_loopback and getattr(ip, "ipv4_mapped", None) is None)
)


@given(OUTSIDE, st.integers(1, 65535))
def test_outside_is_denied_without_a_rule_and_unreachable_without_a_policy(ip: IpAddress, port: int) -> None:
    remote = at(ip, port)
    everything = Policy([Allow.connect(), Allow.send(), Allow.bind()])
    for policy, expected in ((None, {errno.ENETUNREACH}), (Policy(), {errno.EACCES})):
        network = Network(policy=policy)
        endpoint = udp(network, "127.0.0.1" if ip.version == 4 else "::1")
        for use in (
            lambda: network.start_connect(remote),  # noqa: B023  # called at once
            lambda: endpoint.send(b"", remote),  # noqa: B023
            lambda: endpoint.connect(remote),  # noqa: B023
        ):
            with pytest.raises(OSError) as caught:  # noqa: PT011  # the number is the result
                use()
            assert caught.value.errno in expected
        with pytest.raises(OSError) as caught:  # noqa: PT011
            network.reserve("tcp", at(ip))
        assert caught.value.errno == errno.EADDRNOTAVAIL
        assert endpoint.remote_address is None
        assert network.statistics().sockets == {"unconnected": 1}
    # A rule by itself opens nothing either: somebody has to run the way out.
    network = Network(policy=everything)
    with pytest.raises(OSError) as caught:  # noqa: PT011
        network.start_connect(remote)
    assert caught.value.errno in (errno.ENETUNREACH, errno.EACCES)


def test_a_wildcard_socket_is_not_reached_under_an_address_outside() -> None:
    network = Network()
    server, client = udp(network, "0.0.0.0", 5000), udp(network)
    with pytest.raises(OSError, match="unreachable"):
        client.send(b"", at("192.0.2.1", 5000))
    assert server.queued == 0


def test_audit_allows_counts_and_logs(caplog: pytest.LogCaptureFixture) -> None:
    network = Network(policy=Policy([Deny.listen()], mode="audit"))
    with caplog.at_level(logging.DEBUG, "wasi_sockets.policy"):
        for _ in range(3):
            network.start_listen(network.reserve("tcp", at("127.0.0.1", 8080))).close()
        with pytest.raises(OSError, match="egress is not running"):
            network.start_connect(at("192.0.2.1", 80))
        with pytest.raises(PolicyDenied):  # no policy lets this out
            network.start_connect(at("224.0.0.1", 80))
    assert network.statistics().denials == {"listen": 3, "connect": 2}
    assert [denial.enforced for denial in network.denials()] == [False, False, False, False, True]
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.getMessage() for record in warnings] == [
        "listen 127.0.0.1:8080 would be denied: rule: deny listen all",
        "connect 192.0.2.1:80 would be denied: no-rule",
        "connect 224.0.0.1:80 denied: never-leaves",
    ]
    told = warnings[0].__dict__
    assert told["event.name"] == "wasi_sockets.policy.denied"
    assert (told["wasi_sockets.policy.use"], told["wasi_sockets.policy.reason"]) == ("listen", "rule")
    assert (told["network.peer.address"], told["network.peer.port"]) == ("127.0.0.1", 8080)
    assert told["wasi_sockets.policy.enforced"] is False


def test_a_guest_cannot_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    network = Network(policy=Policy())
    with caplog.at_level(logging.WARNING, "wasi_sockets.policy"):
        for port in range(1, 2001):
            with pytest.raises(PolicyDenied):
                network.start_connect(at("192.0.2.1", port))
    assert len(caplog.records) == 1024
    assert len(network.denials()) == 256
    assert network.statistics().denials == {"connect": 2000}


def test_a_denial_knows_the_owner_and_leaves_the_reservation() -> None:
    network = Network(policy=Policy())
    owner = object()
    reservation = network.reserve("tcp", at("127.0.0.1"), owner=owner)
    with pytest.raises(PolicyDenied) as caught:
        network.start_connect(at("192.0.2.1", 80), reservation=reservation)
    assert caught.value.denial.owner is owner
    assert caught.value.denial.reason is Reason.NO_RULE
    assert not reservation.taken


def test_a_listener_that_is_denied_leaves_its_port_free() -> None:
    network = Network(policy=Policy([Deny.listen("127.0.0.1")]))
    for _ in range(2):
        with pytest.raises(PolicyDenied):
            network.listen_tcp(8080)
    assert network.sockets() == []
