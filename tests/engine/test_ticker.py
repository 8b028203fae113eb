from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any, cast

import pytest
from wasmtime import Config, Engine

from wasi_sockets.engine import ticker as ticker_module
from wasi_sockets.engine import timerfd
from wasi_sockets.engine.bindings_callbacks import CallbackGuest
from wasi_sockets.engine.ticker import SleepingTimer, Ticker, Timer, TimerFd, make_timer

_PATIENCE = 30.0
_FAR = 1 << 61


def kernel_timer() -> Timer:
    timer = make_timer()
    if not isinstance(timer, TimerFd):
        pytest.skip("this system has no timerfd")
    return timer


@pytest.fixture(params=[kernel_timer, SleepingTimer])
def timer(request: pytest.FixtureRequest) -> Timer:
    make: Callable[[], Timer] = request.param
    return make()


class Recorded:
    """A timer that goes off when the test says so."""

    def __init__(self) -> None:
        self.deadlines: list[int] = []
        self._off = threading.Semaphore(0)
        self._waits = threading.Semaphore(0)

    def set(self, deadline: int) -> None:
        self.deadlines.append(deadline)

    def wait(self) -> None:
        self._waits.release()
        assert self._off.acquire(timeout=_PATIENCE)

    def go_off(self) -> None:
        """Returns when the thread has done what it does then, and waits again."""
        assert self._waits.acquire(timeout=_PATIENCE)
        self._off.release()
        assert self._waits.acquire(timeout=_PATIENCE)
        self._waits.release()

    def go_off_for_the_last_time(self) -> None:
        assert self._waits.acquire(timeout=_PATIENCE)
        self._off.release()


class CountingEngine:
    def __init__(self) -> None:
        self.epoch = 0

    def increment_epoch(self) -> None:
        self.epoch += 1


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    timer = Recorded()
    monkeypatch.setattr(ticker_module, "make_timer", lambda: timer)
    return timer


def test_a_timer_goes_off_at_its_deadline_and_not_before(timer: Timer) -> None:
    deadline = time.monotonic_ns() + 1_000_000
    timer.set(deadline)
    timer.wait()
    assert time.monotonic_ns() >= deadline
    timer.set(1)
    timer.wait()


def test_a_timer_that_is_put_off_goes_off_later(timer: Timer) -> None:
    timer.set(time.monotonic_ns() + 500_000)
    deadline = time.monotonic_ns() + 3_000_000
    timer.set(deadline)
    timer.wait()
    assert time.monotonic_ns() >= deadline


@pytest.mark.parametrize("first", [None, _FAR], ids=["unset", "far"])
def test_a_timer_that_somebody_sleeps_in_can_be_set_earlier(timer: Timer, first: int | None) -> None:
    if first is not None:
        timer.set(first)
    thread = threading.Thread(target=timer.wait)
    thread.start()
    timer.set(time.monotonic_ns() + 1000)
    thread.join(_PATIENCE)
    assert not thread.is_alive()


def test_its_descriptor_goes_with_the_timer() -> None:
    # Of a pipe, whose other end tells: other threads open and close descriptors too, so counting them would not.
    reading, writing = os.pipe()
    try:
        timer = TimerFd(writing)
        del timer
        os.set_blocking(reading, False)
        assert os.read(reading, 1) == b""
    finally:
        os.close(reading)


def test_a_timer_may_go_when_the_interpreter_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    try:
        timer = TimerFd(writing)
        monkeypatch.setattr(ticker_module, "os", None)
        del timer  # what it raised would be a failure of the test
        os.set_blocking(reading, False)
        assert os.read(reading, 1) == b""
    finally:
        os.close(reading)


def test_without_timerfd_there_is_another_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timerfd, "timerfd_create", None)
    assert isinstance(make_timer(), SleepingTimer)
    monkeypatch.setattr(timerfd, "timerfd_create", lambda *_: -1)  # no descriptor is left
    assert isinstance(make_timer(), SleepingTimer)


