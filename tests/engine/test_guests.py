"""The life of a guest: exceptions, cancellation, preemption, and what ends it."""

from __future__ import annotations

import gc
import signal
import weakref
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing
import wasmtime
from wasmtime import Config, Engine, ExitTrap, Store, WasmtimeError, component

from tests.engine.conftest import Run, compiled
from tests.engine.wat_guest import component as guest_text
from tests.engine.wat_guest import item
from wasi_sockets.component.types import FunctionType
from wasi_sockets.engine import add_to_linker, config, engine_settings, instantiate
from wasi_sockets.engine.engines import engine_state
from wasi_sockets.errors import GuestBusyError, GuestClosedError

GUEST = guest_text(
    """(func (export "sync") (result i64) (call $call0 (i64.const 0)))
       (func (export "async") (result i64) (call $wait0 (i64.const 1)))
       (func (export "spin") (loop $l (br $l)))
       (func (export "trap") unreachable)
       (func (export "nothing"))""",
    {
        "sync": "(result u64)",
        "async": "(result u64)",
        "spin": "",
        "trap": "",
        "nothing": "",
    },
)
NUMBER = FunctionType((), "u64")
ITEMS = [
    item(0, "sync", interface="t", function_type=NUMBER),
    item(1, "async", interface="t", function_type=NUMBER, suspends=True),
]


class Resource:
    """Counts how often it is closed."""

    def __init__(self, log: list[str], name: str, parent: Resource | None = None) -> None:
        self.log = log
        self.name = name
        self.parent = parent

    def close(self) -> None:
        self.log.append(self.name)


class Custom(BaseException):
    """Something that is no Exception."""


def functions(sync: Any = lambda: 0, asynchronous: Any = lambda: 0) -> dict[tuple[str, str], Any]:
    return {("t", "sync"): sync, ("t", "async"): asynchronous}


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit, Custom])
@pytest.mark.parametrize("where", ["sync", "async"])
async def test_the_original_exception_reaches_the_caller(
    run: Run, kind: type[BaseException], where: str
) -> None:
    raised = kind("from the host")

    def fail() -> int:
        raise raised

    async with run(GUEST, ITEMS, functions(fail, fail)) as guest:
        with pytest.raises(kind) as caught:
            await guest.call(where)
        assert caught.value is raised
        assert guest.closed
        with pytest.raises(GuestClosedError):
            await guest.call("nothing")


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, Custom])
async def test_the_exception_of_a_suspended_function_reaches_the_caller(
    run: Run, kind: type[BaseException]
) -> None:
    raised = kind("later")

    async def fail() -> int:
        await trio.lowlevel.checkpoint()
        raise raised

    async with run(GUEST, ITEMS, functions(asynchronous=fail)) as guest:
        with pytest.raises(kind) as caught:
            await guest.call("async")
        assert caught.value is raised
        assert guest.closed


async def test_an_exception_that_cannot_be_printed_does_no_harm(run: Run) -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    def fail() -> int:
        raise Unprintable

    async with run(GUEST, ITEMS, functions(fail)) as guest:
        with pytest.raises(Unprintable):
            await guest.call("sync")


async def test_a_wasm_trap_surfaces_as_it_is_and_ends_the_guest(run: Run) -> None:
    async with run(GUEST, ITEMS, functions()) as guest:
        with pytest.raises(WasmtimeError, match="unreachable"):
            await guest.call("trap")
        assert guest.closed
        with pytest.raises(GuestClosedError):
            await guest.call("nothing")


async def test_an_exit_code_surfaces(run: Run) -> None:
    text = """(component
      (import "wasi:cli/exit@0.2.0" (instance $exit (export "exit" (func (param "status" (result))))))
      (core func $exit (canon lower (func $exit "exit")))
      (core module $m (import "h" "exit" (func $exit (param i32)))
        (func (export "bad") (call $exit (i32.const 1))) (func (export "good") (call $exit (i32.const 0))))
      (core instance $i (instantiate $m (with "h" (instance (export "exit" (func $exit))))))
      (func (export "bad") (canon lift (core func $i "bad")))
      (func (export "good") (canon lift (core func $i "good"))))"""
    for name, code in (("good", 0), ("bad", 1)):
        async with run(text) as guest:
            with pytest.raises(ExitTrap) as caught:
                await guest.call(name)
            assert caught.value.code == code
            assert guest.closed


async def test_cancelling_a_suspended_call_ends_the_guest(run: Run) -> None:
    log: list[str] = []

    async def forever() -> int:
        try:
            await trio.sleep_forever()
        finally:
            log.append("cancelled")
        return 0

    async with run(GUEST, ITEMS, functions(asynchronous=forever)) as guest:
        guest._state.table(0).add("t.r", Resource(log, "closed"))
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(guest.call, "async")
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        assert scope.cancelled_caught
        assert log == ["cancelled", "closed"]
        with pytest.raises(GuestClosedError):
            await guest.call("nothing")


