"""Services that do what they should not: the workload beside them goes on, and stopping comes to an end."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from service.hosting import Host, OutputLine, State, Workload
from service.hosting._feeds import MAX_LINE, Feed, Lines
from service.hosting._volumes import Volumes
from service.spec import (
    ComponentCode,
    ComponentSpec,
    HandlerCode,
    RestartPolicy,
    ServiceSpec,
    TaskCode,
    Volume,
    WorkloadSpec,
)
from wasi_sockets import Network, TcpStream

Task = Callable[..., Awaitable[object]]

TWICE = RestartPolicy(backoff=1, jitter=0, budget=1)
NEVER = RestartPolicy(when="never")


class RudeError(BaseException):
    """None of those that one would expect."""


class SpeechlessError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


async def shout(stream: TcpStream) -> None:
    async for data in stream:
        await stream.send_all(data.upper())


NEIGHBOUR = WorkloadSpec(
    name="neighbour", services=(ServiceSpec(name="api", code=HandlerCode(shout), ports=(80,)),)
)


def workload_of(*services: ServiceSpec) -> WorkloadSpec:
    return WorkloadSpec(name="shop", services=services)


def service(task: Task, name: str = "api", **options: Any) -> ServiceSpec:
    return ServiceSpec(name=name, code=TaskCode(task), **{"restart": TWICE, **options})


async def ask(workload: Workload, port: int = 80) -> bytes:
    async with await workload.network.connect_tcp("127.0.0.1", port) as stream:
        await stream.send_all(b"hello")
        return bytes(await stream.receive_some())


async def live_on(network: Network) -> None:
    await trio.sleep_forever()


def raising(error: BaseException) -> Task:
    async def fail(network: Network) -> None:
        raise error

    return fail


async def raise_a_cancellation_from_elsewhere(network: Network) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as error:
            kept = error
    raise kept


ENDINGS = {
    "a BaseException": (raising(RudeError("rude")), "RudeError: rude"),
    "SystemExit": (raising(SystemExit(3)), "SystemExit: 3"),
    "GeneratorExit": (raising(GeneratorExit()), "GeneratorExit"),
    "an error without a text": (
        raising(SpeechlessError()),
        "SpeechlessError: its text cannot be had",
    ),
    "an error with too much text": (raising(ValueError("x" * 1_000_000)), "ValueError: " + "x" * 500),
    "a group": (raising(BaseExceptionGroup("two", [RudeError("a"), RudeError("b")])), "RudeError: a"),
    "a cancellation": (raise_a_cancellation_from_elsewhere, "it did not run"),
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_whatever_a_service_raises_is_a_failure_of_it(ending: str, autojump_clock: MockClock) -> None:
    task, reason = ENDINGS[ending]
    async with Host() as host:
        neighbour = await host.start(NEIGHBOUR)
        workload = await host.start(workload_of(service(task)))
        assert not await workload.wait()
        (status,) = workload.status().services
        assert status.reason == f"{reason}; the budget of 1 restarts is used up"
        assert status.restarts == 1
        assert max((len(each.text) for each in host.lines.last()), default=0) <= 16 * 1024
        assert await ask(neighbour) == b"HELLO"


async def raise_it(_: Sequence[OutputLine]) -> None:
    raise BrokenPipeError("nobody reads")


async def block(_: Sequence[OutputLine]) -> None:
    await trio.sleep_forever()


@pytest.mark.parametrize(
    "output", [raise_it, block, lambda _: None], ids=["raises", "blocks", "is not async"]
)
async def test_services_start_again_whatever_becomes_of_output(
    output: Callable[[Sequence[OutputLine]], Awaitable[object]], autojump_clock: MockClock
) -> None:
    async with Host(output=output) as host:
        neighbour = await host.start(NEIGHBOUR)
        workload = await host.start(workload_of(service(raising(ValueError("no good")))))
        assert not await workload.wait()
        assert workload.status().services[0].restarts == 1
        assert "ValueError: no good" in [each.text for each in host.lines.last()]
        assert await ask(neighbour) == b"HELLO"


async def test_a_task_that_forgets_its_sockets_can_start_again(autojump_clock: MockClock) -> None:
    lives = 0

    async def forget(network: Network) -> None:
        nonlocal lives
        lives += 1
        listener = network.listen_tcp(81)
        stream = await listener.accept()
        await stream.receive_some()
        raise ValueError("no good")

    async with Host() as host:
        workload = await host.start(workload_of(service(forget, ports=(81,))))
        await workload.until_ready()
        with pytest.raises(trio.BrokenResourceError):
            await ask(workload, 81)
        await trio.sleep(2)
        assert lives == 2
        assert workload.status().services[0].state is State.READY


async def test_a_task_is_drained_as_well(autojump_clock: MockClock) -> None:
    async def serve(network: Network) -> None:
        await network.serve_tcp(shout, 81)

    async with Host() as host:
        workload = await host.start(workload_of(service(serve, ports=(81,))))
        await workload.until_ready()
        async with trio.open_nursery() as nursery:
            stream = await workload.network.connect_tcp("127.0.0.1", 81)
            nursery.start_soon(workload.stop, 10)
            await trio.sleep(3)
            with pytest.raises(ConnectionRefusedError):
                await workload.network.connect_tcp("127.0.0.1", 81)
            await stream.send_all(b"last")
            assert await stream.receive_some() == b"LAST"
            await stream.aclose()


async def test_a_restart_while_it_ends_is_no_failure() -> None:
    for turns in range(12):  # somewhere in them the incarnation is over, and what comes of it not yet decided
        lives, fail = 0, trio.Event()

        async def fail_when_told(network: Network, fail: trio.Event = fail) -> None:
            nonlocal lives
            lives += 1
            if lives == 1:
                await fail.wait()
                raise ValueError("no good")
            await trio.sleep_forever()

        async with Host() as host:
            workload = await host.start(workload_of(service(fail_when_told, restart=NEVER)))
            await workload.until_ready()
            fail.set()
            for _ in range(turns):
                await trio.lowlevel.checkpoint()
            workload.restart("api")
            asked = len(host.events.last())
            await workload.until_ready()
            assert State.FAILED not in [each.state for each in host.events.last()[asked:]]


@pytest.mark.parametrize("steps", range(8))
async def test_a_stop_at_any_moment_of_a_start_is_in_order(
    steps: int, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    services = tuple(service(live_on, name, ports=(port,), hold=5) for name, port in (("a", 1), ("b", 2)))
    async with Host() as host:
        workload = await host.start(workload_of(*services))
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        await workload.stop(1)
        assert [each.state for each in workload.status().services] == [State.STOPPED] * 2
        assert workload.network.sockets() == []
    assert caplog.text == ""


async def test_the_earlier_end_of_two_stops_counts(autojump_clock: MockClock) -> None:
    async def never_finish(stream: TcpStream) -> None:
        await trio.sleep_forever()

    async with Host() as host:
        workload = await host.start(
            workload_of(ServiceSpec(name="api", code=HandlerCode(never_finish), ports=(80,)))
        )
        await workload.until_ready()
        stream = await workload.network.connect_tcp("127.0.0.1", 80)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for within in (60, 5, 30):
                nursery.start_soon(workload.stop, within)
                await trio.sleep(1)
        assert trio.current_time() - began == pytest.approx(6, abs=0.1)
        await stream.aclose()


async def test_what_does_not_end_is_told_of_and_keeps_no_other_from_stopping(
    autojump_clock: MockClock,
) -> None:
    release = trio.Event()

    async def hold_on(network: Network) -> None:
        with trio.CancelScope(shield=True):
            await release.wait()

    async with Host() as host:
        neighbour = await host.start(NEIGHBOUR)
        workload = await host.start(workload_of(service(live_on, "db"), service(hold_on, after=("db",))))
        await workload.until_ready()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(workload.stop, 1)
            await neighbour.stop(1)
            await trio.sleep(10)
            db, api = workload.status().services
            release.set()
        assert db.state is State.STOPPED
        assert (api.state, api.reason) == (
            State.STOPPING,
            "it does not end, though it was cancelled",
        )
        assert workload.status().services[1].state is State.STOPPED


async def test_a_task_that_closes_the_network_harms_only_its_workload(autojump_clock: MockClock) -> None:
    async def close(network: Network) -> None:
        network.close()
        await trio.sleep_forever()

    async with Host() as host:
        neighbour = await host.start(NEIGHBOUR)
        workload = await host.start(workload_of(service(close, ports=(81,), hold=5)))
        assert not await workload.wait()
        assert await ask(neighbour) == b"HELLO"


async def test_who_takes_the_port_of_another_ends_nothing_else(autojump_clock: MockClock) -> None:
    async def take(network: Network) -> None:
        async with network.listen_tcp(81, "127.0.0.1"), network.listen_tcp(81, "::1"):
            await trio.sleep_forever()

    async def hold(network: Network) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(network.hold, 81, 5))

    for thief in (take, hold):
        async with Host() as host:
            neighbour = await host.start(NEIGHBOUR)
            victim = ServiceSpec(
                name="web", code=HandlerCode(shout), ports=(81,), hold=1, after=("thief",), restart=TWICE
            )
            workload = await host.start(workload_of(service(thief, "thief"), victim))
            with trio.move_on_after(10):
                await workload.wait()
            assert await ask(neighbour) == b"HELLO"


async def test_a_host_that_is_stopping_starts_no_workload_that_it_would_not_stop() -> None:
    async with Host() as host:
        late: list[Exception] = []

        async def start_another(network: Network) -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    try:
                        await host.start(NEIGHBOUR)
                    except RuntimeError as error:
                        late.append(error)

        workload = await host.start(workload_of(service(start_another)))
        await workload.until_ready()
    assert str(late[0]) == "a Host runs workloads only within its `async with` block"
    assert host.workloads == {}


def test_lines_are_kept_by_their_length_too() -> None:
    feed: Feed[str] = Feed(100, 1000, len)
    with feed.follow():
        for _ in range(500):
            feed.publish("x" * 90)
        assert feed.last() == ["x" * 90] * 11
        feed.publish("y" * 5000)
        assert feed.last() == ["y" * 5000]
        for _ in range(500):
            feed.publish("")
        assert len(feed.last()) == 100


@pytest.mark.parametrize("letter", ["\u00e9", "\u20ac", "\U0001f600"])
def test_a_long_line_is_not_cut_within_a_character(letter: str) -> None:
    for shift in range(4):
        text = "x" * shift + letter * 20_000
        data = f"{text}\n".encode()
        for size in (len(data), 1000):
            lines = Lines()
            told = [line for at in range(0, len(data), size) for line in lines.split(data[at : at + size])]
            assert "".join(told) == text
            assert all(len(each.encode()) <= MAX_LINE for each in told)
    lines = Lines()
    assert len("".join(lines.split(b"\x80" * 100_000))) + len("".join(lines.finish())) == 100_000


async def test_reasons_are_kept_in_short(autojump_clock: MockClock) -> None:
    missing = ComponentSpec(name="job", code=ComponentCode("x" * 200 + "/" + "y/" * 100_000))
    async with Host() as host:
        workload = await host.start(WorkloadSpec(name="shop", components=(missing,)))
        await workload.until("job", State.FAILED)
        assert 2000 <= len(workload.status().services[0].reason) < 2100
        assert all(len(each.reason) < 2100 for each in host.events.last())


async def test_who_follows_too_slowly_misses_the_oldest() -> None:
    feed: Feed[str] = Feed(10, 1000, len)
    seen: list[str] = []

    async def read() -> None:
        with feed.follow() as lines:
            seen.extend([line async for line in lines])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        for number in range(100):
            feed.publish(f"{number:100}")
        feed.close()
    assert [int(each) for each in seen] == list(range(90, 100))


def test_a_volume_nested_too_deep_for_anybody_is_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    volumes = Volumes()
    directory = volumes.directory(Volume("data"))
    here = os.open(directory, os.O_RDONLY)
    for depth in range(3000):
        os.mkdir("d", dir_fd=here)
        if depth % 100 == 0:
            os.symlink("/", "out", dir_fd=here)
            os.close(os.open("file", os.O_CREAT, dir_fd=here))
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    volumes.remove()
    assert list(tmp_path.iterdir()) == []
