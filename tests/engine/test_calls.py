"""How a guest's calls reach Python functions, by item number and number of arguments."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from wasmtime import Engine, Store, WasmtimeError, component

from tests.engine.conftest import Run, compiled
from tests.engine.wat_guest import component as guest_text
from tests.engine.wat_guest import item
from wasi_sockets.component.types import FunctionType
from wasi_sockets.engine import add_to_linker
from wasi_sockets.errors import GuestTrap

U64S = [FunctionType(tuple((f"a{i}", "u64") for i in range(n)), "u64") for n in range(16)]

EVERY_ARITY = guest_text(
    "\n".join(
        f'(func (export "{kind}{n}") (result i64) (call ${kind}{n} (i64.const {n})'
        + "".join(f" (i64.const {0xFFFF_FFFF_0000_0000 + 16 * n + i})" for i in range(n))
        + "))"
        for kind in ("call", "wait")
        for n in range(16)
    ),
    {f"{kind}{n}": "(result u64)" for kind in ("call", "wait") for n in range(16)},
)


@pytest.mark.parametrize("kind", ["call", "wait"])
async def test_every_arity_delivers_all_arguments_and_the_whole_result(run: Run, kind: str) -> None:
    seen: list[tuple[int, ...]] = []

    def function(*arguments: int) -> int:
        seen.append(arguments)
        return 0xFEDC_BA98_0000_0000 + len(arguments)

    items = [
        item(n, f"f{n}", interface="t", function_type=U64S[n], suspends=kind == "wait") for n in range(16)
    ]
    functions = {("t", f"f{n}"): function for n in range(16)}
    async with run(EVERY_ARITY, items, functions) as guest:
        for n in range(16):
            assert await guest.call(f"{kind}{n}") == 0xFEDC_BA98_0000_0000 + n
            assert seen.pop() == tuple(0xFFFF_FFFF_0000_0000 + 16 * n + i for i in range(n))


async def test_an_async_function_suspends_only_the_guest(run: Run) -> None:
    waiting = trio.Event()
    go_on = trio.Event()

    async def function(argument: int) -> int:
        waiting.set()
        await go_on.wait()
        return argument + 1

    items = [item(1, "f", interface="t", function_type=U64S[1], suspends=True)]
    results: list[int] = []
    async with run(EVERY_ARITY, items, {("t", "f"): function}) as guest, trio.open_nursery() as nursery:

        async def call() -> None:
            results.append(await guest.call("wait1"))

        nursery.start_soon(call)
        await waiting.wait()
        assert results == []
        go_on.set()
    assert results == [0xFFFF_FFFF_0000_0000 + 16 + 1]


async def test_many_suspensions_in_one_call(run: Run) -> None:
    text = guest_text(
        """(func (export "count") (param $n i64) (result i64) (local $sum i64)
             (loop $next
               (local.set $sum (i64.add (local.get $sum) (call $wait1 (i64.const 0) (local.get $n))))
               (local.set $n (i64.sub (local.get $n) (i64.const 1)))
               (br_if $next (i64.ne (local.get $n) (i64.const 0))))
             (local.get $sum))""",
        {"count": '(param "n" u64) (result u64)'},
    )

    async def sometimes(n: int) -> int:
        if n % 3:
            await trio.lowlevel.checkpoint()
        return n

    items = [item(0, "f", interface="t", function_type=U64S[1], suspends=True)]
    async with run(text, items, {("t", "f"): sometimes}) as guest:
        assert await guest.call("count", 100) == 5050
        assert await guest.call("count", 10) == 55


async def test_an_unknown_item_ends_the_guest_cleanly(run: Run) -> None:
    async with run(EVERY_ARITY, [item(0, "now")]) as guest:
        with pytest.raises(GuestTrap, match="item"):
            await guest.call("call7")


async def test_a_missing_function_is_named(run: Run) -> None:
    async with run(EVERY_ARITY, [item(0, "lost", interface="a:b/c", function_type=U64S[0])]) as guest:
        with pytest.raises(NotImplementedError, match="a:b/c#lost"):
            await guest.call("call0")


async def test_an_item_may_answer_only_numbers_and_awaitables(run: Run) -> None:
    items = [item(0, "f", interface="t", function_type=FunctionType((), "u64"))]
    async with run(EVERY_ARITY, items, {("t", "f"): lambda: "text"}) as guest:
        with pytest.raises(ValueError, match="u64"):
            await guest.call("call0")


# Without async imports, so that wasmtime lets it be instantiated and called synchronously at all.
IMPOSTOR = """(component
  (import "wasi-sockets:shim/host@0.1.0" (instance $host
    (export "call1" (func (param "word" u64) (param "a0" u64) (result u64)))
    (export "pull" (func (result string)))))
  (core module $libc (memory (export "m") 1)
    (func (export "r") (param i32 i32 i32 i32) (result i32) (i32.const 64)))
  (core instance $libc (instantiate $libc))
  (core func $call1 (canon lower (func $host "call1")))
  (core func $pull (canon lower (func $host "pull") (memory (core memory $libc "m")) (realloc (core func $libc "r"))))
  (core module $m (import "h" "call1" (func $call1 (param i64 i64) (result i64)))
    (import "h" "pull" (func $pull (param i32)))
    (func (export "call1") (result i64) (call $call1 (i64.const 1) (i64.const 9)))
    (func (export "pull") (call $pull (i32.const 8))))
  (core instance $i (instantiate $m (with "h" (instance
    (export "call1" (func $call1)) (export "pull" (func $pull))))))
  (func (export "call1") (result u64) (canon lift (core func $i "call1")))
  (func (export "pull") (canon lift (core func $i "pull"))))"""


def run_impostor(engine: Engine, name: str) -> str:
    """Run it the plain way, in a store of its own. Returns the error."""
    linker = component.Linker(engine)
    add_to_linker(linker)
    store = Store(engine)
    store.set_epoch_deadline(1 << 40)
    function = linker.instantiate(store, compiled(engine, IMPOSTOR)).get_func(store, name)
    assert function is not None
    with pytest.raises(WasmtimeError) as caught:
        function(store)
    return str(caught.value)


@pytest.mark.parametrize("name", ["call1", "pull"])
def test_a_component_that_nobody_runs_gets_an_error(engine: Engine, name: str) -> None:
    assert "called by a component that" in run_impostor(engine, name)


async def test_a_component_that_nobody_runs_reaches_no_guest_from_inside_another(
    engine: Engine, run: Run
) -> None:
    errors: list[str] = []

    def while_a_guest_is_polled() -> int:
        errors.append(run_impostor(engine, "call1"))
        return 7

    items = [
        item(0, "f", interface="t", function_type=U64S[0]),
        item(1, "g", interface="t", function_type=U64S[1]),
    ]
    called: list[Any] = []
    functions = {("t", "f"): while_a_guest_is_polled, ("t", "g"): called.append}
    async with run(EVERY_ARITY, items, functions) as guest:
        assert await guest.call("call0") == 7
    assert "called by a component that" in errors[0]
    assert called == []


async def test_a_shim_function_imported_with_another_type_is_refused(run: Run) -> None:
    text = """(component
      (import "wasi-sockets:shim/host@0.1.0" (instance $host
        (export "call3" (func (result u64))) (export "push" (func (param "n" u64) (result u64)))))
      (core func $call3 (canon lower (func $host "call3")))
      (core func $push (canon lower (func $host "push")))
      (core module $m (import "h" "call3" (func $call3 (result i64)))
        (import "h" "push" (func $push (param i64) (result i64)))
        (func (export "few") (result i64) (call $call3))
        (func (export "kind") (result i64) (call $push (i64.const 1))))
      (core instance $i (instantiate $m (with "h" (instance
        (export "call3" (func $call3)) (export "push" (func $push))))))
      (func (export "few") (result u64) (canon lift (core func $i "few")))
      (func (export "kind") (result u64) (canon lift (core func $i "kind"))))"""
    for name in ("few", "kind"):
        async with run(text, [item(0, "now")]) as guest:
            with pytest.raises(Exception, match="with another type"):
                await guest.call(name)


async def test_an_answer_without_a_command_is_refused(run: Run) -> None:
    text = guest_text(
        """(func (export "resume") (result i64) (call $resume (i64.const 5)))
           (func (export "push") (result i64) (call $push (i32.const 0) (i32.const 4)))
           (func (export "pull") (call $pull (i32.const 16)))""",
        {"resume": "(result u64)", "push": "(result u64)", "pull": ""},
    )
    for name in ("resume", "push", "pull"):
        async with run(text, [item(0, "now")]) as guest:
            with pytest.raises(GuestTrap, match="command"):
                await guest.call(name)
