"""What a `Workload` resource may ask of a host, and that no spec can do more than be refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from service.kubernetes.operator import Allowance, NotAdmittedError, admitted
from service.kubernetes.operator._api import parsed
from wasi_sockets import Limits

ANYWHERE = frozenset({"*"})


def resource(spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "tasks", "namespace": "shop", "generation": 1}, "spec": spec}


def test_a_workload_of_images_and_volumes_is_admitted() -> None:
    spec = admitted(
        resource(
            {
                "services": {
                    "api": {
                        "image": "example.com/api:1",
                        "ports": [7],
                        "directories": {"/d": {"volume": "d"}},
                    }
                }
            }
        ),
        Allowance(registries=frozenset({"example.com"})),
    )
    assert spec.id == "shop/tasks"


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"services": {"api": {"component": "/etc/passwd"}}}, "by `image` here, not from files of the host"),
        (
            {"services": {"api": {"handler": "os:system", "ports": [7]}}},
            "os:system is not among the Python code",
        ),
        ({"services": {"api": {"asgi": "a:b", "ports": [7]}}}, "a:b is not among the Python code"),
        ({"services": {"api": {"task": "a:b"}}}, "a:b is not among the Python code"),
        ({"services": {"api": {"image": "e.com/a:1", "directories": ["/etc::/e"]}}}, "/etc is not among"),
        ({"services": {"api": {"image": "e.com/a:1", "directories": ["/srv/../etc::/e"]}}}, "is not among"),
        ({"services": {"api": {"image": "e.com/a:1", "directories": ["/srvx::/e"]}}}, "/srvx is not among"),
        ({"services": {"api": {"image": "e.com/a:1", "http": "stock"}}}, "--allow-network"),
        ({"services": {"api": {"image": "e.com/a:1"}}, "publish": ["80:80"]}, "spec.publish: "),
        ({"services": {"api": {"image": "e.com/a:1"}}, "publish": "auto"}, "spec.publish: "),
        ({"services": {"api": {"image": "e.com/a:1"}}, "forward": ["1=e.com:1"]}, "spec.forward: "),
        ({"services": {"api": {"image": "e.com/a:1"}}, "allow": ["public"]}, "spec.allow: "),
        ({"services": {"api": {"image": "e.com/a:1", "environment": {"A": {"from": "HOME"}}}}}, "HOME"),
        ({"services": {"api": {"image": "e.com/a:1", "port": 3}}}, "unknown key 'port'"),
        ({"services": {}}, "neither services nor components"),
        (
            {"name": "other", "services": {"api": {"image": "e.com/a:1"}}},
            "spec.name: it is the resource's own",
        ),
        ({"namespace": "kube-system", "services": {"api": {"image": "e.com/a:1"}}}, "spec.namespace: "),
        ({"apiVersion": "runtime.wasmcloud.dev/v1alpha1", "kind": "Workload"}, "spec.apiVersion: "),
        (
            {
                "<<": {"apiVersion": "runtime.wasmcloud.dev/v1alpha1", "kind": "Workload"},
                "metadata": {"name": "victim", "namespace": "kube-system"},
                "spec": {"components": [{"name": "x", "image": "e.com/a:1"}]},
            },
            "unknown key '<<'",
        ),
        (
            {
                "<<": {"apiVersion": "v1", "kind": "ConfigMap"},
                "metadata": {"name": "a"},
                "data": {},
            },
            "unknown key '<<'",
        ),
        ({"services": {"api": {"<<": {"image": "e.com/a:1"}}}}, "unknown key '<<'"),
        (None, "spec: missing"),
        ("x", "spec: missing"),
    ],
)
def test_what_asks_for_too_much_is_not(spec: Any, problem: str) -> None:
    with pytest.raises(NotAdmittedError) as raised:
        admitted(resource(spec), Allowance(registries=ANYWHERE, directories=("/srv",)))
    assert problem in str(raised.value)


def test_a_link_does_not_lead_out_of_a_listed_directory(tmp_path: Path) -> None:
    listed = tmp_path / "listed"
    (listed / "inside").mkdir(parents=True)
    (listed / "out").symlink_to("/etc")
    for name, good in (("inside", True), ("", True), ("out", False), ("../other", False)):
        spec = {"services": {"api": {"image": "e.com/a:1", "directories": [f"{listed}/{name}::/d"]}}}
        if good:
            admitted(resource(spec), Allowance(registries=ANYWHERE, directories=(str(listed),)))
        else:
            with pytest.raises(NotAdmittedError):
                admitted(resource(spec), Allowance(registries=ANYWHERE, directories=(str(listed),)))


def test_a_host_that_lets_workloads_out_admits_doors() -> None:
    spec = {
        "services": {"api": {"image": "e.com/a:1", "http": "stock"}},
        "publish": ["80:80"],
        "allow": ["public"],
    }
    admitted(resource(spec), Allowance(registries=ANYWHERE, network=True))


@pytest.mark.parametrize(
    "image",
    [
        *(
            "169.254.169.254/latest/meta-data:1",
            "127.0.0.1:2379/a:1",
            "[::1]:10250/a:1",
            "localhost/a:1",
            "a:1",
        ),
        *("example.com.evil.org/a:1", "example.com:444/shop/a:1", "evil.org/example.com/shop/a:1"),
        *("example.com/shopping/a:1", "example.com/a:1", "kubernetes.default.svc/a:1"),
    ],
)
def test_images_come_from_listed_registries_only(image: str) -> None:
    wanted = resource({"services": {"api": {"image": image}}})
    for registries in (frozenset[str](), frozenset({"example.com/shop"})):
        with pytest.raises(NotAdmittedError, match="--allow-registry"):
            admitted(wanted, Allowance(registries=registries))
    admitted(wanted, Allowance(registries=ANYWHERE))


def test_a_listed_registry_may_be_a_part_of_one() -> None:
    for image in ("example.com/shop/a:1", "EXAMPLE.com/shop/a/b@sha256:" + 64 * "0"):
        spec = resource({"services": {"api": {"image": image}}})
        admitted(spec, Allowance(registries=frozenset({"Example.com/shop/"})))


def test_a_component_has_no_more_memory_and_processor_time_than_the_host_gives() -> None:
    allowance = Allowance(registries=ANYWHERE, memory=64 << 20, cpu=0.5)

    def limits(**given: Any) -> Limits:
        api = {"image": "e.com/a:1", "limits": given}
        spec = {"services": {"api": api}, "components": {"job": {"image": "e.com/a:1"}}}
        found = admitted(resource(spec), allowance)
        assert found.components[0].limits == Limits(memory=64 << 20, cpu=0.5, memories=32)
        return found.services[0].limits

    assert limits() == Limits(memory=64 << 20, cpu=0.5, memories=32)
    assert limits(memory="1MiB", cpu=0.25, memories=2) == Limits(memory=1 << 20, cpu=0.25, memories=2)
    for asked in ({"memory": "65MiB"}, {"cpu": 0.6}, {"memories": 33}):
        with pytest.raises(NotAdmittedError, match="this host gives at most"):
            limits(**asked)


@pytest.mark.parametrize(
    ("restart", "good"),
    [
        ("always", True),
        ({"when": "always", "backoff": "50ms", "jitter": 0, "budget": "unlimited"}, True),
        ({"when": "never", "backoff": 0}, True),
        ({"backoff": 0}, False),
        ({"backoff-max": 0}, False),
        ({"jitter": 1}, False),
    ],
)
def test_restarts_come_one_after_the_other(restart: Any, good: bool) -> None:
    for parts in ("services", "components"):
        spec = {parts: {"api": {"image": "e.com/a:1", "restart": restart}}}
        if good:
            admitted(resource(spec), Allowance(registries=ANYWHERE))
        else:
            with pytest.raises(
                NotAdmittedError, match=r"api: its restarts may come after 0 s; this host wants 0\.05 s"
            ):
                admitted(resource(spec), Allowance(registries=ANYWHERE))


def nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(depth):
        inner = {"a": inner}
    return inner


@pytest.mark.parametrize(
    "spec",
    [
        nested(5000),
        nested(100_000),
        {"services": nested(50)},
        {"services": {"a" * 300: {"image": "e.com/a:1"}}},
        {"services": {"../../etc": {"image": "e.com/a:1"}}},
        {"services": {"a\x00b": {"image": "e.com/a:1"}}},
        {"services": {"\ud800": {"image": "e.com/a:1"}}},
        {"services": {"a": {"image": "e.com/a:1", "arguments": ["\ud800", "\x85", "\u2028", "\ufeff"]}}},
        {"services": {"a": {"image": "e.com/" + "a" * 100_000}}},
        {"services": {"a": {"image": 10**400}}},
        {"services": {"a": {"image": "e.com/a:1", "limits": {"memory": 10**400}}}},
        {"services": {"a": {"image": "e.com/a:1", "limits": {"memory": float("inf")}}}},
        {"services": {"a": {"image": "e.com/a:1", "limits": {"memory": float("nan")}}}},
        {"services": {"a": {"image": "e.com/a:1", "ports": list(range(1, 70_000))}}},
        {"services": {"a": {"image": "e.com/a:1", "directories": {"/d": {"volume": "../../etc"}}}}},
        {"services": {f"a{number}": {"image": "e.com/a:1"} for number in range(5000)}},
        [{}],
        {"<<": {"services": {}}},
    ],
    ids=range(18),
)
def test_hostile_specs_are_refused_and_nothing_else(spec: Any) -> None:
    with pytest.raises(NotAdmittedError) as refused:
        admitted(resource(spec), Allowance(registries=ANYWHERE))
    assert len(str(refused.value)) <= 2000


def test_what_is_too_deep_for_the_parser_keeps_nothing_else_from_being_read() -> None:
    deep = '{"a":' * 5000 + '["]}"]' + "}" * 5000
    listed = parsed(f'{{"items": [{{"n": 1}}, {{"spec": {deep}}}, {{"n": "\\"]}}{{["}}]}}'.encode())
    assert listed["items"][0] == {"n": 1}
    assert listed["items"][2] == {"n": '"]}{['}
    assert json.dumps(listed["items"][1]).count("{") < 64
    with pytest.raises(NotAdmittedError):
        admitted(resource(listed["items"][1]["spec"]), Allowance())
