"""The fast paths that touch no memory: stream states, readiness, drops and time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from tests.engine.conftest import Run
from tests.engine.wat_guest import component as guest_text
from tests.engine.wat_guest import item
from wasi_sockets.engine.handles import INPUT_STREAM, OUTPUT_STREAM
from wasi_sockets.errors import GuestTrap

ONE = ["attach", "avail", "permit", "flush", "failure", "check", "drop", "drop-stream"]
ASYNC = ["wait-many", "sleep"]
NAMES = [*ONE, "hello", "now", "trap", "watch", "wait", *ASYNC]
NUMBER = {name: index for index, name in enumerate(NAMES)}
FOREVER = (1 << 64) - 1
INPUT, OUTPUT, OTHER = 1 << 32, 2 << 32, 3 << 32

GUEST = guest_text(
    "\n".join(
        [
            *[
                f'(func (export "{name}") (param $a i64) (result i64)'
                f" (call $call1 (i64.const {NUMBER[name]}) (local.get $a)))"
                for name in ONE
            ],
            *[
                f'(func (export "{name}") (param $a i64) (result i64)'
                f" (call $wait1 (i64.const {NUMBER[name]}) (local.get $a)))"
                for name in ASYNC
            ],
            *[
                f'(func (export "{name}") (result i64) (call $call0 (i64.const {NUMBER[name]})))'
                for name in ("hello", "now")
            ],
            f"""(func (export "trap") (param $a i64) (param $b i64) (result i64)
                  (call $call2 (i64.const {NUMBER["trap"]}) (local.get $a) (local.get $b)))
                (func (export "wait") (param $a i64) (param $b i64) (result i64)
                  (call $wait2 (i64.const {NUMBER["wait"]}) (local.get $a) (local.get $b)))
                (func (export "watch") (param $a i64) (param $b i64) (result i64)
                  (call $call7 (i64.const {NUMBER["watch"]}) (local.get $a) (local.get $b)
                    (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0)))""",
        ]
    ),
    {
        **dict.fromkeys([*ONE, *ASYNC], '(param "a" u64) (result u64)'),
        **dict.fromkeys(("hello", "now"), "(result u64)"),
        **dict.fromkeys(("trap", "wait", "watch"), '(param "a" u64) (param "b" u64) (result u64)'),
    },
)
ITEMS = [
    item(
        NUMBER[name],
        name,
        resource={"drop": "t:t/t.thing", "drop-stream": INPUT_STREAM}.get(name),
        suspends=name in ("wait", *ASYNC),
    )
    for name in NAMES
]


class Stream:
    """Both kinds of stream and a waitable, in whatever state a test wants."""

    def __init__(self, level: int = 0, peer: Stream | None = None) -> None:
        self.level = level
        self.peer = peer
        self.waiters: list[Callable[[], None]] = []
        self.failure: object = None
        self.closed = 0

    def available(self) -> int:
        return self.level

    permit = available

    def ready(self) -> bool:
        return self.level != 0

    def flush(self) -> int:
        return min(self.level, 0)

    def error(self) -> object:
        return self.failure

    def add_waiter(self, wake: Callable[[], None]) -> None:
        if wake not in self.waiters:
            self.waiters.append(wake)

    def remove_waiter(self, wake: Callable[[], None]) -> None:
        if wake in self.waiters:
            self.waiters.remove(wake)

    def set(self, level: int) -> None:
        self.level = level
        self.wake()

    def wake(self) -> None:
        waiters, self.waiters = self.waiters, []
        for wake in waiters:
            wake()

    def close(self) -> None:
        self.closed += 1


async def test_attach_tells_kind_and_state(run: Run) -> None:
    async with run(GUEST, ITEMS) as guest:
        table = guest._state.table(0)
        sent = Stream(500)
        received = Stream(-1, peer=sent)
        sent.peer = received
        other = Stream()
        handle = table.add(INPUT_STREAM, received)
        assert await guest.call("attach", handle) == 1 | 0xFFFF_FFFF << 32
        out = table.add(OUTPUT_STREAM, sent)
        assert await guest.call("attach", out) == 2 | 500 << 32
        assert await guest.call("attach", table.add("t.r", other)) == 3


@pytest.mark.parametrize("level", [0, 1, 70_000, -1, -2])
async def test_levels_are_signed_words(run: Run, level: int) -> None:
    async with run(GUEST, ITEMS) as guest:
        table = guest._state.table(0)
        stream = Stream(level)
        assert await guest.call("avail", table.add(INPUT_STREAM, stream)) == level & 0xFFFF_FFFF
        out = table.add(OUTPUT_STREAM, stream)
        assert await guest.call("permit", out) == level & 0xFFFF_FFFF
        assert await guest.call("flush", out) == min(level, 0) & 0xFFFF_FFFF


async def test_a_level_too_large_for_the_shim_is_cut(run: Run) -> None:
    async with run(GUEST, ITEMS) as guest:
        table = guest._state.table(0)
        stream = Stream(1 << 40)
        assert await guest.call("avail", table.add(INPUT_STREAM, stream)) == 0x7FFF_FFFF
        assert await guest.call("permit", table.add(OUTPUT_STREAM, stream)) == 0x7FFF_FFFF


async def test_a_permit_says_whether_the_peer_speaks(run: Run) -> None:
    async with run(GUEST, ITEMS) as guest:
        table = guest._state.table(0)
        received = Stream(0)
        out = table.add(OUTPUT_STREAM, Stream(10, peer=received))
        assert await guest.call("permit", out) == 10
        for level in (3, -1):
            received.level = level
            assert await guest.call("permit", out) == 10 | 1 << 32


async def test_a_failure_becomes_a_new_error_resource(run: Run) -> None:
    async with run(GUEST, ITEMS) as guest:
        table = guest._state.table(0)
        for resource in (INPUT_STREAM, OUTPUT_STREAM):
            stream = Stream(-2)
            stream.failure = ConnectionResetError()
            handle = await guest.call("failure", table.add(resource, stream))
            assert table.get("wasi:io/error.error", handle) is stream.failure


@pytest.mark.parametrize("name", ["attach", "avail", "permit", "flush", "failure", "drop", "check"])
async def test_unknown_handles_trap(run: Run, name: str) -> None:
    async with run(GUEST, ITEMS) as guest:
        guest._state.table(1).add(INPUT_STREAM, Stream(1))  # another realm's
        with pytest.raises(GuestTrap, match="handle"):
            await guest.call(name, 0x4000_0000)


async def test_drops_run_the_function_for_them_or_close(run: Run) -> None:
    dropped: list[object] = []
    functions = {("t:t/t", "[resource-drop]thing"): dropped.append}
    async with run(GUEST, ITEMS, functions) as guest:
        table = guest._state.table(0)
        thing, stream = Stream(), Stream()
        handle, stream_handle = table.add("t:t/t.thing", thing), table.add(INPUT_STREAM, stream)
        await guest.call("drop", handle)
        await guest.call("drop-stream", stream_handle)
        assert dropped == [thing]
        assert (thing.closed, stream.closed) == (0, 1)
        with pytest.raises(GuestTrap):
            await guest.call("drop", stream_handle)
    assert stream.closed == 1


async def test_a_drop_of_a_parent_traps(run: Run) -> None:
    async with run(GUEST, ITEMS) as guest:
        table = guest._state.table(0)
        parent, child = Stream(), Stream()
        child.parent = parent  # type: ignore[attr-defined]
        handle = table.add("t:t/t.thing", parent)
        table.add("t:t/t.thing", child)
        with pytest.raises(GuestTrap, match="resource has children"):
            await guest.call("drop", handle)
    assert (parent.closed, child.closed) == (1, 1)


@pytest.mark.parametrize(
    ("reason", "text"), [(1, "resource has children"), (2, "empty poll list"), (99, "unknown")]
)
async def test_traps_of_the_shim_have_their_text(run: Run, reason: int, text: str) -> None:
    async with run(GUEST, ITEMS) as guest:
        with pytest.raises(GuestTrap, match=text):
            await guest.call("trap", reason, 0x1234)


# ---------------------------------------------------------------- waiting
async def test_a_wait_for_what_is_ready_does_not_suspend(run: Run) -> None:
    async with run(GUEST, ITEMS) as guest:
        table = guest._state.table(0)
        received, other = table.add(INPUT_STREAM, Stream(7)), table.add("t.r", Stream(1))
        with trio.CancelScope() as scope:
            assert await guest.call("wait", INPUT | received, FOREVER) == 7
            assert await guest.call("wait", OTHER | other, FOREVER) == 1
            assert await guest.call("check", INPUT | received) == 7
        assert not scope.cancelled_caught


async def test_a_wait_ends_when_woken_and_ready(run: Run) -> None:
    async with run(GUEST, ITEMS) as guest:
        stream = Stream()
        handle = guest._state.table(0).add(INPUT_STREAM, stream)
        results: list[int] = []

        async def wait() -> None:
            results.append(await guest.call("wait", INPUT | handle, FOREVER))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(3):  # spurious
                assert len(stream.waiters) == 1
                stream.wake()
                await trio.testing.wait_all_tasks_blocked()
            assert results == []
            stream.set(-2)
        assert results == [-2 & 0xFFFF_FFFF]
        assert stream.waiters == []


async def test_a_wait_without_time_only_looks(run: Run) -> None:
    async with run(GUEST, ITEMS) as guest:
        stream = Stream()
        handle = guest._state.table(0).add("t.r", stream)
        assert await guest.call("wait", OTHER | handle, 0) == 0
        assert await guest.call("check", OTHER | handle) == 0
        assert stream.waiters == []


@pytest.mark.parametrize("kind", [0, INPUT, OUTPUT, 4 << 32])
async def test_a_code_with_the_wrong_kind_traps(run: Run, kind: int) -> None:
    async with run(GUEST, ITEMS) as guest:
        handle = guest._state.table(0).add("t.r", Stream(1))
        with pytest.raises(GuestTrap):
            await guest.call("wait", kind | handle, FOREVER)


async def test_a_cancelled_wait_takes_its_waiters_back(run: Run) -> None:
    async with run(GUEST, ITEMS) as guest:
        one, two = Stream(), Stream()
        table = guest._state.table(0)
        await guest.call("watch", OTHER | table.add("t.r", one), INPUT | table.add(INPUT_STREAM, two))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(guest.call, "wait-many", FOREVER)
            await trio.testing.wait_all_tasks_blocked()
            assert (len(one.waiters), len(two.waiters)) == (1, 1)
            nursery.cancel_scope.cancel()
        assert (one.waiters, two.waiters) == ([], [])
        assert (one.closed, two.closed) == (1, 1)


async def test_waiting_for_many_tells_which(run: Run) -> None:
    async with run(GUEST, ITEMS) as guest:
        table = guest._state.table(0)
        streams = [Stream() for _ in range(70)]
        codes = [OTHER | table.add("t.r", stream) for stream in streams]

        async def watch() -> None:
            for index in range(0, 70, 2):
                await guest.call("watch", codes[index], codes[index + 1])

        await watch()
        assert await guest.call("wait-many", 0) == 0
        streams[3].level = streams[61].level = 1
        await watch()
        assert await guest.call("wait-many", FOREVER) == 1 << 3 | 1 << 61
        streams[3].level = streams[61].level = 0
        await watch()
        results: list[int] = []

        async def wait() -> None:
            results.append(await guest.call("wait-many", FOREVER))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            streams[65].set(1)
        assert results == [1 << 62]
        assert all(stream.waiters == [] for stream in streams)
        assert await guest.call("check", codes[65]) == 1
        assert await guest.call("check", codes[64]) == 0


# ---------------------------------------------------------------- time
async def test_hello_tells_of_the_clock_and_the_transport(run: Run) -> None:
    async with run(GUEST, ITEMS, direct_memory=False) as guest:
        assert await guest.call("hello") == 2


async def test_a_virtual_clock_runs_timeouts_in_no_time(
    run: Run, autojump_clock: trio.testing.MockClock
) -> None:
    started = time.monotonic()
    async with run(GUEST, ITEMS, direct_memory=False) as guest:
        assert await guest.call("hello") == 3
        begin = await guest.call("now")
        hour = 3600 * 10**9
        await guest.call("sleep", hour)
        assert await guest.call("now") == begin + hour
        handle = guest._state.table(0).add(INPUT_STREAM, Stream())
        assert await guest.call("wait", INPUT | handle, hour) == 0
        await guest.call("watch", INPUT | handle, 0)
        assert await guest.call("wait-many", hour) == 0
        assert await guest.call("now") == begin + 3 * hour
        await guest.call("sleep", 50_000)
        assert await guest.call("now") == begin + 3 * hour + 50_000
    assert time.monotonic() - started < 600


async def test_a_timeout_and_a_wake_in_the_same_moment(
    run: Run, autojump_clock: trio.testing.MockClock
) -> None:
    async with run(GUEST, ITEMS) as guest:
        stream = Stream()
        handle = guest._state.table(0).add(INPUT_STREAM, stream)
        results: list[int] = []

        async def wait() -> None:
            results.append(await guest.call("wait", INPUT | handle, 10**9))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.sleep(1)
            stream.set(4)
        assert results in ([0], [4])
        assert stream.waiters == []


async def test_the_real_clock_does_not_wake_early(run: Run) -> None:
    async with run(GUEST, ITEMS) as guest:
        for duration in (0, 1, 50_000, 300_000):
            begin = await guest.call("now")
            await guest.call("sleep", duration)
            assert await guest.call("now") >= begin + duration


async def test_sleeping_for_ever_can_be_cancelled(run: Run) -> None:
    async with run(GUEST, ITEMS) as guest, trio.open_nursery() as nursery:
        nursery.start_soon(guest.call, "sleep", FOREVER)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert guest.closed


async def test_what_is_watched_is_bounded(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wasi_sockets.engine.fastpath._MAXIMUM_WATCHED", 4)
    async with run(GUEST, ITEMS) as guest:
        code = OTHER | guest._state.table(0).add("t.r", Stream())

        async def watch() -> Any:
            for _ in range(4):
                await guest.call("watch", code, code)

        with pytest.raises(GuestTrap, match="too many pollables"):
            await watch()


@pytest.fixture
def small_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wasi_sockets.engine.fastpath._CROWD", 64)


async def watch_many(guest: Any, count: int) -> list[Stream]:
    streams = [Stream() for _ in range(count)]
    for stream in streams:
        await guest.call("watch", INPUT | guest._state.table(0).add(INPUT_STREAM, stream), 0)
    return streams


@pytest.mark.parametrize(
    ("ready", "bits"), [(0, 1), (61, 1 << 61), (63, 1 << 62), (64, 1 << 62), (199, 1 << 62)]
)
async def test_a_crowd_is_looked_at_in_parts(run: Run, small_crowd: None, ready: int, bits: int) -> None:
    async with run(GUEST, ITEMS) as guest:
        streams = await watch_many(guest, 200)
        streams[ready].set(1)
        assert await guest.call("wait-many", FOREVER) == bits
        assert not any(stream.waiters for stream in streams)


@pytest.mark.parametrize("ready", [0, 199])
async def test_a_crowd_is_waited_for(run: Run, small_crowd: None, ready: int) -> None:
    async with run(GUEST, ITEMS) as guest, trio.open_nursery() as nursery:
        streams = await watch_many(guest, 200)

        @nursery.start_soon
        async def wait() -> None:
            assert await guest.call("wait-many", FOREVER) == (1 << ready if ready < 62 else 1 << 62)

        await trio.testing.wait_all_tasks_blocked()
        assert all(stream.waiters for stream in streams)
        streams[ready].set(1)
        await trio.testing.wait_all_tasks_blocked()
        assert not any(stream.waiters for stream in streams)


async def test_what_happens_while_a_crowd_is_looked_at_is_not_missed(run: Run, small_crowd: None) -> None:
    async with run(GUEST, ITEMS) as guest, trio.open_nursery() as nursery:
        streams = await watch_many(guest, 200)
        looked = iter(range(100))

        def then_set() -> int:
            if next(looked) == 1:  # in the second round, after it was looked at
                nursery.start_soon(later)
            return 0

        async def later() -> None:
            streams[0].set(1)

        code = INPUT | guest._state.table(0).add(INPUT_STREAM, last := Stream())
        last.available = then_set  # type: ignore[method-assign]
        await guest.call("watch", code, 0)
        assert await guest.call("wait-many", FOREVER) == 1


async def test_a_crowd_can_time_out_or_be_left(run: Run, small_crowd: None, autojump_clock: Any) -> None:
    async with run(GUEST, ITEMS) as guest:
        for timeout in (0, 10**9):
            streams = await watch_many(guest, 200)
            assert await guest.call("wait-many", timeout) == 0
            assert not any(stream.waiters for stream in streams)
        streams = await watch_many(guest, 200)
        with trio.move_on_after(1):
            await guest.call("wait-many", FOREVER)
        assert not any(stream.waiters for stream in streams)
