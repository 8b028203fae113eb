from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest
import trio
import trio.testing

from wasi_sockets.engine import clock as clock_module
from wasi_sockets.engine import timerfd
from wasi_sockets.engine.clock import Alarm, GuestClock, clock_is_virtual, shared_alarm


@pytest.fixture
def alarm() -> Alarm:
    """One whose timer is never set: what it does at a time is asked for."""
    read_end, write_end = os.pipe()
    os.close(write_end)
    made = Alarm(read_end)
    os.close(read_end)
    return made


def record(log: list[str], name: str) -> Callable[[], None]:
    return lambda: log.append(name)


def test_deadlines_come_in_order_and_once(alarm: Alarm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timerfd, "timerfd_settime", None)
    log: list[str] = []
    for deadline, name in ((30, "c"), (10, "a"), (20, "b")):
        alarm.add(deadline, record(log, name))
    alarm.fire(9)
    assert log == []
    alarm.fire(20)
    assert log == ["a", "b"]
    alarm.fire(100)
    alarm.fire(100)
    assert log == ["a", "b", "c"]
    assert len(alarm) == 0


def test_cancelled_deadlines_do_not_come_and_take_no_room(
    alarm: Alarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timerfd, "timerfd_settime", None)
    log: list[str] = []
    kept = alarm.add(50, record(log, "kept"))
    for number in range(10_000):
        alarm.cancel(alarm.add(100 + number, record(log, "cancelled")))
        assert len(alarm._heap) < 200
    assert len(alarm) == 1
    alarm.fire(1_000_000)
    assert log == ["kept"]
    alarm.cancel(kept)
    assert len(alarm) == 0


def test_the_timer_is_set_for_the_earliest(alarm: Alarm, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: list[int] = []
    monkeypatch.setattr(timerfd, "timerfd_settime", lambda *_: settings.append(alarm._armed))
    alarm.add(100, lambda: None)
    alarm.add(200, lambda: None)
    alarm.add(50, lambda: None)
    assert settings == [100, 50]
    alarm.fire(60)
    assert settings == [100, 50, 100]


async def test_a_run_has_one_alarm_or_none(autojump_clock: trio.testing.MockClock) -> None:
    assert clock_is_virtual()
    assert shared_alarm() is None


async def test_the_real_clock_has_an_alarm_where_the_kernel_has_timers() -> None:
    assert not clock_is_virtual()
    assert shared_alarm() is shared_alarm()
    assert (shared_alarm() is not None) == (timerfd.timerfd_create is not None)


async def test_without_a_timerfd_trio_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_module, "shared_alarm", lambda: None)
    clock = GuestClock()
    deadline = clock.now() + 1000
    await clock.park(deadline)
    assert clock.now() >= deadline


async def test_a_wake_before_the_park_is_not_lost() -> None:
    clock = GuestClock()
    clock.wake()
    await clock.park(None)
    clock.wake()
    clock.clear()
    with trio.move_on_after(0) as scope:
        await clock.park(None)
    assert scope.cancelled_caught


async def test_a_cancelled_park_can_be_woken_without_harm() -> None:
    clock = GuestClock()
    with trio.move_on_after(0):
        await clock.park(None)
    clock.wake()
    await clock.park(None)


def test_a_long_wait_is_ended_early_and_what_is_left_is_a_short_one() -> None:
    woken: list[str] = []
    alarm = Alarm(-1)  # no timer behind it: `fire` is called by hand
    now = time.monotonic_ns()
    deadline = now + 10**12
    alarm.add(deadline, lambda: woken.append("long"))
    assert now < alarm._armed < deadline
    alarm.fire(alarm._armed)
    assert woken == []
    assert len(alarm) == 1
    alarm.fire(deadline)
    assert woken == ["long"]
    soon = time.monotonic_ns() + 100_000
    alarm.add(soon, lambda: woken.append("short"))
    assert alarm._armed == soon