def test_it_ticks_while_a_guest_runs_and_sleeps_when_none_does(recorded: Recorded) -> None:
    running: dict[int, CallbackGuest] = {}
    engine = CountingEngine()
    ticker = Ticker(0.5, running, linger=0)
    ticker.acquire(cast(Any, engine))
    assert ticker.due == 0
    running[1] = cast(Any, None)
    ticker.arm()
    assert ticker.due == recorded.deadlines[-1]
    recorded.go_off()
    assert engine.epoch == 1
    assert ticker.due == recorded.deadlines[-1]
    assert len(recorded.deadlines) == 2
    running.clear()
    recorded.go_off()
    assert engine.epoch == 1
    assert ticker.due == 0
    assert len(recorded.deadlines) == 2
    ticker.release()
    assert ticker.due == 0  # who comes now does not take the thread's last deadline for a tick
    assert len(recorded.deadlines) == 3
    thread = ticker.thread
    assert thread is not None
    recorded.go_off_for_the_last_time()
    thread.join(_PATIENCE)
    assert ticker.thread is None


def test_it_is_put_off_when_nobody_runs_and_it_is_time(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000_000_000
    monkeypatch.setattr(time, "monotonic_ns", lambda: now)
    running: dict[int, CallbackGuest] = {}
    ticker = Ticker(0.004, running, linger=0)
    ticker.acquire(cast(Any, CountingEngine()))
    ticker.arm()
    now += 1_000_000
    ticker.put_off()
    assert recorded.deadlines == [1_004_000_000]  # enough is left
    now += 1_000_000
    running[1] = cast(Any, None)
    ticker.put_off()
    assert recorded.deadlines == [1_004_000_000]  # what runs in a thread of its own is to be preempted
    running.clear()
    ticker.put_off()
    assert recorded.deadlines == [1_004_000_000, 1_006_000_000]
    assert ticker.due == 1_006_000_000
    ticker.release()
    recorded.go_off_for_the_last_time()


def test_it_ends_with_its_last_guest() -> None:
    engine = Engine(Config())
    ticker = Ticker(0.0001, {}, linger=0.0001)
    ticker.acquire(engine)
    ticker.acquire(engine)
    thread = ticker.thread
    assert thread is not None
    ticker.release()
    assert thread.is_alive()
    ticker.release()
    thread.join(_PATIENCE)
    assert not thread.is_alive()
    ticker.acquire(engine)
    assert ticker.thread is not thread
    ticker.release()


def test_a_tick_that_was_due_when_the_last_guest_went_does_not_end_it(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000_000_000
    monkeypatch.setattr(time, "monotonic_ns", lambda: now)
    ticker = Ticker(0.002, {}, linger=1)
    ticker.acquire(cast(Any, CountingEngine()))
    ticker.arm()
    ticker.release()
    recorded.go_off()
    thread = ticker.thread
    assert thread is not None
    assert recorded.deadlines == [1_002_000_000, 2_000_000_000, 2_000_000_000]
    now = recorded.deadlines[-1]
    recorded.go_off_for_the_last_time()
    thread.join(_PATIENCE)
    assert ticker.thread is None


def test_the_last_guest_may_go_while_it_ticks(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000_000
    monkeypatch.setattr(time, "monotonic_ns", lambda: now)
    running: dict[int, CallbackGuest] = {}
    ticker = Ticker(0.002, running, linger=1)

    class LastEngine:
        def increment_epoch(self) -> None:
            running.clear()
            ticker.release()

    ticker.acquire(cast(Any, LastEngine()))
    running[1] = cast(Any, None)
    ticker.arm()
    recorded.go_off()
    recorded.go_off()
    assert recorded.deadlines[-1] == 2_000_000_000
    now = recorded.deadlines[-1]
    thread = ticker.thread
    assert thread is not None
    recorded.go_off_for_the_last_time()
    thread.join(_PATIENCE)
    assert ticker.thread is None


def test_a_tick_may_be_longer_than_clocks_count(recorded: Recorded) -> None:
    ticker = Ticker(float("inf"), {}, linger=0)
    ticker.acquire(cast(Any, CountingEngine()))
    ticker.arm()
    assert ticker.due < 1 << 63
    ticker.release()
    recorded.go_off_for_the_last_time()