async def test_a_guest_that_spins_does_not_keep_others_and_can_be_cancelled(run: Run) -> None:
    beats = 0
    async with run(GUEST, ITEMS, functions()) as guest:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(guest.call, "spin")
                while beats < 20:
                    await trio.lowlevel.checkpoint()
                    beats += 1
                scope.cancel()
        assert beats == 20
        assert guest.closed


async def test_two_spinning_guests_take_turns(run: Run) -> None:
    async with run(GUEST, ITEMS, functions()) as one, run(GUEST, ITEMS, functions()) as two:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.call, "spin")
            nursery.start_soon(two.call, "spin")
            for _ in range(10):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert one.closed
        assert two.closed


async def test_a_spinning_guest_is_preempted_after_the_ticker_slept(run: Run, engine: Engine) -> None:
    ticker = engine_state(engine).ticker
    assert ticker is not None
    async with run(GUEST, ITEMS, functions()) as guest:
        with trio.fail_after(30):
            while ticker.due:
                await trio.lowlevel.checkpoint()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(guest.call, "spin")
            for _ in range(5):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()


async def test_a_second_call_is_refused_while_one_runs(run: Run) -> None:
    go_on = trio.Event()

    async def wait() -> int:
        await go_on.wait()
        return 5

    async with run(GUEST, ITEMS, functions(asynchronous=wait)) as guest, trio.open_nursery() as nursery:
        nursery.start_soon(guest.call, "async")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(GuestBusyError):
            await guest.call("nothing")
        go_on.set()
        await trio.testing.wait_all_tasks_blocked()
        assert await guest.call("nothing") is None


async def test_a_store_takes_one_guest_at_a_time(run: Run, engine: Engine) -> None:
    store = Store(engine)
    async with run(GUEST, ITEMS, functions(), store=store):
        with pytest.raises(GuestBusyError):
            async with run(GUEST, ITEMS, functions(), store=store):
                raise AssertionError("two guests in one store")
    async with run(GUEST, ITEMS, functions(), store=store) as guest:
        await guest.call("nothing")


async def test_leaving_the_block_ends_a_running_call(run: Run) -> None:
    outcome: list[BaseException] = []
    async with trio.open_nursery() as nursery:
        async with run(GUEST, ITEMS, functions(asynchronous=trio.sleep_forever)) as guest:

            async def call() -> None:
                try:
                    await guest.call("async")
                except GuestClosedError as error:
                    outcome.append(error)

            nursery.start_soon(call)
            await trio.testing.wait_all_tasks_blocked()
        assert guest.closed
    assert len(outcome) == 1


async def test_objects_are_closed_children_first_and_once(run: Run) -> None:
    log: list[str] = []
    async with run(GUEST, ITEMS, functions()) as guest:
        table = guest._state.table(0)
        parent = Resource(log, "parent")
        table.add("t.r", parent)
        table.add("t.r", Resource(log, "child", parent))
        guest._state.table(1).add("t.r", Resource(log, "other realm"))
    assert sorted(log) == ["child", "other realm", "parent"]
    assert log.index("child") < log.index("parent")


async def test_a_failing_close_does_not_keep_the_others_open(run: Run) -> None:
    log: list[str] = []

    class Broken:
        def close(self) -> None:
            raise OSError("cannot close")

    async def live() -> None:
        async with run(GUEST, ITEMS, functions()) as guest:
            table = guest._state.table(0)
            table.add("t.r", Resource(log, "first"))
            table.add("t.r", Broken())
            table.add("t.r", Resource(log, "last"))

    with pytest.raises(BaseExceptionGroup) as caught:
        await live()
    assert log == ["last", "first"]
    assert caught.group_contains(OSError, match="cannot close")


async def test_forgotten_setup_is_explained(engine: Engine, foreign_engine: Engine) -> None:
    linker = component.Linker(engine)
    guest = compiled(engine, GUEST)
    with pytest.raises(ValueError, match="add_to_linker"):
        async with instantiate(linker, Store(engine), guest, items=ITEMS):
            raise AssertionError("not reached")
    add_to_linker(linker)
    add_to_linker(linker)
    with pytest.raises(ValueError, match="different engines"):
        async with instantiate(linker, Store(foreign_engine), guest, items=ITEMS):
            raise AssertionError("not reached")
    with pytest.raises(WasmtimeError):
        async with instantiate(component.Linker(engine), Store(engine), guest):
            raise AssertionError("not reached")
    assert engine_state(engine).stores == {}


