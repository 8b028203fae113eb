"""Guests that go on inside the operation that wakes them: the rules of `engine/stepping.py`."""

from __future__ import annotations

import contextvars
from collections.abc import Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked
from wasmtime import Engine

from tests.engine.conftest import Run, run_on
from tests.engine.wat_guest import component as guest_text
from tests.engine.wat_guest import item
from wasi_sockets.engine import config
from wasi_sockets.engine.handles import INPUT_STREAM
from wasi_sockets.errors import GuestBusyError, GuestClosedError, GuestTrap

FOREVER = (1 << 64) - 1
INPUT = 1 << 32

# run(first, second, times): waits for one stream and takes a byte from the other function, again and again; ends
# with how often, or before with what `take` answered if that is not 1.
GUEST = guest_text(
    f"""
    (func (export "run") (param $first i64) (param $second i64) (param $times i64) (result i64) (local $done i64)
      (loop $again
        (drop (call $wait2 (i64.const 0) (local.get $first) (i64.const {FOREVER - (1 << 64)})))
        (drop (call $call1 (i64.const 1) (local.get $first)))
        (drop (call $wait2 (i64.const 0) (local.get $second) (i64.const {FOREVER - (1 << 64)})))
        (drop (call $call1 (i64.const 1) (local.get $second)))
        (local.set $done (i64.add (local.get $done) (i64.const 1)))
        (br_if $again (i64.lt_u (local.get $done) (local.get $times))))
      (local.get $done))
    """,
    {"run": '(param "a" u64) (param "b" u64) (param "c" u64) (result u64)'},
)
ITEMS = [item(0, "wait", suspends=True), item(1, "drop", resource=None)]


@pytest.fixture(scope="module")
def run() -> Run:
    """On an engine that hardly ticks: a tick ends a step early."""
    return run_on(Engine(config(tick=60)))


class Stream:
    """An input stream with waiters, whose level a test sets."""

    def __init__(self) -> None:
        self.level = 0
        self.peer = None
        self.waiters: list[Callable[[], None]] = []
        self.closed = False

    def available(self) -> int:
        return self.level

    def ready(self) -> bool:
        return self.level != 0

    def add_waiter(self, wake: Callable[[], None]) -> None:
        if wake not in self.waiters:
            self.waiters.append(wake)

    def remove_waiter(self, wake: Callable[[], None]) -> None:
        if wake in self.waiters:
            self.waiters.remove(wake)

    def put(self) -> None:
        self.level += 1
        waiters, self.waiters = self.waiters, []
        for wake in waiters:
            wake()

    def close(self) -> None:
        self.closed = True


class Setup:
    """A guest that waits for two streams in turn; `taken` is told of each byte that it takes."""

    def __init__(self, guest: object, taken: Callable[[Stream], None]) -> None:
        state = guest._state  # type: ignore[attr-defined]
        self.guest = guest
        self.one, self.two = Stream(), Stream()
        table = state.table(0)
        self.handles = [table.add(INPUT_STREAM, each) for each in (self.one, self.two)]
        by_code = {
            INPUT | handle: each for handle, each in zip(self.handles, (self.one, self.two), strict=True)
        }

        def take(_pages: int, code: int) -> int:
            stream = by_code[code]
            stream.level -= 1
            taken(stream)
            return 0

        state._dispatch[1] = take

    async def run(self, times: int) -> int:
        result: int = await self.guest.call("run", *(INPUT | handle for handle in self.handles), times)  # type: ignore[attr-defined]
        return result


async def test_a_guest_goes_on_inside_the_operation_that_wakes_it(run: Run) -> None:
    taken: list[Stream] = []
    async with run(GUEST, ITEMS) as guest, trio.open_nursery() as nursery:
        setup = Setup(guest, taken.append)
        nursery.start_soon(setup.run, 2)
        await wait_all_tasks_blocked()
        setup.one.put()
        assert taken == [setup.one]
        setup.two.put()
        setup.one.put()
        assert taken == [setup.one, setup.two, setup.one]
        setup.two.put()


async def test_its_steps_are_bounded_for_each_turn_of_its_task(run: Run) -> None:
    taken: list[Stream] = []
    async with run(GUEST, ITEMS) as guest, trio.open_nursery() as nursery:
        setup = Setup(guest, taken.append)
        nursery.start_soon(setup.run, 50)
        await wait_all_tasks_blocked()
        for _ in range(50):
            setup.one.put()
            setup.two.put()
        assert len(taken) == 16
        await wait_all_tasks_blocked()
        assert len(taken) == 100


async def test_guests_do_not_nest(run: Run) -> None:
    order: list[str] = []
    async with run(GUEST, ITEMS) as outer, run(GUEST, ITEMS) as inner, trio.open_nursery() as nursery:
        second = Setup(inner, lambda stream: order.append("inner"))

        def wake_the_other(stream: Stream) -> None:
            order.append("outer begins")
            second.one.put()
            order.append("outer ends")

        first = Setup(outer, wake_the_other)
        nursery.start_soon(first.run, 1)
        nursery.start_soon(second.run, 1)
        await wait_all_tasks_blocked()
        first.one.put()
        assert order == ["outer begins", "outer ends"]
        await wait_all_tasks_blocked()
        assert order == ["outer begins", "outer ends", "inner"]
        nursery.cancel_scope.cancel()


