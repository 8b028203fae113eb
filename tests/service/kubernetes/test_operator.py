"""The operator against an API in memory: what it admits, runs, changes, stops and tells; Leases by MockClock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import yaml
from trio.testing import MockClock, wait_all_tasks_blocked

from service.hosting import Host
from service.kubernetes.operator import Allowance, ApiError, Operator, _operator, admitted
from service.kubernetes.operator._leases import DURATION_SECONDS, Lease
from service.kubernetes.operator._pace import Pace
from service.spec import WorkloadSpec
from tests.service.kubernetes.memory_api import MemoryApi
from wasi_sockets import Network, TcpStream

WORKLOADS = "/apis/wasi-sockets.dev/v1alpha1/namespaces/shop/workloads"
ECHO = f"{__name__}:echo"
PYTHON = Allowance(python=frozenset({ECHO}))


async def echo(stream: TcpStream) -> None:
    async for data in stream:
        await stream.send_all(data)


def resource(spec: Any, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "tasks", "namespace": "shop", "generation": 1, **metadata}, "spec": spec}


def serving(port: int = 7) -> dict[str, Any]:
    return resource({"services": {"api": {"handler": ECHO, "ports": [port]}}})


@asynccontextmanager
async def operating(api: MemoryApi, **options: Any) -> AsyncIterator[Host]:
    async with Host() as host, trio.open_nursery() as nursery:
        operator = Operator(host, api, identity="a", namespace="shop", **{"allowance": PYTHON, **options})
        await nursery.start(operator.run)
        yield host
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await trio.lowlevel.checkpoint()
        await wait_all_tasks_blocked()
    raise AssertionError("it never came")


def conditions(api: MemoryApi) -> dict[str, str]:
    status = api.objects[f"{WORKLOADS}/tasks"].get("status", {})
    return {each["type"]: each["status"] for each in status.get("conditions", ())}


# ---------------------------------------------------------------- what is run
async def test_resources_are_run_changed_and_stopped() -> None:
    api = MemoryApi()
    api.put(f"{WORKLOADS}/tasks", serving())
    async with operating(api) as host:
        await until(lambda: conditions(api).get("Ready") == "True")
        status = api.objects[f"{WORKLOADS}/tasks"]["status"]
        assert status["hostId"] == "a"
        assert [(each["name"], each["state"]) for each in status["services"]] == [("api", "ready")]
        first = host.workloads["shop/tasks"]
        api.put(f"{WORKLOADS}/tasks", {**serving(8), "status": status})
        await until(lambda: first.over and "shop/tasks" in host.workloads)
        assert host.workloads["shop/tasks"].spec.services[0].ports == (8,)
        api.put(f"{WORKLOADS}/other", serving(7))
        await until(lambda: len(host.workloads) == 2)
        api.delete(f"{WORKLOADS}/tasks")
        await until(lambda: list(host.workloads) == ["shop/other"])


async def test_what_comes_back_while_it_is_stopped_is_run_again(autojump_clock: MockClock) -> None:
    api = MemoryApi()
    api.put(f"{WORKLOADS}/tasks", serving())
    async with operating(api, stop_within=100, leases=True) as host:
        await trio.sleep(5)
        first = host.workloads["shop/tasks"]
        async with await first.network.connect_tcp("127.0.0.1", 7):
            api.delete(f"{WORKLOADS}/tasks")
            await trio.sleep(1)
            api.put(f"{WORKLOADS}/tasks", serving(8))
            await trio.sleep(98)
            assert host.workloads == {"shop/tasks": first}
            await trio.sleep(10)
        assert host.workloads["shop/tasks"].spec.services[0].ports == (8,)
        assert conditions(api)["Ready"] == "True"


async def test_another_resource_of_the_same_name_is_told_its_status() -> None:
    api = MemoryApi()
    api.put(f"{WORKLOADS}/tasks", {**serving(), "metadata": {**serving()["metadata"], "uid": "one"}})
    async with operating(api):
        await until(lambda: conditions(api).get("Ready") == "True")
        api.delete(f"{WORKLOADS}/tasks")
        api.put(f"{WORKLOADS}/tasks", {**serving(), "metadata": {**serving()["metadata"], "uid": "two"}})
        assert not conditions(api)
        await until(lambda: conditions(api).get("Ready") == "True")


async def test_what_it_tells_does_not_make_it_tell_again() -> None:
    api = MemoryApi()
    api.put(f"{WORKLOADS}/tasks", serving())
    async with operating(api):
        await until(lambda: conditions(api).get("Ready") == "True")
        await wait_all_tasks_blocked()
        told = len([each for each in api.calls if each.startswith("PATCH")])
        before = api.objects[f"{WORKLOADS}/tasks"]
        api.put(f"{WORKLOADS}/tasks", before)
        await wait_all_tasks_blocked()
        assert len([each for each in api.calls if each.startswith("PATCH")]) == told <= 3


async def test_a_resource_that_is_not_admitted_says_so_and_what_ran_goes_on() -> None:
    api = MemoryApi()
    api.put(f"{WORKLOADS}/tasks", serving())
    async with operating(api) as host:
        await until(lambda: conditions(api).get("Ready") == "True")
        wrong = api.objects[f"{WORKLOADS}/tasks"]
        api.put(f"{WORKLOADS}/tasks", {**wrong, "spec": {"services": {"api": {"component": "x.wasm"}}}})
        await until(lambda: conditions(api).get("Accepted") == "False")
        (accepted, *_) = api.objects[f"{WORKLOADS}/tasks"]["status"]["conditions"]
        assert "by `image` here" in accepted["message"]
        assert not host.workloads["shop/tasks"].over


async def test_a_resource_that_cannot_even_be_judged_ends_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def judged(resource: Any, allowance: Allowance) -> WorkloadSpec:
        if resource["metadata"]["name"] == "worse":
            raise LookupError("a mistake of the operator's own")
        return admitted(resource, allowance)

    monkeypatch.setattr(_operator, "admitted", judged)
    api = MemoryApi()
    api.put(f"{WORKLOADS}/tasks", serving())
    async with operating(api) as host:
        await until(lambda: conditions(api).get("Ready") == "True")
        api.put(f"{WORKLOADS}/worse", {**resource({}, name="worse")})
        await until(lambda: "status" in api.objects[f"{WORKLOADS}/worse"])
        (accepted, *_) = api.objects[f"{WORKLOADS}/worse"]["status"]["conditions"]
        assert accepted["message"] == "this host cannot run it: LookupError, see its log"
        assert "a mistake of the operator's own" in caplog.text
        assert not host.workloads["shop/tasks"].over


async def end_at_once(network: Network) -> None:
    await trio.lowlevel.checkpoint()


async def test_what_restarts_without_end_is_told_now_and_then(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[Any] = []

    def judging(resource: Any, allowance: Allowance) -> WorkloadSpec:
        judged.append(resource["spec"])
        return admitted(resource, allowance)

    monkeypatch.setattr(_operator, "admitted", judging)
    task = f"{__name__}:end_at_once"
    restart = {"when": "always", "backoff": 0.1, "backoff-max": 0.1, "jitter": 0, "budget": "unlimited"}
    api = MemoryApi()
    api.put(f"{WORKLOADS}/tasks", resource({"services": {"api": {"task": task, "restart": restart}}}))
    async with operating(api, allowance=Allowance(python=frozenset({task}))) as host:
        await trio.sleep(60)
        (service,) = host.workloads["shop/tasks"].status().services
        assert service.restarts > 500
        told = len([each for each in api.calls if each.startswith("PATCH")])
        assert 20 <= told <= 90
        assert len(judged) == 1
        gone = trio.current_time()
        api.delete(f"{WORKLOADS}/tasks")
        await until(lambda: not host.workloads)
        assert trio.current_time() == gone


def test_a_pace_gives_what_it_has_at_once_and_then_its_rate() -> None:
    pace = Pace(2, 0.5, 100.0)
    assert [pace.take(100.0), pace.take(100.0), pace.take(100.0)] == [0, 0, 2]
    assert pace.take(102.0) == 2
    assert pace.take(102.0) == 2  # the one before was not waited for
    assert [pace.take(1000.0) for _ in range(3)] == [0, 0, 2]


async def test_a_watch_that_breaks_is_begun_anew_and_nothing_is_missed(autojump_clock: MockClock) -> None:
    api = MemoryApi()
    api.put(f"{WORKLOADS}/tasks", serving())
    async with operating(api) as host:
        for error in (ApiError(410, "too old"), ApiError(500, "broken"), ValueError("no JSON")):
            api.away = isinstance(error, ValueError)
            api.break_watches(error)
            name = f"{WORKLOADS}/new-{error.args[0][:3].strip().lower().replace(' ', '')}x"
            api.objects[name] = {}
            api.put(name, serving())
            await trio.sleep(3)
            assert "shop/tasks" in host.workloads
            api.away = False
            await trio.sleep(60)
            assert f"shop/{name.rpartition('/')[2]}" in host.workloads
        api.objects.pop(f"{WORKLOADS}/tasks")  # nobody tells of it
        api.break_watches(ApiError(410, "too old"))
        await trio.sleep(20)
        assert "shop/tasks" not in host.workloads


async def test_a_resource_type_that_is_not_there_is_told_once_with_what_to_do(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    api = MemoryApi()
    api.missing = True
    api.put(f"{WORKLOADS}/tasks", serving())
    async with Host() as host, trio.open_nursery() as nursery:
        nursery.start_soon(Operator(host, api, identity="a", namespace="shop", allowance=PYTHON).run)
        await trio.sleep(600)
        (told,) = [each.getMessage() for each in caplog.records]
        assert "workloads.wasi-sockets.dev/v1alpha1" in told
        assert "\n" not in told
        command, definition = told.split(": ")[-1].rsplit(" ", 1)
        assert command == "kubectl apply -f"
        assert (
            yaml.safe_load(await trio.Path(definition).read_text())["metadata"]["name"]
            == "workloads.wasi-sockets.dev"
        )
        api.missing = False
        await trio.sleep(6)
        assert list(host.workloads) == ["shop/tasks"]
        api.missing = True
        api.break_watches(ApiError(410, "too old"))
        await trio.sleep(60)
        assert len([each for each in caplog.records if "kubectl" in each.getMessage()]) == 2
        assert list(host.workloads) == ["shop/tasks"]
        nursery.cancel_scope.cancel()


async def test_of_two_hosts_one_runs_a_workload_and_the_other_takes_over(autojump_clock: MockClock) -> None:
    api = MemoryApi()
    api.put(f"{WORKLOADS}/tasks", serving())
    async with Host() as one, Host() as other, trio.open_nursery() as nursery:
        scopes = {}
        for name, host in (("one", one), ("other", other)):
            scope = scopes[name] = trio.CancelScope()

            async def run(
                task_status: trio.TaskStatus[None],
                name: str = name,
                host: Host = host,
                scope: trio.CancelScope = scope,
            ) -> None:
                operator = Operator(host, api, identity=name, namespace="shop", leases=True, allowance=PYTHON)
                with scope:
                    await operator.run(task_status=task_status)

            await nursery.start(run)
        for _ in range(40):
            await trio.sleep(1)
            assert len(one.workloads) + len(other.workloads) == 1
        (holder, rest) = ("one", "other") if one.workloads else ("other", "one")
        lease = api.objects["/apis/coordination.k8s.io/v1/namespaces/shop/leases/wasi-sockets-tasks"]
        assert lease["spec"]["holderIdentity"] == holder
        scopes[holder].cancel()  # it gives the Lease back
        await trio.sleep(5)
        assert bool(one.workloads) is (rest == "one")
        nursery.cancel_scope.cancel()


# ---------------------------------------------------------------- Leases
async def test_a_lease_is_lost_before_anybody_else_may_take_it(autojump_clock: MockClock) -> None:
    """Each host sees an API of its own that may be away; what they hold is watched over time."""
    shared = MemoryApi()

    class Seen(MemoryApi):
        def __init__(self) -> None:
            super().__init__()
            self.objects = shared.objects

        def _store(self, path: str, new: dict[str, Any]) -> dict[str, Any]:
            return shared._store(path, new)

    apis = [Seen(), Seen()]
    leases = [Lease(api, "shop", "x", f"host-{number}", lambda: None) for number, api in enumerate(apis)]
    held: list[tuple[bool, bool]] = []
    async with trio.open_nursery() as nursery:
        for lease in leases:
            nursery.start_soon(lease.keep)
        for second in range(200):
            await trio.sleep(0.5)
            if second in (20, 100):
                apis[0].away, apis[1].away = leases[0].held, leases[1].held
            if second in (80, 160):
                apis[0].away = apis[1].away = False
            held.append((leases[0].held, leases[1].held))
        nursery.cancel_scope.cancel()
    assert (True, True) not in held
    assert {each for each in held if any(each)} == {(True, False), (False, True)}
    longest = max(len(run) for run in "".join("x" if any(each) else "." for each in held).split("x"))
    assert longest * 0.5 < 2 * DURATION_SECONDS


async def test_a_lease_that_another_took_meanwhile_is_not_held(autojump_clock: MockClock) -> None:
    api = MemoryApi()
    lease = Lease(api, "shop", "x", "me", lambda: None)
    path = "/apis/coordination.k8s.io/v1/namespaces/shop/leases/x"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lease.keep)
        await trio.sleep(1)
        assert lease.held
        api.put(path, {**api.objects[path], "spec": {"holderIdentity": "other", "leaseDurationSeconds": 15}})
        await trio.sleep(3)
        assert not lease.held
        await trio.sleep(16)
        assert lease.held
        assert api.objects[path]["spec"]["leaseTransitions"] == 1
        nursery.cancel_scope.cancel()
    assert api.objects[path]["spec"]["holderIdentity"] == ""


class HangingApi(MemoryApi):
    """Answers no more once it hangs."""

    hangs = False

    async def get(self, path: str, query: Any = None) -> Any:
        await self._answer()
        return await super().get(path, query)

    async def merge(self, path: str, changes: Any) -> Any:
        await self._answer()
        return await super().merge(path, changes)

    async def _answer(self) -> None:
        if self.hangs:
            await trio.sleep_forever()


async def test_a_lease_is_lost_in_time_where_the_api_server_hangs(autojump_clock: MockClock) -> None:
    api = HangingApi()
    changes: list[tuple[float, bool]] = []
    lease = Lease(api, "shop", "x", "me", lambda: changes.append((trio.current_time(), lease.held)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lease.keep)
        await trio.sleep(5)  # renewed last at 4
        api.hangs = True
        await trio.sleep(30)
        nursery.cancel_scope.cancel()
    (taken, _), (lost, held) = changes
    assert not held
    assert lost - taken == 14


async def test_a_workload_ends_with_its_lease_while_its_status_cannot_be_told(
    autojump_clock: MockClock,
) -> None:
    api = HangingApi()
    api.put(f"{WORKLOADS}/tasks", serving())
    async with operating(api, leases=True) as host:
        await trio.sleep(5)
        assert list(host.workloads) == ["shop/tasks"]
        api.hangs = True
        api.put(f"{WORKLOADS}/tasks", {**serving(), "metadata": {**serving()["metadata"], "generation": 2}})
        await trio.sleep(DURATION_SECONDS - 1)
        assert not host.workloads


async def test_a_workload_that_is_stopping_ends_in_time_when_its_lease_is_lost(
    autojump_clock: MockClock,
) -> None:
    api = HangingApi()
    api.put(f"{WORKLOADS}/tasks", serving())
    async with operating(api, leases=True, stop_within=3600) as host:
        await trio.sleep(5)
        first = host.workloads["shop/tasks"]
        async with await first.network.connect_tcp("127.0.0.1", 7):
            api.put(f"{WORKLOADS}/tasks", serving(8))
            await trio.sleep(1)
            assert not first.over
            api.hangs = True
            await trio.sleep(DURATION_SECONDS - 1)
            assert first.over
            assert not host.workloads


class EndingApi(MemoryApi):
    """Ends each watch as soon as it has begun."""

    async def watch(self, path: str, query: Any) -> AsyncIterator[tuple[str, Any]]:
        await self._answered(f"WATCH {path}")
        if len(self.calls) > 100:
            raise RuntimeError("asked without end")
        if False:
            yield


async def test_an_api_server_that_ends_each_watch_at_once_is_not_asked_without_end(
    autojump_clock: MockClock,
) -> None:
    api = EndingApi()
    async with operating(api):
        await trio.sleep(10.5)
    assert len([each for each in api.calls if each.startswith("WATCH")]) == 11
