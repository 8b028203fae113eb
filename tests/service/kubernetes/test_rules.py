"""Rules of the gateway: what they allow, and what they cannot be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.kubernetes import AccessRule
from service.kubernetes.headers import RefusedHeaders, request_fields, response_fields
from service.kubernetes.paths import read_target
from service.kubernetes.rules import allowed


def rule(**fields: Any) -> AccessRule:
    given = {"services": ("a",), "verbs": ("get", "list"), "resources": ("pods",), "namespaces": ("n",)}
    return AccessRule(**{**given, **fields})


def allows(rule: AccessRule, method: str, target: str, service: str = "a") -> bool:
    return allowed([rule], service, read_target(method, target))


def test_without_rules_nothing_is_allowed() -> None:
    assert not allowed([], "a", read_target("GET", "/version"))


def test_each_part_must_match() -> None:
    target = "/api/v1/namespaces/n/pods/p"
    assert allows(rule(), "GET", target)
    assert not allows(rule(), "GET", target, service="b")
    assert not allows(rule(), "PUT", target)
    assert not allows(rule(), "GET", "/apis/metrics.k8s.io/v1/namespaces/n/pods/p")
    assert not allows(rule(), "GET", "/api/v1/namespaces/m/pods/p")
    assert not allows(rule(), "GET", "/api/v1/pods")
    assert not allows(rule(), "GET", "/api/v1/namespaces/n/pods?watch=1")
    assert not allows(rule(), "GET", "/api/v1/namespaces/n/podtemplates/p")


def test_stars() -> None:
    everything = rule(verbs=("*",), groups=("*",), resources=("*",), namespaces=("*",))
    assert allows(everything, "DELETE", "/apis/apps/v1/namespaces/n/deployments")
    assert allows(everything, "GET", "/api/v1/nodes")
    assert not allows(everything, "PUT", "/api/v1/namespaces/n/pods/p/status")
    assert not allows(everything, "GET", "/version")
    assert allows(
        rule(verbs=("update",), resources=("*/status",)), "PUT", "/api/v1/namespaces/n/pods/p/status"
    )


def test_subresources_are_named() -> None:
    target = "/api/v1/namespaces/n/pods/p/log"
    assert not allows(rule(), "GET", target)
    assert allows(rule(resources=("pods/log",)), "GET", target)
    assert not allows(rule(resources=("pods/log",)), "GET", "/api/v1/namespaces/n/pods/p")


def test_names_exclude_whatever_names_nothing() -> None:
    only = rule(names=("p",), verbs=("*",))
    assert allows(only, "GET", "/api/v1/namespaces/n/pods/p")
    assert not allows(only, "GET", "/api/v1/namespaces/n/pods/q")
    assert not allows(only, "GET", "/api/v1/namespaces/n/pods")
    assert not allows(only, "POST", "/api/v1/namespaces/n/pods")


def test_paths_that_are_no_resource() -> None:
    paths = AccessRule(services=("a",), verbs=("get",), paths=("/version", "/openapi/*"))
    assert allows(paths, "GET", "/version")
    assert allows(paths, "HEAD", "/version/")
    assert allows(paths, "GET", "/openapi/v3/apis")
    assert not allows(paths, "GET", "/openapi")
    assert not allows(paths, "GET", "/openapiextra")
    assert not allows(paths, "POST", "/version")
    assert not allows(paths, "GET", "/api/v1/nodes")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"services": ()}, "names the services"),
        ({"services": ("*",)}, "names the services"),
        ({"services": ("",)}, "names the services"),
        ({"verbs": ()}, "verbs are some of"),
        ({"verbs": ("read",)}, "not read"),
        ({"resources": ()}, "allows nothing"),
        ({"namespaces": ()}, "in which namespaces"),
        ({"paths": ("version",)}, "begins with '/'"),
    ],
)
def test_rules_that_say_nothing_sensible(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        rule(**fields)


def test_a_string_is_no_tuple_of_strings() -> None:
    with pytest.raises(TypeError, match="tuple of strings"):
        rule(verbs="get")


_TOKENS = st.sampled_from([b"authorization", b"content-length", b"x-a", b"impersonate-user", b"host", b"te"])


@given(st.lists(st.tuples(_TOKENS | st.sampled_from([b"connection", b"transfer-encoding", b"x_a"]), _TOKENS)))
def test_whatever_fields_pass_say_nothing_of_who_asks_or_of_one_hop(
    fields: list[tuple[bytes, bytes]],
) -> None:
    try:
        passed = request_fields(fields)
    except RefusedHeaders:
        return
    names = [name for name, _ in passed]
    assert not {b"authorization", b"impersonate-user", b"host", b"connection", b"te", b"x_a"} & set(names)
    # The framing of the body is what it was, whatever `Connection` names.
    framing = [name for name, _ in fields if name in (b"content-length", b"transfer-encoding")]
    assert [name for name in names if name in (b"content-length", b"transfer-encoding")] == framing


def test_answers_lose_what_is_of_one_hop() -> None:
    fields = [(b"Connection", b"X-A"), (b"X-A", b"1"), (b"Set-Cookie", b"c"), (b"Audit-Id", b"i")]
    assert response_fields(fields) == [(b"audit-id", b"i")]
