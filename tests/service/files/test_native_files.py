"""Workload files in the project's own format: what they mean, and what is said when they mean nothing."""

from __future__ import annotations

import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.files import Loaded, WorkloadFileError, read_workloads
from service.files._code import LIMITS
from service.spec import (
    AsgiCode,
    ComponentCode,
    ComponentSpec,
    ExportCall,
    ForwardSpec,
    HandlerCode,
    Probe,
    PublishSpec,
    RestartPolicy,
    ServiceSpec,
    TaskCode,
    Volume,
    WorkloadSpec,
)
from wasi_sockets import Allow, Limits

_WHOLE = """\
# yaml-language-server: $schema=workload.schema.json
name: tasks
namespace: shop
services:
  api:
    component: guests/api.wasm
    ports: [7777]
    arguments: [--verbose, 3]
    environment:
      VERSION: 1.10
      HOME: {from: HOME}
      REGION: {from: REGION, default: ""}
    directories: [".::/data:ro", guests]
    thread: true
    restart: {when: always, backoff: 200ms, backoff-max: 1m, jitter: 0, budget: unlimited, healthy-after: 30}
    ready: {http: {port: 7777, path: /health}, period: 2s, timeout: 500ms, failures: 2, within: 1.5m}
    hold: 2s
    limits: {sockets: 10, udp: false}
  web: {asgi: "shop.web:app", ports: [80, 81], after: [api], ready: {tcp: 80}, restart: never}
  echo: {handler: "shop.echo:Echo.handle", ports: [7], ready: listen}
  clock: {task: "shop.clock:run"}
components:
  report:
    image: registry.example.com/shop/report:1.2
    pull: always
    pull-secret: shop
    after: [api, web]
    http: stock
    call: {interface: "demo:shop/prices@1.0.0", function: total, arguments: [1, "two", {three: [3]}]}
    directories:
      /tmp: {volume: scratch}
      /guests: {path: guests, read-only: true}
      /here: .
publish: ["80:7777", 8080, "[::1]:53:53/udp"]
forward: ["5432=db.example.com:5432", "443=tls:api.example.com:443"]
allow: ["public:443", "udp:9.9.9.9:53"]
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "guests").mkdir()
    (tmp_path / "guests" / "api.wasm").touch()
    return tmp_path


def test_everything_that_a_file_can_say(directory: Path) -> None:
    path = directory / "workload.yaml"
    path.write_text(_WHOLE)
    loaded = read_workloads(path, environment={"HOME": "/home/someone"})
    assert loaded.notes == ()
    assert loaded.workloads == (
        WorkloadSpec(
            name="tasks",
            namespace="shop",
            services=(
                ServiceSpec(
                    name="api",
                    code=ComponentCode(
                        source=str(directory / "guests" / "api.wasm"),
                        arguments=("--verbose", "3"),
                        environment={"VERSION": "1.10", "HOME": "/home/someone", "REGION": ""},
                        directories={"/data": str(directory), "guests": str(directory / "guests")},
                        read_only=frozenset({"/data"}),
                        thread=True,
                    ),
                    ports=(7777,),
                    restart=RestartPolicy("always", 0.2, 60.0, 0, None, 30.0),
                    ready=Probe("http", 7777, "/health", 2.0, 0.5, 2, 90.0),
                    hold=2.0,
                    limits=Limits(sockets=10, udp=False),
                ),
                ServiceSpec(
                    name="web",
                    code=AsgiCode("shop.web:app"),
                    ports=(80, 81),
                    after=("api",),
                    ready=Probe("tcp", 80),
                    restart=RestartPolicy("never"),
                ),
                ServiceSpec(
                    name="echo", code=HandlerCode("shop.echo:Echo.handle"), ports=(7,), ready=Probe("listen")
                ),
                ServiceSpec(name="clock", code=TaskCode("shop.clock:run")),
            ),
            components=(
                ComponentSpec(
                    name="report",
                    code=ComponentCode(
                        image="registry.example.com/shop/report:1.2",
                        pull="always",
                        pull_secret="shop",
                        http="stock",
                        call=ExportCall("total", "demo:shop/prices@1.0.0", (1, "two", {"three": [3]})),
                        directories={
                            "/tmp": Volume("scratch"),
                            "/guests": str(directory / "guests"),
                            "/here": str(directory),
                        },
                        read_only=frozenset({"/guests"}),
                    ),
                    after=("api", "web"),
                ),
            ),
            publish=(
                PublishSpec(7777, real_port=80),
                PublishSpec(8080, real_port=8080),
                PublishSpec(53, "::1", 53, "udp"),
            ),
            forward=(
                ForwardSpec(5432, ("db.example.com", 5432)),
                ForwardSpec(443, ("api.example.com", 443), tls=True),
            ),
            allow=(Allow.connect("public", ports=443), Allow.send("9.9.9.9", ports=53)),
        ),
    )


def read(text: str | bytes, **options: object) -> Loaded:
    return read_workloads("w.yaml", text=text, look=False, **{"environment": {}, **options})  # type: ignore[arg-type]


def problems(text: str | bytes, **options: object) -> list[str]:
    with pytest.raises(WorkloadFileError) as refused:
        read(text, **options)
    assert str(refused.value) == "\n".join(map(str, refused.value.problems))
    return [str(each).removeprefix("w.yaml:") for each in refused.value.problems]


_SERVICE = "name: a\nservices:\n  api:\n    component: api.wasm\n"
_TASKS = "name: a\nservices: {c: {task: 'a:b'"


def service(entry: str) -> ServiceSpec:
    """The service that has one more entry."""
    return read(f"{_SERVICE}    {entry}\n").workloads[0].services[0]


@pytest.mark.parametrize("text", ["1.5", "1500ms", "1.5s", "0.025m", '"1.5"'])
def test_durations(text: str) -> None:
    assert service(f"hold: {text}").hold == 1.5


def test_publish_auto_alone_and_beside_others() -> None:
    alone = read(f"{_SERVICE}publish: auto\n").workloads[0]
    assert (alone.publish_all, alone.publish) == (True, ())
    beside = read(f"{_SERVICE}publish: [auto, 80/udp]\n").workloads[0]
    assert (beside.publish_all, beside.publish) == (True, (PublishSpec(80, real_port=80, protocol="udp"),))


def test_a_mapping_for_restart_means_a_restart_on_failure_for_components_too() -> None:
    found = read("name: a\ncomponents: {b: {component: b.wasm, restart: {budget: 3}}}").workloads[0]
    assert found.components[0].restart == RestartPolicy("on-failure", budget=3)


def test_several_documents_and_empty_ones() -> None:
    other = _SERVICE.replace("name: a", "name: b")
    assert [each.name for each in read(f"---\n{_SERVICE}---\n---\n{other}...\n").workloads] == ["a", "b"]
    assert problems(f"{_SERVICE}---\n{_SERVICE}") == ["6: name: the file has default/a already, in line 1"]


def test_anchors_and_merges() -> None:
    text = """\
