"""Arguments of the wrong kind are refused at once, by messages that say what to give."""

from __future__ import annotations

from typing import Any

import pytest

from wasi_sockets import Allow, Network, Policy

anything: Any = object()


def test_a_policy_given_as_the_name_is_refused() -> None:
    policy: Any = Policy([Allow.connect("example.com")])
    with pytest.raises(TypeError, match="give a policy as policy="):
        Network(policy)
    with pytest.raises(TypeError, match="name must be a str, not object"):
        Network(anything)


def test_a_policy_that_is_none_is_refused() -> None:
    text: Any = "x"
    with pytest.raises(TypeError, match="policy must be a Policy, not str"):
        Network(policy=text)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("x", "must be a list of rules, not str"),
        (Allow.connect("example.com"), "must be a list of rules, not Rule"),
        (["x"], "made by Allow or Deny"),
        ([Allow.connect("example.com"), None], "made by Allow or Deny"),
    ],
)
def test_rules_that_are_none_are_refused(rules: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Policy(rules)


async def test_ports_that_are_no_numbers_are_refused_before_anything_is_taken() -> None:
    network = Network()
    text: Any = "80"
    for listen in (network.listen_tcp, network.open_udp):
        with pytest.raises(TypeError, match=r"^port must be an int, such as 8080, not '80'"):
            listen(text)
    for reach in (network.serve_tcp, network.connect_tcp):
        arguments: tuple[Any, ...] = (anything, text)
        with pytest.raises(TypeError, match=r"^port must be an int, such as 8080, not '80'"):
            await reach(*arguments)
    with pytest.raises(TypeError, match=r"^virtual_port must be an int, such as 8080, not '80'"):
        await network.publish(text)
    with pytest.raises(TypeError, match=r"^port must be an int, such as 8080, not '80'"):
        await network.publish(80, port=text)
    assert network.sockets() == []


@pytest.mark.parametrize("goal", ["example.com:80", ("example.com",), (80, "example.com"), 80, b"ab"])
async def test_a_forward_says_how_its_goal_is_given(goal: Any) -> None:
    with pytest.raises(
        TypeError, match=r"`to` must be a host and a port, such as \('db.example.com', 5432\)"
    ):
        await Network().forward(80, goal)


async def test_a_forward_takes_numbers_for_ports_only() -> None:
    port: Any = "80"
    with pytest.raises(TypeError, match=r"^the port in `to` must be an int"):
        await Network().forward(80, ("example.com", port))
    with pytest.raises(TypeError, match=r"^port must be an int"):
        await Network().forward(port, ("example.com", 80))


@pytest.mark.parametrize("ports", ["443", b"443", 443.0, ["443"], [80, None]])
def test_a_rule_says_how_its_ports_are_given(ports: Any) -> None:
    with pytest.raises(TypeError, match="ports must be an int, such as 443, a range, or a list of these"):
        Allow.connect("example.com", ports=ports)