async def test_values_map_as_in_wasmtime_with_bytes_for_byte_lists(run: Run) -> None:
    text = """(component
      (core module $m (memory (export "m") 40)
        (global $next (mut i32) (i32.const 1024))
        (func (export "r") (param i32 i32 i32 i32) (result i32)
          (global.get $next) (global.set $next (i32.add (global.get $next) (local.get 3))))
        (func (export "echo") (param i32 i32) (result i32)
          (i32.store (i32.const 0) (local.get 0)) (i32.store (i32.const 4) (local.get 1)) (i32.const 0))
        (func (export "fail") (param i32) (result i32)
          (i32.store8 (i32.const 0) (i32.eqz (local.get 0))) (i32.store (i32.const 4) (local.get 0)) (i32.const 0))
        (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))
      (core instance $i (instantiate $m))
      (alias core export $i "m" (core memory $m)) (alias core export $i "r" (core func $r))
      (func (export "bytes") (param "x" (list u8)) (result (list u8))
        (canon lift (core func $i "echo") (memory $m) (realloc $r)))
      (func (export "text") (param "x" string) (result string)
        (canon lift (core func $i "echo") (memory $m) (realloc $r)))
      (func (export "result") (param "x" u32) (result (result u32 (error string)))
        (canon lift (core func $i "fail") (memory $m) (realloc $r)))
      (func (export "add") (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add"))))"""
    async with run(text) as guest:
        data = bytes(range(256)) * 1000
        assert await guest.call("bytes", data) == data
        assert await guest.call("bytes", bytearray(b"ab")) == b"ab"
        assert await guest.call("bytes", b"") == b""
        assert await guest.call("text", "grüße") == "grüße"
        assert await guest.call("add", 2, 3) == 5
        assert await guest.call("result", 9) == 9
        assert (
            await guest.call("result", 0) == ""
        )  # as wasmtime has it: cases of different types are not tagged
        for wrong in (("add", 1), ("add", "a", 2), ("bytes", "text")):
            with pytest.raises(TypeError):
                await guest.call(*wrong)
        with pytest.raises(LookupError, match="subtract"):
            await guest.call("subtract", 1)
        assert await guest.call("add", 2, 3) == 5


def test_engines_made_from_config_are_recognised() -> None:
    ours = Engine(config(tick=0.5))
    state = engine_state(ours)
    assert state.ticker is not None
    assert state.direct_memory
    assert "epoch_interruption" in engine_settings(ours)
    others = engine_state(Engine(Config()))
    assert others.ticker is None
    assert not others.direct_memory


def test_changing_how_memories_are_laid_out_withdraws_direct_memory() -> None:
    changed = config()
    changed.memory_reservation = 1 << 20
    assert not engine_state(Engine(changed)).direct_memory
    harmless = config()
    harmless.cranelift_opt_level = "none"
    assert engine_state(Engine(harmless)).direct_memory


def test_a_tick_must_be_positive() -> None:
    for tick in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="tick"):
            config(tick=tick)


async def test_an_engine_and_its_state_are_freed() -> None:
    engine = Engine(config(tick=0.0001))
    ticker = engine_state(engine).ticker
    assert ticker is not None
    linker = component.Linker(engine)
    add_to_linker(linker)
    async with instantiate(linker, Store(engine), component.Component(engine, "(component)")):
        thread = ticker.thread
    assert thread is not None
    thread.join(30)
    gone = weakref.ref(engine)
    del engine, linker, ticker
    gc.collect()
    assert gone() is None


async def test_a_guest_outlives_the_linker_it_came_from(engine: Engine) -> None:
    """The callbacks must not go with the linker: native code still calls them."""
    linker = component.Linker(engine)
    linker.add_wasip2()
    add_to_linker(linker)
    store = Store(engine)
    store.set_wasi(wasmtime.WasiConfig())
    async with instantiate(
        linker, store, compiled(engine, GUEST), items=ITEMS, functions=functions(lambda: 3)
    ) as guest:
        linker.close()
        del linker
        gc.collect()
        assert await guest.call("sync") == 3


@pytest.mark.parametrize("thread", [False, True])
def test_an_interrupt_during_a_host_call_arrives_at_a_checkpoint(run: Run, thread: bool) -> None:
    """And never between native code and the first line of a callback."""
    text = guest_text(
        """(func (export "calls") (loop $l (drop (call $call0 (i64.const 0))) (br $l)))""", {"calls": ""}
    )
    closed: list[str] = []

    def interrupted() -> int:
        signal.raise_signal(signal.SIGINT)
        return 0

    async def main() -> None:
        async with run(text, ITEMS, functions(interrupted), thread=thread) as guest:
            guest._state.table(0).add("t.r", Resource(closed, "closed"))
            await guest.call("calls")

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert closed == ["closed"]
