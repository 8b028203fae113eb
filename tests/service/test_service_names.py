"""Names of services: what is printed is taken, and what could mean several is asked back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from service import _control_commands
from service._service_names import Named, readings, service_name

Run = Callable[..., Any]


def told(namespace: str, name: str, *services: str) -> dict[str, Any]:
    made = [
        {
            "name": each,
            "kind": "task",
            "state": "ready",
            "reason": "",
            "seconds": 1.0,
            "restarts": 0,
            "ports": [],
        }
        for each in services
    ]
    return {"namespace": namespace, "name": name, "services": made, "published": {}, "sockets": []}


TASKS = told("default", "tasks", "api", "web")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("tasks", ("default/tasks", "")),
        ("default/tasks", ("default/tasks", "")),
        ("tasks/api", ("default/tasks", "api")),
        ("default/tasks/api", ("default/tasks", "api")),
        ("tasks:api", ("default/tasks", "api")),
        ("default/tasks:api", ("default/tasks", "api")),
        (service_name("default/tasks", "web"), ("default/tasks", "web")),
        (service_name("shop/tasks", "api"), ("shop/tasks", "api")),
    ],
)
def test_what_a_name_means(name: str, meant: tuple[str, str]) -> None:
    workloads = [TASKS] if meant[0] == "default/tasks" else [told("shop", "tasks", "api")]
    assert readings(name, workloads) == [Named(*meant)]


def test_the_same_workload_of_two_hosts_is_one() -> None:
    assert readings("tasks/api", [TASKS, TASKS]) == [Named("default/tasks", "api")]


class Asked:
    """Hosts that answer what they are told to, and what they were asked."""

    def __init__(self) -> None:
        self.hosts: dict[int, list[dict[str, Any]]] = {}
        self.requests: list[tuple[int, dict[str, Any]]] = []

    def request(self, process: int, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if asked["command"] in ("ps", "netstat"):
            yield from ({"workload": each} for each in self.hosts[process])
            return
        self.requests.append((process, asked))
        if asked["command"] == "restart":
            yield {"restarted": f"{asked['workload']}/{asked['service']}"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    made = Asked()
    monkeypatch.setattr(_control_commands, "hosts", lambda: list(made.hosts))
    monkeypatch.setattr(_control_commands, "request", made.request)
    return made


def test_what_is_printed_is_taken(wasi_sockets_command: Run, asked: Asked) -> None:
    asked.hosts = {1: [TASKS]}
    for name in ("tasks/api", "default/tasks/api", "tasks:api"):
        ended = wasi_sockets_command("restart", name)
        assert (ended.code, ended.out) == (0, "restarted default/tasks/api\n"), ended.err
        process, last = asked.requests[-1]
        assert (process, last["workload"], last["service"]) == (1, "default/tasks", "api")
        assert wasi_sockets_command("logs", name).code == 0
        assert asked.requests[-1][1]["service"] == "api"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["logs", "a/b"], "'a/b' can mean several; write default/a:b or a/b:\n"),
        (["restart", "b"], "'b' can mean several; write a/b or c/b\n"),
        (["stop", "a/x"], "default/a has no service 'x'; it has b\n"),
        (["stop", "default/a/b"], "'default/a/b' is a service, and stop takes a workload: a\n"),
        (["ps", "default/a/b"], "'default/a/b' is a service, and ps takes a workload: a\n"),
        (["logs", "nobody/b"], "there is no workload 'nobody/b'; "),
    ],
)
def test_what_cannot_be_meant(
    wasi_sockets_command: Run, asked: Asked, words: list[str], message: str
) -> None:
    asked.hosts = {1: [told("default", "a", "b"), told("a", "b", "s"), told("c", "b", "s")]}
    ended = wasi_sockets_command(*words)
    assert (ended.code, asked.requests) == (125, [])
    assert message in ended.err


def test_a_workload_that_could_be_a_service_is_told_by_a_colon(
    wasi_sockets_command: Run, asked: Asked
) -> None:
    asked.hosts = {1: [told("default", "a", "b"), told("a", "b", "s")]}
    assert wasi_sockets_command("logs", "a/b:").code == 0
    assert (asked.requests[-1][1]["workload"], asked.requests[-1][1]["service"]) == ("a/b", "")


def test_rows_of_several_hosts_tell_which(wasi_sockets_command: Run, asked: Asked) -> None:
    asked.hosts = {7: [TASKS]}
    assert wasi_sockets_command("ps").out.split()[:2] == ["Workload", "Service"]
    assert wasi_sockets_command("netstat").out.startswith("default/tasks\n")
    asked.hosts[81] = [TASKS]
    heading, *rows = wasi_sockets_command("ps").out.splitlines()
    assert heading.split()[0] == "Host"
    assert [row.split()[:3] for row in rows] == [
        [host, "default/tasks", service] for host in ("7", "81") for service in ("api", "web")
    ]
    assert "default/tasks (host 81)\n" in wasi_sockets_command("netstat").out
    ended = wasi_sockets_command("restart", "tasks")
    assert ended.err == "wasi-sockets: several hosts run default/tasks; name one with --host: 7, 81\n"


@pytest.mark.parametrize("words", [["ps", "--json"], ["netstat", "--json"], ["stop", "all"]])
def test_that_nothing_runs_is_said(wasi_sockets_command: Run, asked: Asked, words: list[str]) -> None:
    ended = wasi_sockets_command(*words)
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.startswith("wasi-sockets: nothing runs; ")


def test_at_once_is_no_seconds(wasi_sockets_command: Run, asked: Asked) -> None:
    asked.hosts = {1: [TASKS]}
    assert wasi_sockets_command("stop", "tasks", "--grace", "0").code == 0
    assert asked.requests[-1][1]["within"] == 0
    for wrong in ("-1", "nan", "inf", "x"):
        assert wasi_sockets_command("stop", "tasks", f"--grace={wrong}").code == 2
