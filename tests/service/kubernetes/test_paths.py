"""Targets as the gateway reads them: what they ask, and which are never passed on."""

from __future__ import annotations

import string
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.kubernetes.paths import METHODS, ApiRequest, RefusedTarget, read_target


@pytest.mark.parametrize(
    ("method", "target", "told"),
    [
        ("GET", "/api/v1/pods", "list pods"),
        ("GET", "/api/v1/pods?watch=true", "watch pods"),
        ("GET", "/api/v1/pods?watch=0", "list pods"),
        ("GET", "/api/v1/pods?w%61tch=1", "watch pods"),
        ("GET", "/api/v1/pods?watch", "watch pods"),
        ("GET", "/api/v1/namespaces/a/pods/b", "get pods b in namespace a"),
        ("HEAD", "/api/v1/namespaces/a/pods/b", "get pods b in namespace a"),
        ("GET", "/api/v1/namespaces/a/pods/b/log", "get pods/log b in namespace a"),
        ("POST", "/api/v1/namespaces/a/pods", "create pods in namespace a"),
        ("POST", "/api/v1/namespaces/a/pods/b/eviction", "create pods/eviction b in namespace a"),
        ("PUT", "/apis/apps/v1/namespaces/a/deployments/b", "update deployments.apps b in namespace a"),
        ("PATCH", "/apis/x.example/v1/namespaces/a/sites/b/status", "patch sites/status.x.example b in namespace a"),
        ("DELETE", "/api/v1/namespaces/a/pods/b", "delete pods b in namespace a"),
        ("DELETE", "/api/v1/namespaces/a/pods", "deletecollection pods in namespace a"),
        ("GET", "/api/v1/namespaces", "list namespaces"),
        ("GET", "/api/v1/namespaces/a", "get namespaces a in namespace a"),
        ("PUT", "/api/v1/namespaces/a/finalize", "update namespaces/finalize a in namespace a"),
        ("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3anode",
         "get clusterroles.rbac.authorization.k8s.io system:node"),
        ("GET", "/api", "get /api"),
        ("GET", "/apis/", "get /apis"),
        ("GET", "/apis/apps/v1", "get /apis/apps/v1"),
        ("GET", "/", "get /"),
        ("GET", "/openapi/v2", "get /openapi/v2"),
    ],
)  # fmt: skip
def test_what_a_target_asks(method: str, target: str, told: str) -> None:
    assert str(read_target(method, target)) == told


def test_what_is_sent_is_written_anew() -> None:
    read = read_target("GET", "/api/v1/namespaces/%61/pods/b%3Ac/?limit=5&continue=a%2Bb")
    assert read.target == "/api/v1/namespaces/a/pods/b:c?limit=5&continue=a%2Bb"


@pytest.mark.parametrize(
    "target",
    [
        *("", "*", "api/v1/pods", "http://host/api/v1/pods", "//host/api", "/api//v1", "/api/v1//pods"),
        *("/api/v1/./pods", "/api/v1/../x", "/api/v1/%2e%2E/x", "/api/v1/%2e", "/api/v1/pods/..;/x"),
        *("/api/v1/a%2fb", "/api/v1/a%2Fb", "/api/v1/a%5cb", "/api/v1/a\\b", "/api/v1/a%252fb", "/api/v1/a%00"),
        *("/api/v1/%", "/api/v1/%2", "/api/v1/%zz", "/api/v1/%ff", "/api/v1/%c0%af", "/api/v1/a b", "/a\tb"),
        *("/api/v1/pods#x", "/api/v1/pods?a=b;watch=1", "/api/v1/pods?%", "/api/v1/pods?watch=0&watch=1"),
        *("/api/v1/pods?watch=0&w%61tch=1", "/api/v1/\u00e9", "/api/v1/a%0d%0ab", "/api/v1/a%3fb", "/api/v1/a%23b"),
        "/api/v1/namespaces/a/p:ods",
    ],
)  # fmt: skip
def test_targets_that_could_be_read_in_two_ways(target: str) -> None:
    with pytest.raises(RefusedTarget) as refused:
        read_target("GET", target)
    assert refused.value.code == 400


@pytest.mark.parametrize("channel", ["exec", "attach", "portforward", "proxy"])
@pytest.mark.parametrize(
    "where", ["/api/v1/namespaces/a/pods/b", "/api/v1/nodes/n", "/api/v1/namespaces/a/services/s"]
)
@pytest.mark.parametrize("more", ["", "/", "/x/y", "?command=sh"])
def test_channels_are_never_open(channel: str, where: str, more: str) -> None:
    for method in METHODS:
        for spelled in (channel, f"%{ord(channel[0]):x}{channel[1:]}"):
            with pytest.raises(RefusedTarget) as refused:
                read_target(method, f"{where}/{spelled}{more}")
            assert refused.value.code == 403


@pytest.mark.parametrize("method", ["CONNECT", "OPTIONS", "TRACE", "get", "", "PRI"])
def test_methods_that_mean_nothing_to_the_api(method: str) -> None:
    with pytest.raises(RefusedTarget) as refused:
        read_target(method, "/api/v1/pods")
    assert refused.value.code == 405


def test_a_target_that_is_too_long() -> None:
    with pytest.raises(RefusedTarget) as refused:
        read_target("GET", "/" + "a" * 9000)
    assert refused.value.code == 414


_PIECES = st.sampled_from(
    [
        *("/", "/", "/", "api", "apis", "v1", "apps", "namespaces", "pods", "nodes", "default", "x", "watch"),
        *(
            "exec",
            "proxy",
            "attach",
            "portforward",
            "status",
            "finalize",
            "..",
            ".",
            "%2e",
            "%2F",
            "%5c",
            "%25",
        ),
        *(
            "%",
            "%0a",
            "?",
            "&",
            "watch=1",
            "watch=0",
            ";",
            "#",
            "=",
            "\\",
            " ",
            "\u00e9",
            "%C3%A9",
            "%65xec",
            ":",
        ),
    ]
)
_TARGETS = st.lists(_PIECES | st.text(string.printable, max_size=3), max_size=14).map(
    lambda pieces: "/" + "".join(pieces)
)


@given(st.sampled_from(sorted(METHODS)), _TARGETS)
@example("GET", "/api/v1/namespaces/default/pods/%65xec/exec")
def test_whatever_passes_is_read_the_same_again(method: str, target: str) -> None:
    try:
        read = read_target(method, target)
    except RefusedTarget:
        return
    assert read_target(method, read.target) == read
    _check_harmless(read)


def _check_harmless(read: ApiRequest) -> None:
    assert read.path.startswith("/")
    assert "//" not in read.path
    assert all("!" <= each <= "~" for each in read.target)
    decoded = [unquote(each) for each in read.path.split("/")[1:]]
    assert not any(each in (".", "..") or "/" in each or "%" in each or "\\" in each for each in decoded)
    if read.resource:
        assert read.subresource not in ("exec", "attach", "portforward", "proxy")
        # What was judged is in the path, and nothing else is.
        words = [read.group, read.version, read.namespace, read.resource, read.name, read.subresource]
        assert set(decoded) - {"api", "apis", "namespaces"} <= set(words)