x-common: &common {restart: always, hold: 1}
name: a
services:
  b: {component: b.wasm, <<: *common, hold: 2}
  c: {<<: [*common], component: c.wasm}
"""
    found = read(text).workloads[0].services
    assert [(each.restart.when, each.hold) for each in found] == [("always", 2.0), ("always", 1.0)]


def test_numbers_of_older_yaml_are_not_numbers() -> None:
    # In YAML 1.1 the first is 485062, a number of base 60, and the second a boolean.
    loaded = read(f"{_SERVICE}    environment: {{A: on, B: 8:22}}\npublish: [8084:22]\n").workloads[0]
    assert loaded.publish == (PublishSpec(22, real_port=8084),)
    code = loaded.services[0].code
    assert isinstance(code, ComponentCode)
    assert code.environment == {"A": "on", "B": "8:22"}


def test_limits_have_units() -> None:
    limits = service("limits: {memory: 64MiB, buffered: 10kB, lifetime: 1m, cpu: 0.5}").limits
    assert limits == Limits(memory=64 << 20, buffered=10_000, lifetime=60.0, cpu=0.5)


def test_all_limits_can_be_set() -> None:
    assert list(LIMITS.fields) == [each.name.replace("_", "-") for each in fields(Limits)]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("ports: [x]", "services.api.ports[0]: 'x' is no port (1 to 65535)"),
        ("ports: [65536]", "services.api.ports[0]: '65536' is no port (1 to 65535)"),
        ("ports: [1.5]", "services.api.ports[0]: '1.5' is no port (1 to 65535)"),
        ("ports: [80, 80]", "services.api.ports: 80 is there twice"),
        ("ports: 80", "services.api.ports: expected a list, not '80'"),
        ("port: [80]", "services.api: unknown key 'port' in a service; did you mean 'ports'?"),
        ("environment: {A: true}", "services.api.environment.A: expected text, not 'true'; write it in quotes"),
        ("environment: {A: }", "services.api.environment.A: expected text, not nothing"),
        ("environment: {A=: b}", "services.api.environment: 'A=' is no name of a variable"),
        ("environment: {A: {from: B}}", "services.api.environment.A: $B is not set here, and there is no 'default'"),
        ("hold: soon", "services.api.hold: 'soon' is no duration: write seconds, or as in 500ms, 2s, 1m, 1h"),
        ("hold: -1", "services.api.hold: '-1': a duration here is not negative"),
        ("hold: 1e999", "services.api.hold: '1e999' is longer than 1000000000 seconds"),
        ("restart: {healthy-after: 0s}", "services.api.restart.healthy-after: '0s': a duration here is above 0"),
        ("restart: sometimes", "services.api.restart: expected never, on-failure or always, not 'sometimes'"),
        ("restart: {budget: }", "services.api.restart.budget: expected a number of restarts, or unlimited"),
        ("restart: {jitter: 2}", "services.api.restart.jitter: 2 is no part (0 to 1)"),
        ("ready: {tcp: 80, http: 80}", "services.api.ready: ready has only one of listen, tcp or http"),
        ("ready: {http: {port: 80, path: x}}", "services.api.ready.http.path: a probe's path begins with '/'"),
        ("limits: {sockets: -1}", "services.api.limits.sockets: -1 is no number (at least 0)"),
        ("limits: {cpu: 2}", "services.api.limits.cpu: cpu must be above 0 and at most 1 (one core), not 2.0"),
        ("limits: {memory: 1XB}", "services.api.limits.memory: '1XB' is no size: write bytes, or as in 64MiB"),
        ("limits: {socket: 1}", "services.api.limits: unknown key 'socket' in limits; did you mean 'sockets'?"),
        ("directories: ['a::']", "services.api.directories[0]: 'a::': expected HOST[::GUEST][:ro]"),
        ("directories: [a::/x, b::/x]", "services.api.directories: the guest's '/x' is there twice"),
        ("directories: {/x: {path: a, volume: b}}", "services.api.directories./x: a directory has only one of path"),
        ("thread: yes", "services.api.thread: expected true or false, not 'yes'"),
        ("pull: always", "services.api.pull: only an image can have it"),
        ("after: [api]", "services wait for each other: api after api"),
        ("after: [db]", "services.api.after: 'db' is no service of the workload (there: api)"),
        ("task: a:b", "services.api: a service has only one of component, image, handler, asgi or task"),
        ("component: b.wasm", "the key 'component' is there twice, first in line 4"),
        ("hold: !!float 1", "the tag tag:yaml.org,2002:float means nothing here"),
        ("\thold: 1", "a tab: YAML is indented with spaces"),
    ],
)  # fmt: skip
def test_a_problem_is_told_with_its_line(entry: str, message: str) -> None:
    (told,) = [each for each in problems(f"{_SERVICE}    {entry}\n") if message in each]
    line = told.partition(":")[0]
    assert line == ("3" if "has only one of component" in message else "5")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", " no workload in it"),
        ("[]", "1: expected a workload, a mapping, not a list"),
        ("services: {}", "1: a workload needs 'name'"),
        ("name: a", "1: the workload has neither services nor components"),
        ("name: a\nservices: []", "2: services: expected a mapping, not a list"),
        ("name: A b\ncomponents: {c: {component: d}}", "1: name: workload 'A b': a name is 1 to 63"),
        ("name: 1\ncomponents: {c: {component: d}}", "1: name: expected text, not '1'; write it in quotes"),
        ("name: a\ncomponents: {c.d: {component: d}}", "2: components: component 'c.d': a name is 1 to 63"),
        ("name: a\ncomponents: {c: {component: d, ports: [1]}}", "2: components.c: unknown key 'ports' in a component"),
        ("name: a\nservices: {c: {handler: a}}", "2: services.c.handler: a handler 'a': expected MODULE:NAME"),
        ("name: a\nservices: {c: {handler: 'a:b'}}", "2: services.c: handler needs 'ports' to be served at"),
        (f"{_TASKS},\n environment: {{}}}}}}", "3: services.c.environment: only a component"),
        (f"{_TASKS}, ports: [1]}},\n d: {{task: 'a:b', ports: [1]}}}}", "3: services.d.ports: 1 is a port of 'c'"),
        (f"{_TASKS}}}}}\ncomponents:\n c: {{component: d}}", "4: components.c: a service has that name"),
        ("name: a\nservices: {c: {image: 'r.io/A'}}", "2: services.c.image: image 'r.io/A': 'A' is no repository"),
        (f"{_SERVICE}publish: 80", "5: publish: expected a list of [[HOST:]PORT:]VPORT[/udp], or auto, not '80'"),
        (f"{_SERVICE}publish:\n- x:80", "6: publish[0]: 'x:80': 'x' is no port (0 to 65535)"),
        (f"{_SERVICE}forward:\n- 80", "6: forward[0]: expected [HOST:]VPORT=[tls:]HOST:PORT[/udp], not '80'"),
        (f"{_SERVICE}allow: [localhost]", "5: allow[0]: 'localhost': localhost is the guest's own network"),
        ("name: a\nservices: [", "2: not YAML: expected the node content"),
        ("name: 'a\n\n", "3: not YAML: found unexpected end of stream while scanning"),
        ("name: \"\\UFFFFFFFF\"", " not YAML: '\\U' with more than a character has"),
        ("name: \"\\U00110000\"", " not YAML: '\\U' with more than a character has"),
        (f"%YAML {'1' * 5000}.1\n---\nname: a", " not YAML: '\\U' with more than a character has"),
        (f'{_SERVICE}    arguments: ["\\udcff"]', "5: '\\udcff' holds half a character"),
        (f'{_SERVICE}    environment: {{A: "\\0"}}', "5: '\\x00' holds NUL"),
        (f'{_SERVICE}    environment: {{"\\ud83d": b}}', "5: '\\ud83d' holds half a character"),
        ("a: *b", "1: there is no anchor &b before this"),
        ("a: &b [*b]", "1: there is no anchor &b before this"),
        ("a: 1\n<<: 2", "2: '<<' takes a mapping, or a list of them"),
        ("a: 1\n<<: {}\n<<: {}", "3: the key '<<' is there twice, first in line 2"),
        ('name: a\n"<<": {}', "2: unknown key '<<' in a workload"),
        ("[a]: 1", "1: a key is text, not a list"),
        ('name: a\nx-a: "\\ud800"', "2: '\\ud800' holds half a character (U+D800 to U+DFFF)"),
        ("\n" + "[" * 40, "2: nested deeper than 32"),
        ("a: b\nc: \0", "2: the control character U+0000 may not stand here"),
        (b"a: b\nc: \xe9t\xe9", "2: not UTF-8: the byte 0xe9 stands for no character; save the file as UTF-8"),
        ("name: a".encode("utf-16"), "1: the file is UTF-16: save it as UTF-8"),
        (b"#" * (1 << 20) + b"\n", " the file is larger than 1024 KiB: that is no workload file"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file(text: str | bytes, message: str) -> None:
    assert any(each.startswith(message) for each in problems(text)), problems(text)


def test_two_escapes_are_one_character_as_in_json() -> None:
    code = service('arguments: ["\\ud83d\\ude00", "\\U0001F600"]').code
    assert isinstance(code, ComponentCode)
    assert code.arguments == ("\N{GRINNING FACE}", "\N{GRINNING FACE}")


def test_a_variable_that_is_not_utf_8() -> None:
    text = f"{_SERVICE}    environment: {{A: {{from: B}}}}"
    assert problems(text, environment={"B": "a\udcff"}) == [
        "5: services.api.environment.A: '$B': the byte 0xff is not UTF-8, and guests take nothing else"
    ]
    (workload,) = read(
        text, environment={"B": "\udcc3\udca4"}
    ).workloads  # as where the locale is not of UTF-8
    code = workload.services[0].code
    assert isinstance(code, ComponentCode)
    assert code.environment == {"A": "ä"}


@pytest.mark.parametrize(
    "given",
    [{"arguments": ("\udcff",)}, {"environment": {"A": "\0"}}, {"directories": {"/\udcff": "."}}],
    ids=lambda given: next(iter(given)),
)
def test_what_is_no_text_makes_no_specification(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        ComponentCode("a.wasm", **given)


def test_aliases_that_name_each_other_do_not_grow() -> None:
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 30)]
    (told,) = problems("\n".join(lines))
    assert told == "5: more than 50000 values, with aliases counted as often as they are named"


def test_aliases_do_not_nest_deeper_than_text_may() -> None:
    keys = ["? &l0 [x]\n: x", *(f"? &l{n} [*l{n - 1}]\n: x" for n in range(1, 2000))]
    told = problems("\n".join([*keys, "x-deep: *l1999"]))
    assert told[-1] == "65: aliases nest deeper than 32: that is no workload file"


def test_services_may_come_after_each_other_in_any_number() -> None:
    services = {f"s{n}": TaskCode("a:b") for n in range(3000)}
    spec = WorkloadSpec(
        name="a",
        services=tuple(
            ServiceSpec(name=name, code=code, after=(f"s{n + 1}",) if n < 2999 else ())
            for n, (name, code) in enumerate(services.items())
        ),
    )
    assert len(spec.services) == 3000
    with pytest.raises(ValueError, match="services wait for each other: a after b after c after a"):
        WorkloadSpec(
            name="a",
            services=tuple(
                ServiceSpec(name=name, code=TaskCode("a:b"), after=(after,))
                for name, after in (("a", "b"), ("b", "c"), ("c", "a"))
            ),
        )


_PIECES = (
    "&a ", "*a", "<<: ", "!!int ", "!", "%YAML 9.9\n", "---\n", "|", "? ", "- ", ": ", "[", "}", "\t", '"\\x', "'",
    "\r", "\x85", "0x", "1e999", "~", "true", "9" * 40, "#", "\n  ", "\ud800", "name", "services", "{a: b}",
)  # fmt: skip


@given(
    st.lists(st.tuples(st.integers(0, len(_WHOLE)), st.sampled_from(_PIECES), st.integers(0, 9)), max_size=4)
)
@settings(deadline=None)
def test_whatever_a_file_holds_it_is_read_or_refused(changes: list[tuple[int, str, int]]) -> None:
    text = _WHOLE
    for place, piece, less in changes:
        text = f"{text[:place]}{piece}{text[place + less :]}"
    try:
        found: tuple[object, ...] = read(text, environment={"HOME": "/home"}).workloads
    except WorkloadFileError as error:
        found = error.problems
    assert found


def test_what_is_wrong_is_told_at_once() -> None:
    text = """\
