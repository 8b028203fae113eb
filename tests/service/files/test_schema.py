"""The schema for editors takes and refuses the same files as the reader."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.files import WorkloadFileError, read_workloads
from service.files.schema import bundled, generated

_SCHEMA = generated()
_VALIDATOR = jsonschema.Draft202012Validator(_SCHEMA)

Document = Any


def test_the_bundled_schema_is_the_table_of_the_reader() -> None:
    assert json.loads(bundled()) == _SCHEMA, (
        "write it anew: python -m service.files.schema > service/files/workload.schema.json"
    )
    jsonschema.Draft202012Validator.check_schema(_SCHEMA)


def reader_takes(document: Document) -> bool:
    # JSON is YAML.
    try:
        read_workloads(
            "w.yaml", text=json.dumps(document), environment={}, look=False, unset_is_problem=False
        )
    except WorkloadFileError:
        return False
    return True


def schema_takes(document: Document) -> bool:
    return bool(_VALIDATOR.is_valid(document))


_PORT = st.integers(1, 65535)
_TEXT = st.text("abz09 -_=/.:é", max_size=6)
_DURATION = st.one_of(
    st.integers(1, 1000), st.floats(0.001, 1000), st.sampled_from(["500ms", "2s", "1.5m", "1h", "3"])
)
_ENVIRONMENT = st.dictionaries(
    st.sampled_from(["A", "B", "C_D"]),
    st.one_of(
        _TEXT,
        st.integers(-5, 5),
        st.fixed_dictionaries({"from": st.just("X")}, optional={"default": _TEXT}),
    ),
)
_DIRECTORIES = st.one_of(
    st.lists(st.sampled_from(["a", "./b::/b", "c:ro", "/d::/e:ro"]), unique=True, max_size=2),
    st.dictionaries(
        st.sampled_from(["/x", "y"]),
        st.one_of(
            st.just("here"),
            st.fixed_dictionaries({"path": st.just("p")}, optional={"read-only": st.booleans()}),
            st.fixed_dictionaries({"volume": st.just("v-1")}, optional={"read-only": st.booleans()}),
        ),
    ),
)
_RESTART = st.one_of(
    st.sampled_from(["never", "on-failure", "always"]),
    st.fixed_dictionaries(
        {},
        optional={
            "when": st.sampled_from(["never", "on-failure", "always"]),
            "backoff": st.one_of(_DURATION, st.just(0)),
            "backoff-max": _DURATION,
            "jitter": st.floats(0, 1),
            "budget": st.one_of(st.integers(0, 10), st.just("unlimited")),
            "healthy-after": _DURATION,
        },
    ),
)
_PROBE_OPTIONS = {
    "period": _DURATION,
    "timeout": _DURATION,
    "failures": st.integers(1, 9),
    "within": _DURATION,
}
_HTTP_PROBE = st.one_of(_PORT, st.fixed_dictionaries({"port": _PORT}, optional={"path": st.just("/health")}))
_READY = st.one_of(
    st.just("listen"),
    st.fixed_dictionaries({"listen": st.just(True)}, optional=_PROBE_OPTIONS),
    st.fixed_dictionaries({"tcp": _PORT}, optional=_PROBE_OPTIONS),
    st.fixed_dictionaries({"http": _HTTP_PROBE}, optional=_PROBE_OPTIONS),
)
_COMPONENT_OPTIONS = {
    "arguments": st.lists(st.one_of(_TEXT, st.integers()), max_size=2),
    "environment": _ENVIRONMENT,
    "directories": _DIRECTORIES,
    "http": st.sampled_from(["deny", "stock"]),
    "thread": st.booleans(),
    "limits": st.fixed_dictionaries({}, optional={"sockets": st.integers(0, 99), "tcp": st.booleans()}),
    "restart": _RESTART,
}
_IMAGE_OPTIONS = {"pull": st.sampled_from(["always", "if-not-present", "never"]), "pull-secret": _TEXT}
_SERVICE_OPTIONS = {"ready": _READY, "hold": st.one_of(_DURATION, st.just(0))}
_PORTS = st.lists(st.integers(1, 50), min_size=1, max_size=2, unique=True)

_FILE = st.fixed_dictionaries({"component": st.just("a.wasm")}, optional=_COMPONENT_OPTIONS)
_IMAGE = st.fixed_dictionaries(
    {"image": st.just("r.io/a:1")}, optional={**_COMPONENT_OPTIONS, **_IMAGE_OPTIONS}
)
_CALL = st.fixed_dictionaries(
    {"function": _TEXT},
    optional={
        "interface": _TEXT,
        "arguments": st.lists(st.one_of(st.none(), st.booleans(), _TEXT), max_size=2),
    },
)


def _with(shape: st.SearchStrategy[Document], more: dict[str, Any]) -> st.SearchStrategy[Document]:
    return st.builds(lambda one, other: {**one, **other}, shape, st.fixed_dictionaries({}, optional=more))


_SERVICE = st.one_of(
    _with(st.one_of(_FILE, _IMAGE), _SERVICE_OPTIONS),
    st.fixed_dictionaries(
        {"asgi": st.just("a.b:c"), "ports": _PORTS}, optional={**_SERVICE_OPTIONS, "restart": _RESTART}
    ),
    st.fixed_dictionaries({"handler": st.just("a:b.c"), "ports": _PORTS}),
    st.fixed_dictionaries({"task": st.just("a:b")}, optional=_SERVICE_OPTIONS),
)
_WORKLOAD = st.fixed_dictionaries(
    {"name": st.just("w"), "services": st.fixed_dictionaries({"s": _SERVICE})},
    optional={
        "components": st.fixed_dictionaries({"c": _with(st.one_of(_FILE, _IMAGE), {"call": _CALL})}),
        "namespace": st.just("default"),
        "publish": st.one_of(
            st.just("auto"),
            st.lists(
                # No real port twice, nor one that a change may bring in: a schema cannot see that.
                st.sampled_from([81, "82", "auto", "0:80", "127.0.0.1:7:2", "[::1]:8:65535/udp", "9/tcp"]),
                max_size=3,
                unique=True,
            ),
        ),
        "forward": st.lists(
            st.sampled_from(
                ["51=h:2", "host.internal:80=localhost:1", "[::1]:51=[::2]:2", "52=tls:h:2", "51=h:2/udp"]
            ),
            max_size=2,
            unique=True,
        ),
        "allow": st.lists(
            st.sampled_from(["public:443", "*.a.b", "udp:9.9.9.9:53", "[2001:db8::/32]:1-2"]), max_size=2
        ),
        "x-any": st.none(),
    },
)


@given(_WORKLOAD)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_right_is_taken_by_both(document: Document) -> None:
    assert reader_takes(document)
    assert schema_takes(document)


def _places(document: Document, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(document, dict):
        for key in document:
            if not key.startswith("x-"):
                found += _places(document[key], (*path, key))
    elif isinstance(document, list):
        for index, each in enumerate(document):
            found += _places(each, (*path, index))
    return found


_OTHER = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(
        [-1, 0, 1, 70000, 0.5, -0.5, "", "a", "2s", "80", "a:b", "never", [], ["a"], [1], {}, {"a": "b"}]
    ),
)


@given(_WORKLOAD, st.data())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_after_any_change_both_say_the_same(document: Document, data: st.DataObject) -> None:
    changed = copy.deepcopy(document)
    *above, last = data.draw(st.sampled_from(_places(document)[1:]))
    # What is called may be anything, and notations and names of hosts say more than patterns can.
    if above[:1] in (["allow"], ["forward"]) or "directories" in above or "after" in above:
        return
    holder = changed
    for key in above:
        holder = holder[key]
    change = data.draw(st.sampled_from(["replace", "remove", "add"]))
    if change == "replace":
        holder[last] = data.draw(_OTHER)
    elif change == "remove":
        del holder[last]
    elif isinstance(holder, dict):
        new = st.sampled_from(
            ["extra", "port", "task", "image", "component", "asgi", "pull", "tcp", "listen", "from"]
        )
        holder[data.draw(new)] = data.draw(_OTHER)
    assert reader_takes(changed) == schema_takes(changed), json.dumps(changed)


@pytest.mark.parametrize(
    "change",
    [
        {"services": {"s": {"task": "a:b", "after": ["t"]}}},
        {"services": {"s": {"task": "a:b", "ports": [1]}, "t": {"task": "a:b", "ports": [1]}}},
        {"components": {"s": {"component": "a"}}},
        {"allow": ["localhost"]},
    ],
)
def test_what_goes_over_several_entries_only_the_reader_sees(change: Document) -> None:
    document = {"name": "w", "services": {"s": {"task": "a:b"}}, **change}
    assert schema_takes(document)
    assert not reader_takes(document)
