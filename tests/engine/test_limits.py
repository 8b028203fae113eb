"""Guests at the limits of what the engine gives: memory, tables, time, and mappings of the process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
import wasmtime
from wasmtime import Store

from tests.engine.conftest import Run
from tests.engine.wat_guest import component as guest_text
from tests.engine.wat_guest import item
from wasi_sockets.component.types import FunctionType
from wasi_sockets.engine import GuestLimits
from wasi_sockets.engine.mappings import MappingBudget
from wasi_sockets.engine.shares import CpuShare
from wasi_sockets.errors import GuestClosedError, GuestLimitError

PAGE = 65_536
MEBIBYTE = 1 << 20

GUEST = guest_text(
    """(func (export "grow") (param $pages i32) (result i32) (memory.grow (local.get $pages)))
       (func (export "hog") (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable)
       (func (export "trap") unreachable)
       (func (export "spin") (loop $l (br $l)))
       (func (export "wait") (result i64) (call $wait0 (i64.const 0)))
       (func (export "nothing"))
       (table $table 4 funcref)
       (func (export "widen") (param $elements i32) (result i32)
         (table.grow $table (ref.null func) (local.get $elements)))""",
    {
        "grow": '(param "pages" u32) (result u32)',
        "hog": "",
        "trap": "",
        "spin": "",
        "wait": "(result u64)",
        "nothing": "",
        "widen": '(param "elements" u32) (result u32)',
    },
)
ITEMS = [item(0, "wait", interface="t", function_type=FunctionType((), "u64"), suspends=True)]
REFUSED = 0xFFFF_FFFF
both_ways = pytest.mark.parametrize("thread", [False, True], ids=["on the loop", "in a thread"])
only_where_mappings_are_listed = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="/proc/self/maps is Linux'"
)


async def for_ever() -> int:
    await trio.sleep_forever()
    return 0


FUNCTIONS: dict[tuple[str, str], Any] = {("t", "wait"): for_ever}


# ---------------------------------------------------------------- memory, tables, instances


async def test_a_memory_grows_to_its_limit_and_the_guest_goes_on(run: Run) -> None:
    async with run(GUEST, ITEMS, limits=GuestLimits(memory=4 * PAGE)) as guest:
        assert await guest.call("grow", 2) == 2
        assert await guest.call("grow", 1) == REFUSED
        assert await guest.call("grow", 0) == 4


@only_where_mappings_are_listed
async def test_a_guest_that_traps_without_memory_left_is_told_so(run: Run) -> None:
    async with run(GUEST, ITEMS, limits=GuestLimits(memory=16 * MEBIBYTE)) as guest:
        with pytest.raises(GuestLimitError, match=f"{16 * MEBIBYTE} of the {16 * MEBIBYTE} bytes") as ended:
            await guest.call("hog")
        assert ended.value.limit == "memory"
        assert isinstance(ended.value.__cause__, wasmtime.WasmtimeError)
        assert "unreachable" in str(ended.value.__cause__)


async def test_a_guest_that_traps_with_memory_left_just_traps(run: Run) -> None:
    async with run(GUEST, ITEMS, limits=GuestLimits(memory=16 * MEBIBYTE)) as guest:
        with pytest.raises(wasmtime.WasmtimeError, match="unreachable"):
            await guest.call("trap")


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        (GuestLimits(memory=PAGE), "memory"),
        (GuestLimits(table_elements=3), "table_elements"),
        (GuestLimits(memories=0), "memories"),
        (GuestLimits(tables=0), "tables"),
        (GuestLimits(instances=1), "instances"),
    ],
)
async def test_a_guest_that_needs_more_cannot_be_instantiated(
    run: Run, limits: GuestLimits, name: str
) -> None:
    with pytest.raises(GuestLimitError, match=rf"needs more than limits\.{name}=") as refused:
        async with run(GUEST, ITEMS, limits=limits):
            raise RuntimeError("it was instantiated")
    assert refused.value.limit == name


async def test_a_table_grows_to_its_limit(run: Run) -> None:
    async with run(GUEST, ITEMS, limits=GuestLimits(table_elements=10)) as guest:
        assert await guest.call("widen", 6) == 4
        assert await guest.call("widen", 1) == REFUSED


async def test_without_limits_those_of_the_store_stay(run: Run, engine: wasmtime.Engine) -> None:
    store = Store(engine)
    store.set_limits(memory_size=3 * PAGE)
    async with run(GUEST, ITEMS, store=store, limits=GuestLimits(lifetime=60)) as guest:
        assert await guest.call("grow", 1) == 2
        assert await guest.call("grow", 1) == REFUSED


# ---------------------------------------------------------------- lifetime


async def test_a_guest_that_waits_ends_with_its_lifetime(
    run: Run, autojump_clock: trio.testing.MockClock
) -> None:
    ended: list[str] = []
    async with run(
        GUEST, ITEMS, FUNCTIONS, limits=GuestLimits(lifetime=5), on_abort=lambda: ended.append("aborted")
    ) as guest:
        with pytest.raises(
            GuestLimitError, match=r"after the 5 seconds that limits\.lifetime allows"
        ) as told:
            await guest.call("wait")
        assert told.value.limit == "lifetime"
        assert trio.current_time() == 5
        assert guest.closed
        assert ended == ["aborted"]
        with pytest.raises(GuestLimitError, match="lifetime"):
            await guest.call("nothing")


async def test_a_guest_that_nobody_calls_ends_as_well(
    run: Run, autojump_clock: trio.testing.MockClock
) -> None:
    ended: list[str] = []
    async with run(
        GUEST, ITEMS, limits=GuestLimits(lifetime=5), on_abort=lambda: ended.append("aborted")
    ) as guest:
        await trio.sleep(4.9)
        await guest.call("nothing")
        await trio.sleep(1)
        assert guest.closed
        assert ended == ["aborted"]
        with pytest.raises(GuestLimitError, match="lifetime"):
            await guest.call("nothing")


@both_ways
async def test_a_guest_that_only_computes_ends_as_well(
    run: Run, mock_clock: trio.testing.MockClock, thread: bool
) -> None:
    async def jump() -> None:
        mock_clock.jump(6)

    async with (
        run(GUEST, ITEMS, limits=GuestLimits(lifetime=5), thread=thread) as guest,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(jump)
        with pytest.raises(GuestLimitError, match="lifetime"):
            await guest.call("spin")


async def test_what_goes_wrong_at_the_end_of_a_lifetime_is_raised_where_it_can_be(
    run: Run, autojump_clock: trio.testing.MockClock
) -> None:
    def fail() -> None:
        raise ValueError("while aborting")

    with pytest.raises(BaseExceptionGroup) as raised:
        async with run(GUEST, ITEMS, limits=GuestLimits(lifetime=5), on_abort=fail):
            await trio.sleep(10)
    assert [str(each) for each in raised.value.exceptions] == ["while aborting"]


async def test_a_guest_that_is_closed_has_no_lifetime_any_more(
    run: Run, autojump_clock: trio.testing.MockClock
) -> None:
    async with run(GUEST, ITEMS, limits=GuestLimits(lifetime=5)) as guest:
        await guest.aclose()
        await trio.sleep(10)
        with pytest.raises(GuestClosedError):
            await guest.call("nothing")


# ---------------------------------------------------------------- a share of the processor


class Meter:
    """Processor time that passes only when told to."""

    def __init__(self) -> None:
        self.nanoseconds = 0

    def used(self) -> int:
        return self.nanoseconds

    def spend(self, seconds: float) -> Callable[[], bool]:
        def poll() -> bool:
            self.nanoseconds += round(seconds * 1e9)
            return False

        return poll


async def test_a_share_is_kept_in_the_long_run(autojump_clock: trio.testing.MockClock) -> None:
    meter = Meter()
    share = CpuShare(0.25, meter.used)
    for _ in range(1000):
        share.poll(meter.spend(0.002))
        await share.settle()
    # 2 seconds of work, of which a tenth of a second's share was saved up.
    assert trio.current_time() == pytest.approx(2 / 0.25 - 0.1)


async def test_who_uses_less_than_its_share_never_waits(autojump_clock: trio.testing.MockClock) -> None:
    meter = Meter()
    share = CpuShare(0.5, meter.used)
    for turn in range(1000):
        share.poll(meter.spend(0.002))
        await share.settle()
        assert trio.current_time() == pytest.approx(turn * 0.005)
        await trio.sleep(0.005)


async def test_nobody_saves_up_more_than_a_little(autojump_clock: trio.testing.MockClock) -> None:
    meter = Meter()
    share = CpuShare(0.5, meter.used)
    await trio.sleep(1000)
    await share.settle()
    share.poll(meter.spend(1))
    before = trio.current_time()
    await share.settle()
    assert trio.current_time() - before == pytest.approx(1 / 0.5 - 0.1)


async def test_what_a_failed_poll_used_counts(autojump_clock: trio.testing.MockClock) -> None:
    meter = Meter()
    share = CpuShare(0.5, meter.used)

    def fail() -> bool:
        meter.nanoseconds += 10**9
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        share.poll(fail)
    assert share.overdrawn


@both_ways
async def test_a_guest_that_only_computes_is_made_to_wait(
    run: Run, monkeypatch: pytest.MonkeyPatch, thread: bool
) -> None:
    waits: list[bool] = []
    enough = trio.Event()

    async def settle(share: CpuShare) -> None:
        waits.append(share.overdrawn)
        if waits.count(True) == 3:
            enough.set()
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(CpuShare, "settle", settle)
    async with (
        run(GUEST, ITEMS, limits=GuestLimits(cpu=0.01), thread=thread) as guest,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(guest.call, "spin")
        with trio.fail_after(60):
            await enough.wait()
        nursery.cancel_scope.cancel()


async def test_between_its_turns_a_guest_sleeps(run: Run, autojump_clock: trio.testing.MockClock) -> None:
    """A mock clock jumps when all tasks are blocked, which a guest that computes never is of itself."""
    async with run(GUEST, ITEMS, limits=GuestLimits(cpu=0.001)) as guest:
        with trio.move_on_after(1000) as scope:
            await guest.call("spin")
        assert scope.cancelled_caught


@both_ways
async def test_a_guest_with_a_share_waits_for_what_its_host_answers_later(run: Run, thread: bool) -> None:
    async def answer() -> int:
        await trio.lowlevel.checkpoint()
        return 42

    async with run(GUEST, ITEMS, {("t", "wait"): answer}, limits=GuestLimits(cpu=1), thread=thread) as guest:
        for _ in range(3):
            assert await guest.call("wait") == 42
        with pytest.raises(wasmtime.WasmtimeError, match="unreachable"):
            await guest.call("trap")


async def test_a_share_needs_an_engine_that_preempts(run_foreign: Run) -> None:
    with pytest.raises(ValueError, match=r"make it from wasi_sockets.config\(\)"):
        async with run_foreign(GUEST, ITEMS, limits=GuestLimits(cpu=0.5)):
            raise RuntimeError("it was instantiated")


# ---------------------------------------------------------------- mappings of the process


class Process:
    """Counts how often its mappings are counted."""

    def __init__(self, per_guest: int) -> None:
        self.per_guest = per_guest
        self.used = 400
        self.looks = 0
        self.refusal: GuestLimitError | None = None

    def count(self) -> int:
        self.looks += 1
        return self.used

    def fill(self, budget: MappingBudget) -> int:
        """How many guests there can be."""
        for number in range(100_000):
            try:
                budget.admit()
            except GuestLimitError as error:
                self.refusal = error
                return number
            self.used += self.per_guest
        raise AssertionError("no end")


@pytest.mark.parametrize("per_guest", [1, 6, 9, 16])
def test_guests_are_refused_before_mappings_run_out(per_guest: int) -> None:
    process = Process(per_guest)
    budget = MappingBudget(process.count, lambda: 65_530)
    guests = process.fill(budget)
    assert 61_000 < process.used < 65_530
    assert process.refusal is not None
    assert process.refusal.limit == "vm.max_map_count"
    assert f"{process.used} of 65530 memory mappings" in str(process.refusal)
    assert process.looks < guests / 50
    process.used -= 10 * per_guest + 16
    budget.admit()


def test_a_process_with_few_guests_at_a_time_hardly_ever_counts() -> None:
    process = Process(0)
    budget = MappingBudget(process.count, lambda: 65_530)
    for _ in range(10_000):
        budget.admit()
    assert process.looks <= 3


def test_where_nothing_can_be_counted_nothing_is_refused() -> None:
    def unknown() -> int:
        raise OSError("no /proc")

    budget = MappingBudget(unknown, lambda: 65_530)
    for _ in range(100):
        budget.admit()


CROWDED = """
import mmap, sys
import trio, wasmtime, wasmtime.component
import wasi_sockets

engine = wasmtime.Engine(wasi_sockets.config())
guest = wasi_sockets.load(engine, b"\\0asm\\x0d\\0\\1\\0", cache=False)
linker = wasmtime.component.Linker(engine)
linker.add_wasip2()
wasi_sockets.add_to_linker(linker)

async def instantiate():
    network = wasi_sockets.Network()
    async with wasi_sockets.instantiate(linker, wasmtime.Store(engine), guest, network=network):
        pass

maximum = int(open("/proc/sys/vm/max_map_count").read())
if maximum > 200_000:
    sys.exit(77)
kept = []
used = sum(1 for _ in open("/proc/self/maps"))
while used + len(kept) < maximum - maximum // 20:
    kept.append(mmap.mmap(-1, 4096, prot=(mmap.PROT_READ, mmap.PROT_READ | mmap.PROT_WRITE)[len(kept) % 2]))
try:
    trio.run(instantiate)
except wasi_sockets.GuestLimitError as error:
    print(error.limit)
kept.clear()
trio.run(instantiate)
print("goes on")
"""


@only_where_mappings_are_listed
def test_a_crowded_process_refuses_guests_and_goes_on() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CROWDED], capture_output=True, text=True, timeout=120, check=False
    )
    if ended.returncode == 77:
        pytest.skip("this machine allows more mappings than a test may make")
    assert (ended.stdout, ended.stderr, ended.returncode) == ("vm.max_map_count\ngoes on\n", "", 0)
