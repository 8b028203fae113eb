"""A host and its supervisors, with trio's MockClock: backoff, budgets and probes without waiting."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from service.hosting import Event, Host, State, Workload, WorkloadError
from service.spec import (
    HandlerCode,
    Probe,
    RestartPolicy,
    ServiceSpec,
    TaskCode,
    WorkloadSpec,
)
from wasi_sockets import Network, TcpStream

Task = Callable[..., Awaitable[object]]
EXACT = RestartPolicy(backoff=1, backoff_max=8, jitter=0, budget=4, healthy_after=60)


def workload_of(*services: ServiceSpec) -> WorkloadSpec:
    return WorkloadSpec(name="shop", services=services)


def service(task: Task, name: str = "api", **options: Any) -> ServiceSpec:
    return ServiceSpec(name=name, code=TaskCode(task), **{"restart": EXACT, **options})


def states(host: Host, name: str = "api") -> list[str]:
    return [str(each.state) for each in host.events.last() if each.service == name]


async def fail_at_once(network: Network) -> None:
    raise RuntimeError("no good")


async def live_on(network: Network) -> None:
    await trio.sleep_forever()


async def shout(stream: TcpStream) -> None:
    async for data in stream:
        await stream.send_all(data.upper())


async def ask(workload: Workload, port: int, text: bytes = b"hello") -> bytes:
    async with await workload.network.connect_tcp("127.0.0.1", port) as stream:
        await stream.send_all(text)
        return bytes(await stream.receive_some())


async def test_backoff_and_budget(autojump_clock: MockClock) -> None:
    began: list[float] = []

    async def fail(network: Network) -> None:
        began.append(trio.current_time())
        raise RuntimeError("no good")

    async with Host() as host:
        workload = await host.start(workload_of(service(fail)))
        assert not await workload.wait()
        (status,) = workload.status().services
    assert [round(each - began[0], 6) for each in began] == [0, 1, 3, 7, 15]
    assert status.state is State.FAILED
    assert status.reason == "RuntimeError: no good; the budget of 4 restarts is used up"
    assert status.restarts == 4
    said = [each.text for each in host.lines.last()]
    assert sum(line == "RuntimeError: no good" for line in said) == 1
    assert said[-4:] == ["RuntimeError: no good (as the last time, in the same place)"] * 4
    # Nothing of what runs the service is in its traceback.
    assert [line.strip() for line in said if "File " in line] == [
        f'File "{__file__}", line {fail.__code__.co_firstlineno + 2}, in fail'
    ]
    without_running = [
        each for each in states(host) if each != "running"
    ]  # it may fail before it is seen to run
    assert without_running == [*["starting", "backing-off"] * 4, "starting", "failed"]


async def test_a_healthy_time_refills_the_budget(autojump_clock: MockClock) -> None:
    lives = 0

    async def fail_after_a_while(network: Network) -> None:
        nonlocal lives
        lives += 1
        if lives > 12:
            await trio.sleep_forever()
        await trio.sleep(61)
        raise RuntimeError("old age")

    async with Host() as host:
        workload = await host.start(workload_of(service(fail_after_a_while)))
        await trio.sleep(12 * (61 + 1) + 1)
        (status,) = workload.status().services
        assert (status.state, status.restarts) == (State.RUNNING, 12)


async def test_what_ends_in_order_has_completed_and_always_restarts_it(autojump_clock: MockClock) -> None:
    async def work(network: Network) -> None:
        await trio.sleep(5)

    async with Host() as host:
        workload = await host.start(workload_of(service(work)))
        assert await workload.wait()
        assert workload.status().services[0].state is State.COMPLETED
    again = RestartPolicy(when="always", backoff=1, jitter=0, budget=2)
    async with Host() as host:
        workload = await host.start(workload_of(service(work, restart=again)))
        assert not await workload.wait()
        assert workload.status().services[0].restarts == 2


async def test_a_failed_service_can_be_restarted_by_hand(autojump_clock: MockClock) -> None:
    good = False

    async def fail_first(network: Network) -> None:
        if not good:
            raise RuntimeError("no good")
        await trio.sleep_forever()

    async with Host() as host:
        spec = workload_of(service(fail_first, restart=RestartPolicy(when="never")))
        workload = await host.start(spec)
        assert not await workload.wait()
        good = True
        workload.restart("api")
        await workload.until_ready()
        assert states(host)[-2:] == ["starting", "running"]
        with pytest.raises(WorkloadError, match="no service 'db'; it has api"):
            workload.restart("db")


async def test_a_service_is_ready_when_its_ports_listen_and_degraded_when_not() -> None:
    listen, leave = trio.Event(), trio.Event()

    async def slow(network: Network) -> None:
        await listen.wait()
        async with network.listen_tcp(80):
            await leave.wait()
        await trio.sleep_forever()

    async with Host() as host:
        workload = await host.start(workload_of(service(slow, ports=(80,))))
        await wait_all_tasks_blocked()
        assert states(host)[-1] == "starting"
        listen.set()
        await workload.until_ready()
        assert states(host)[-1] == "ready"
        leave.set()
        await wait_all_tasks_blocked()
        status = workload.status().services[0]
        assert (status.state, status.reason) == (State.DEGRADED, "nobody listens at port 80")
        async with workload.network.listen_tcp(80):
            await wait_all_tasks_blocked()
            assert workload.status().services[0].state is State.READY


async def test_a_service_that_never_gets_ready_has_failed(autojump_clock: MockClock) -> None:
    probe = Probe("listen", within=30)
    async with Host() as host:
        spec = service(live_on, ports=(80,), ready=probe, restart=RestartPolicy(when="never"))
        workload = await host.start(workload_of(spec))
        began = trio.current_time()
        with pytest.raises(WorkloadError, match=r"shop: api is failed: it was not ready within 30 s"):
            await workload.until_ready()
        assert trio.current_time() - began == 30


async def test_an_http_probe_decides(autojump_clock: MockClock) -> None:
    status = 503
    asked: list[bytes] = []

    async def answer(stream: TcpStream) -> None:
        asked.append(bytes(await stream.receive_some()))
        await stream.send_all(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)

    async with Host() as host:
        probe = Probe("http", 80, "/ready", period=2, failures=3)
        spec = ServiceSpec(name="api", code=HandlerCode(answer), ports=(80,), ready=probe)
        workload = await host.start(workload_of(spec))
        await trio.sleep(9)
        assert workload.status().services[0].state is State.STARTING
        assert asked[0].startswith(b"GET /ready HTTP/1.1\r\n")
        status = 204
        await workload.until_ready()
        status = 500
        await trio.sleep(5)
        assert workload.status().services[0].state is State.READY
        await trio.sleep(3)
        told = workload.status().services[0]
        assert told.state is State.DEGRADED
        assert told.reason == "the http probe of port 80: GET /ready answered 500"
        status = 200
        await trio.sleep(3)
        assert workload.status().services[0].state is State.READY


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-nope\r\n\r\n", None])
async def test_a_probe_of_what_speaks_no_http_fails(autojump_clock: MockClock, answer: bytes | None) -> None:
    async def babble(stream: TcpStream) -> None:
        if answer is None:
            await trio.sleep_forever()
        await stream.send_all(answer or b"")

    async with Host() as host:
        probe = Probe("http", 80, within=10)
        spec = ServiceSpec(
            name="api",
            code=HandlerCode(babble),
            ports=(80,),
            ready=probe,
            restart=RestartPolicy(when="never"),
        )
        workload = await host.start(workload_of(spec))
        assert not await workload.wait()


async def test_services_start_in_order_and_stop_in_the_other(autojump_clock: MockClock) -> None:
    happened: list[str] = []

    def task(name: str) -> Task:
        async def run(network: Network, task_status: trio.TaskStatus[None]) -> None:
            await trio.sleep(1)
            happened.append(f"{name} up")
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                happened.append(f"{name} down")

        return run

    async with Host() as host:
        spec = workload_of(
            service(task("web"), "web", after=("api",)),
            service(task("api"), "api", after=("db",)),
            service(task("db"), "db"),
        )
        workload = await host.start(spec)
        await workload.until_ready()
        assert [each.name for each in workload.status().services] == ["web", "api", "db"]
    assert happened == ["db up", "api up", "web up", "web down", "api down", "db down"]


async def test_who_comes_after_what_has_failed_fails_too(autojump_clock: MockClock) -> None:
    async with Host() as host:
        never = RestartPolicy(when="never")
        spec = workload_of(
            service(fail_at_once, "db", restart=never, ports=(5432,)), service(live_on, after=("db",))
        )
        workload = await host.start(spec)
        assert not await workload.wait()
        api = workload.status().services[1]
        assert (api.state, api.reason) == (State.FAILED, "db, which it comes after, is failed")


async def test_a_dead_incarnation_leaves_nothing_and_its_peers_see_a_reset() -> None:
    async with Host() as host:
        workload = await host.start(
            workload_of(ServiceSpec(name="api", code=HandlerCode(shout), ports=(80,)))
        )
        await workload.until_ready()
        async with await workload.network.connect_tcp("::1", 80) as stream:
            await stream.send_all(b"a")
            assert await stream.receive_some() == b"A"
            workload.restart("api")
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
        await workload.until_ready()
        assert await ask(workload, 80) == b"HELLO"
        assert {str(each.owner) for each in workload.network.sockets()} == {"default/shop/api"}


async def test_stopping_lets_connections_finish_and_refuses_new_ones(autojump_clock: MockClock) -> None:
    async with Host() as host:
        workload = await host.start(
            workload_of(ServiceSpec(name="api", code=HandlerCode(shout), ports=(80,)))
        )
        await workload.until_ready()
        async with trio.open_nursery() as nursery:
            stream = await workload.network.connect_tcp("127.0.0.1", 80)
            nursery.start_soon(workload.stop, 10)
            await trio.sleep(3)
            assert states(host)[-1] == "stopping"
            with pytest.raises(ConnectionRefusedError):
                await workload.network.connect_tcp("127.0.0.1", 80)
            with pytest.raises(WorkloadError, match="told to stop"):
                workload.restart("api")
            await stream.send_all(b"last")
            assert await stream.receive_some() == b"LAST"
            began = trio.current_time()
            await stream.aclose()
        assert trio.current_time() - began < 1
        assert states(host)[-1] == "stopped"
        assert host.workloads == {}


@pytest.mark.parametrize("forced", [False, True])
async def test_who_does_not_finish_is_cut_off(autojump_clock: MockClock, forced: bool) -> None:
    async with Host() as host:
        workload = await host.start(
            workload_of(ServiceSpec(name="api", code=HandlerCode(shout), ports=(80,)))
        )
        await workload.until_ready()
        stream = await workload.network.connect_tcp("127.0.0.1", 80)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(workload.stop, 10)
            await trio.sleep(1)
            if forced:
                workload.kill()
        assert trio.current_time() - began == pytest.approx(1 if forced else 10, abs=0.1)
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        await stream.aclose()


async def test_a_host_that_is_cancelled_ends_everything() -> None:
    ended: list[str] = []

    async def task(network: Network) -> None:
        try:
            async with network.listen_tcp(80):
                await trio.sleep_forever()
        finally:
            ended.append("task")

    with trio.CancelScope() as scope:
        async with Host() as host:
            workload = await host.start(workload_of(service(task, ports=(80,), hold=3)))
            await workload.until_ready()
            scope.cancel()
            await trio.sleep_forever()
    assert ended == ["task"]
    assert workload.over
    assert workload.network.sockets() == []


async def test_what_the_block_raises_comes_out() -> None:
    class MineError(Exception):
        pass

    with pytest.raises(MineError):  # noqa: PT012
        async with Host() as host:
            await host.start(workload_of(service(live_on)))
            raise MineError


async def test_two_workloads_of_one_name_and_two_with_the_same_ports() -> None:
    async with Host() as host:
        one = workload_of(ServiceSpec(name="api", code=HandlerCode(shout), ports=(80,)))
        first = await host.start(one)
        with pytest.raises(WorkloadError, match="default/shop runs already"):
            await host.start(one)
        other = await host.start(WorkloadSpec(name="shop", namespace="test", services=one.services))
        await other.until_ready()
        await first.until_ready()
        await first.stop()
        with pytest.raises(OSError, match="closed"):
            await ask(first, 80)
        assert await ask(other, 80) == b"HELLO"
        again = await host.start(one)
        await again.until_ready()
        assert await ask(again, 80) == b"HELLO"
    with pytest.raises(RuntimeError, match="only within"):
        await host.start(one)


async def test_a_handler_that_raises_resets_its_connection_and_nothing_else() -> None:
    async def touchy(stream: TcpStream) -> None:
        if await stream.receive_some() == b"bad":
            raise ValueError("touched")
        await stream.send_all(b"fine")

    async with Host() as host:
        workload = await host.start(
            workload_of(ServiceSpec(name="api", code=HandlerCode(touchy), ports=(80,)))
        )
        await workload.until_ready()
        with pytest.raises(trio.BrokenResourceError):
            await ask(workload, 80, b"bad")
        assert await ask(workload, 80, b"good") == b"fine"
        assert workload.status().services[0].restarts == 0
    assert host.lines.last()[-1].text == "ValueError: touched"


async def test_names_lead_to_services() -> None:
    async with Host() as host:
        workload = await host.start(
            workload_of(ServiceSpec(name="api", code=HandlerCode(shout), ports=(80,)))
        )
        await workload.until_ready()
        async with await workload.network.connect_tcp("api.svc.internal", 80) as stream:
            await stream.send_all(b"x")
            assert await stream.receive_some() == b"X"


async def test_events_can_be_followed() -> None:
    seen: list[Event] = []
    async with Host() as host:
        with host.events.follow() as events:
            await host.start(workload_of(service(live_on)))
            async for event in events:
                seen.append(event)
                if event.state is State.RUNNING:
                    break
    assert [(each.workload, each.service, str(each.state)) for each in seen] == [
        ("default/shop", "api", "starting"),
        ("default/shop", "api", "running"),
    ]


async def test_code_that_cannot_be_had_fails_for_good(autojump_clock: MockClock) -> None:
    for named, reason in (
        ("no_such_module:f", "there is no module 'no_such_module'"),
        ("json:nothing", f"json ({json.__file__}) has no 'nothing'"),
        ("service:handle", "'service' is a package of wasi-sockets itself"),
        ("json:__name__", "json:__name__ cannot be called"),
    ):
        async with Host() as host:
            spec = ServiceSpec(name="api", code=TaskCode(named), restart=EXACT)
            workload = await host.start(workload_of(spec))
            assert not await workload.wait()
            status = workload.status().services[0]
            assert reason in status.reason
            assert status.restarts == 0


async def test_connections_that_a_service_has_made_do_not_hold_its_stop_up(autojump_clock: MockClock) -> None:
    async def pooled(network: Network, task_status: trio.TaskStatus[None]) -> None:
        async with network.listen_tcp(80), await network.connect_tcp("127.0.0.1", 7):
            task_status.started()
            await trio.sleep_forever()

    async with Host() as host:
        workload = await host.start(
            workload_of(
                ServiceSpec(name="echo", code=HandlerCode(shout), ports=(7,)),
                service(pooled, ports=(80,), after=("echo",)),
            )
        )
        await workload.until_ready()
        began = trio.current_time()
        await workload.stop(10)
        assert trio.current_time() - began < 1


async def test_a_probe_takes_the_body_of_an_answer(autojump_clock: MockClock) -> None:
    ended: list[str] = []

    async def in_two_pieces(stream: TcpStream) -> None:
        await stream.receive_some()
        try:
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
            await trio.sleep(0.1)
            await stream.send_all(b"fine")
        except trio.BrokenResourceError:
            ended.append("broken")
            raise
        ended.append("in order")

    async with Host() as host:
        spec = ServiceSpec(name="api", code=HandlerCode(in_two_pieces), ports=(80,), ready=Probe("http", 80))
        workload = await host.start(workload_of(spec))
        await workload.until_ready()
    assert ended == ["in order"]


async def test_an_http_probe_without_what_it_needs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h11", None)
    monkeypatch.delitem(sys.modules, "service.hosting._http_probe", raising=False)
    async with Host() as host:
        spec = ServiceSpec(name="api", code=HandlerCode(shout), ports=(80,), ready=Probe("http", 80))
        with pytest.raises(WorkloadError, match=r"api: an HTTP probe needs h11.*wasi-sockets\[workloads\]"):
            await host.start(workload_of(spec))
        assert host.workloads == {}


async def test_only_what_has_connections_is_told_to_wait_for_them(autojump_clock: MockClock) -> None:
    async with Host() as host:
        handler = ServiceSpec(name="web", code=HandlerCode(shout), ports=(80,))
        idle = ServiceSpec(name="idle", code=HandlerCode(shout), ports=(81,))
        workload = await host.start(workload_of(service(live_on), handler, idle))
        await workload.until_ready()
        async with await workload.network.connect_tcp("127.0.0.1", 80) as stream:
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"HELLO"
            await workload.stop(1)
    reasons = {each.service: each.reason for each in host.events.last() if each.state is State.STOPPING}
    assert reasons == {"api": "", "idle": "", "web": "until its connections have ended"}
