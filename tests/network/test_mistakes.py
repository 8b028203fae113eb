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