name: Tasks
services:
  api: {componnt: x, ports: [0]}
components:
  b: {component: b.wasm, after: [nobody]}
allow: [a b]
---
name: also
"""
    assert [each.split(":")[0] for each in problems(text)] == ["1", "3", "3", "3", "5", "6", "8"]


def test_files_and_directories_have_to_be_there(directory: Path) -> None:
    path = directory / "workload.yaml"
    path.write_text("name: a\nservices:\n  b:\n    component: b.wasm\n    directories: [x]\n")
    with pytest.raises(WorkloadFileError) as refused:
        read_workloads(path)
    assert str(refused.value).splitlines() == [
        f"{path}:5: services.b.directories: {str(directory / 'x')!r} is not a directory",
    ]
    (directory / "x").mkdir()
    with pytest.raises(WorkloadFileError, match=r":4: services.b.component: there is no file '.*b\.wasm'"):
        read_workloads(path)
    with pytest.raises(FileNotFoundError):
        read_workloads(directory / "other.yaml")


def test_a_variable_that_is_not_set_can_be_a_note() -> None:
    loaded = read(f"{_SERVICE}    environment: {{A: {{from: B}}, C: d}}\n", unset_is_problem=False)
    code = loaded.workloads[0].services[0].code
    assert isinstance(code, ComponentCode)
    assert code.environment == {"C": "d"}
    assert [str(each) for each in loaded.notes] == [
        "w.yaml:5: services.api.environment.A: $B is not set here, and there is no 'default'"
    ]


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'wasi-sockets\[workloads\]'"):
        read(_SERVICE)


def test_what_is_there_and_no_component_file_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "secret.wasm").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("secret.wasm"))
    path = tmp_path / "w.yaml"
    path.write_text(
        "name: w\nservices:\n"
        "  a: {component: folder}\n  b: {component: secret.wasm}\n  c: {component: missing.wasm}\n"
    )
    with pytest.raises(WorkloadFileError) as caught:
        read_workloads(path)
    assert [each.text for each in caught.value.problems] == [
        f"{str(tmp_path / 'folder')!r} is a directory, and a component is a file",
        f"{str(tmp_path / 'secret.wasm')!r} cannot be read: permission denied",
        f"there is no file {str(tmp_path / 'missing.wasm')!r}",
    ]
