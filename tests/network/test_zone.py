"""The reserved zone: its names mean what the network says, and nobody else is asked for them."""

from __future__ import annotations

import socket

import pytest

from wasi_sockets.network import HOST_ADDRESS, WASMCLOUD_ZONE, Allow, Deny, Network, Policy


def failure(network: Network, name: str) -> int | None:
    lookup = network.start_lookup(name)
    assert not lookup.pending
    assert lookup.addresses is None
    assert isinstance(lookup.error, socket.gaierror)
    return lookup.error.errno


def addresses(network: Network, name: str) -> list[str]:
    return list(map(str, network.start_lookup(name).addresses or ()))


async def test_services_have_names() -> None:
    network = Network()
    assert network.add_service_name("database", "127.0.0.5") == "database.svc.internal"
    assert network.add_service_name("Cache") == "cache.svc.internal"
    network.listen_tcp(5432, "database.svc.internal")
    stream = await network.connect_tcp("DATABASE.svc.internal.", 5432)
    assert str(stream.remote_address) == "127.0.0.5:5432"
    assert addresses(network, "cache.svc.internal") == ["127.0.0.1", "::1"]
    with pytest.raises(ValueError, match="not a host name"):
        network.add_service_name("a b")


async def test_the_host_has_a_name_and_an_address_where_nobody_is_by_itself() -> None:
    network = Network()
    assert network.resolve("host.internal") == [HOST_ADDRESS]
    with pytest.raises(ConnectionRefusedError):
        await network.connect_tcp("host.internal", 80)
    network.listen_tcp(80, "host.internal")
    await network.connect_tcp("host.internal", 80)


@pytest.mark.parametrize("name", ["x.internal", "internal", "x.svc.internal", "a.localhost", "X.Internal."])
def test_an_unknown_name_of_the_zone_fails_at_once_whatever_the_policy_allows(name: str) -> None:
    # A way out is not even needed to fail: EAI_AGAIN would mean that somebody was to be asked.
    network = Network(policy=Policy([Allow.lookup("*")]))
    assert failure(network, name) == socket.EAI_NONAME
    assert failure(network, "example.com") == socket.EAI_AGAIN


def test_another_zone() -> None:
    network = Network(zone="corp.test", policy=Policy([Allow.lookup("*")]))
    assert network.add_service_name("db") == "db.svc.corp.test"
    assert addresses(network, "host.corp.test") == [str(HOST_ADDRESS)]
    assert failure(network, "x.corp.test") == socket.EAI_NONAME
    assert failure(network, "notcorp.test") == socket.EAI_AGAIN
    assert failure(network, "host.internal") == socket.EAI_AGAIN
    with pytest.raises(ValueError, match="not a host name"):
        Network(zone="")


def test_wasmcloud_names() -> None:
    network = Network(zone_aliases=[WASMCLOUD_ZONE])
    network.add_service_name("db", "127.0.0.5")
    assert addresses(network, "db.svc.wasmcloud.internal") == ["127.0.0.5"]
    assert addresses(network, "service.wasmcloud.internal") == ["127.0.0.1", "::1"]
    assert addresses(network, "host.wasmcloud.internal") == [str(HOST_ADDRESS)]
    assert failure(network, "other.svc.wasmcloud.internal") == socket.EAI_NONAME
    assert failure(Network(), "host.wasmcloud.internal") == socket.EAI_NONAME


def test_lookups_can_be_denied_inside_too() -> None:
    network = Network(policy=Policy([Deny.lookup("secret.svc.internal")]))
    network.add_service_name("secret")
    assert failure(network, "secret.svc.internal") == socket.EAI_FAIL
    assert network.statistics().denials == {"lookup": 1}
    assert str(network.denials()[0]) == (
        "lookup secret.svc.internal denied: rule: deny lookup secret.svc.internal"
    )


def test_without_a_policy_unknown_names_are_unknown() -> None:
    assert failure(Network(), "example.com") == socket.EAI_NONAME
    assert failure(Network(policy=Policy()), "example.com") == socket.EAI_FAIL
    assert failure(Network(policy=Policy()), "no name") == socket.EAI_NONAME


def test_a_mapped_address_of_a_name_is_told_as_ipv4() -> None:
    network = Network()
    network.add_name("mapped", "::ffff:127.0.0.9")
    assert addresses(network, "mapped") == ["127.0.0.9"]
    assert addresses(network, "::ffff:127.0.0.9") == ["::ffff:7f00:9"]