async def test_what_goes_wrong_is_raised_to_the_caller_of_the_guest_not_to_the_waker(run: Run) -> None:
    problem = RuntimeError("in the guest's call")

    def fail(stream: Stream) -> None:
        raise problem

    raised: list[BaseException] = []
    async with run(GUEST, ITEMS) as guest:
        setup = Setup(guest, fail)

        async def call() -> None:
            try:
                await setup.run(1)
            except RuntimeError as error:
                raised.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await wait_all_tasks_blocked()
            setup.one.put()
        assert raised == [problem]
        assert setup.one.closed
        with pytest.raises(GuestClosedError):
            await setup.run(1)


async def test_a_probe_that_fails_does_not_reach_the_waker_either(run: Run) -> None:
    async with run(GUEST, ITEMS) as guest:
        setup = Setup(guest, lambda stream: None)
        raised: list[BaseException] = []

        async def call() -> None:
            try:
                await setup.run(1)
            except GuestTrap as error:
                raised.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await wait_all_tasks_blocked()
            wake = setup.one.waiters[0]
            setup.one.available = broken  # type: ignore[method-assign]
            wake()
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()


def broken() -> int:
    raise GuestTrap("a probe that fails")


async def test_it_can_be_cancelled_from_inside_its_own_step(run: Run) -> None:
    async with run(GUEST, ITEMS) as guest:
        scope = trio.CancelScope()
        setup = Setup(guest, lambda stream: scope.cancel())

        async def call() -> None:
            with scope:
                await setup.run(1000)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await wait_all_tasks_blocked()
            setup.one.put()
            await wait_all_tasks_blocked()
        assert scope.cancelled_caught
        assert setup.one.closed
        assert setup.two.waiters == []


async def test_it_sees_the_context_of_its_own_task(run: Run) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    seen: list[str] = []
    async with run(GUEST, ITEMS) as guest:
        setup = Setup(guest, lambda stream: seen.append(variable.get()))

        async def call() -> None:
            variable.set("the guest's")
            await setup.run(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await wait_all_tasks_blocked()
            variable.set("the waker's")
            setup.one.put()
            setup.two.put()
        assert seen == ["the guest's"] * 2


async def test_it_stays_busy_while_it_is_parked_between_steps(run: Run) -> None:
    async with run(GUEST, ITEMS) as guest, trio.open_nursery() as nursery:
        setup = Setup(guest, lambda stream: None)
        nursery.start_soon(setup.run, 2)
        await wait_all_tasks_blocked()
        setup.one.put()
        with pytest.raises(GuestBusyError):
            await setup.run(1)
        nursery.cancel_scope.cancel()


async def test_closing_it_between_steps_ends_its_call(run: Run) -> None:
    async with run(GUEST, ITEMS) as guest:
        setup = Setup(guest, lambda stream: None)
        ended = trio.Event()

        async def call() -> None:
            with pytest.raises(GuestClosedError):
                await setup.run(2)
            ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await wait_all_tasks_blocked()
            setup.one.put()
            await guest.aclose()
            await ended.wait()
        assert setup.two.waiters == []


# run(first, second, timeout): waits for the first stream alone, takes its byte, and then waits for both, or with a
# timeout for the second; ends with what that said.
THEN_ANOTHER_WAIT = guest_text(
    """
    (func (export "run") (param $first i64) (param $second i64) (param $timeout i64) (result i64)
      (drop (call $wait2 (i64.const 0) (local.get $first) (i64.const -1)))
      (drop (call $call1 (i64.const 1) (local.get $first)))
      (if (i64.ne (local.get $timeout) (i64.const 0))
        (then (return (call $wait2 (i64.const 0) (local.get $second) (local.get $timeout)))))
      (drop (call $call7 (i64.const 2) (local.get $first) (local.get $second)
        (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0)))
      (call $wait1 (i64.const 3) (i64.const -1)))
    """,
    {"run": '(param "a" u64) (param "b" u64) (param "c" u64) (result u64)'},
)


@pytest.mark.parametrize(("nanoseconds", "answer"), [(0, 0b10), (10**15, 1)])
async def test_what_comes_right_after_a_step_is_not_missed(run: Run, nanoseconds: int, answer: int) -> None:
    """As when a client connects to a server and sends at once: the server has accepted inside the connect."""
    items = [*ITEMS, item(2, "watch"), item(3, "wait-many", suspends=True)]
    answers: list[int] = []
    async with run(THEN_ANOTHER_WAIT, items) as guest, trio.open_nursery() as nursery:
        setup = Setup(guest, lambda _stream: None)

        async def call() -> None:
            answers.append(await setup.run(nanoseconds))

        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        setup.one.put()
        setup.two.put()
        await wait_all_tasks_blocked()
        assert answers == [answer]
        nursery.cancel_scope.cancel()
