"""Components that reach for the host functions of the shim without `load` or without `instantiate`."""

from __future__ import annotations

import pytest
import trio
import trio.testing
import wasmtime
import wasmtime.component

import wasi_sockets
import wasi_sockets.engine
from tests.engine.wat_guest import component as guest_text
from tests.engine.wat_guest import item
from tests.hostile.attack import ECHO_PORT, component, connect, engine, handles_at, start
from tests.hostile.raw_guest import FUNCTIONS, composed_guest, raw_guest
from wasi_sockets.engine import add_to_linker
from wasi_sockets.errors import GuestTrap, UnsupportedComponentError

RESULT = 2048
STRANGER = guest_text(
    """(func (export "call1") (param $word i64) (param $a i64) (result i64)
         (call $call1 (local.get $word) (local.get $a)))
       (func (export "wait1") (param $word i64) (param $a i64) (result i64)
         (call $wait1 (local.get $word) (local.get $a)))
       (func (export "call3") (param $word i64) (param $a i64) (param $b i64) (param $c i64) (result i64)
         (call $call3 (local.get $word) (local.get $a) (local.get $b) (local.get $c)))
       (func (export "resume") (param $word i64) (result i64) (call $resume (local.get $word)))
       (func (export "push") (result i64) (call $push (i32.const 0) (i32.const 16)))
       (func (export "pull") (result i64) (call $pull (i32.const 16)) (i64.load (i32.const 16)))""",
    {
        "call1": '(param "word" u64) (param "a" u64) (result u64)',
        "wait1": '(param "word" u64) (param "a" u64) (result u64)',
        "call3": '(param "word" u64) (param "a" u64) (param "b" u64) (param "c" u64) (result u64)',
        "resume": '(param "word" u64) (result u64)',
        "push": "(result u64)",
        "pull": "(result u64)",
    },
)
MISTYPED = """(component
  (import "wasi-sockets:shim/host@0.1.0" (instance $host (export "call1" (func FUNCTION))))
  (core module $libc (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64)))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $m))
  (alias core export $libc "realloc" (core func $r))
  (core func $call (canon lower (func $host "call1") (memory $m) (realloc $r)))
  (core module $main (import "h" "call" (func $call CORE)) (func (export "go") BODY))
  (core instance $main (instantiate $main (with "h" (instance (export "call" (func $call))))))
  (func (export "go") (canon lift (core func $main "go"))))"""


def linker() -> wasmtime.component.Linker:
    made = wasmtime.component.Linker(engine())
    made.add_wasip2()
    add_to_linker(made)
    return made


def store() -> wasmtime.Store:
    made = wasmtime.Store(engine())
    made.set_wasi(wasmtime.WasiConfig())
    return made


@pytest.mark.parametrize("what", ["interposed", "composed", "stranger"])
def test_instantiating_without_us_is_an_error(what: str) -> None:
    guest = {
        "interposed": lambda: component(raw_guest()),
        "composed": lambda: component(composed_guest()),
        "stranger": lambda: wasmtime.component.Component(engine(), STRANGER),
    }[what]()
    with pytest.raises(wasmtime.WasmtimeError):
        linker().instantiate(store(), guest)


@pytest.mark.parametrize("name", ["call1", "wait1", "call3", "resume", "push", "pull"])
async def test_a_stranger_reaches_no_item_of_a_guest_that_runs(name: str) -> None:
    network = wasi_sockets.Network()
    listener = network.listen_tcp(ECHO_PORT)
    async with listener, start(network) as victim, trio.open_nursery() as nursery:
        _, incoming, _ = await connect(victim)
        stream = await listener.accept()
        answers: list[None] = []

        async def read() -> None:
            answers.append(await victim.call("input-stream-blocking-read", incoming, 4, RESULT))

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        count = {"call1": 2, "wait1": 2, "call3": 4, "resume": 1, "push": 0, "pull": 0}[name]
        guest = wasmtime.component.Component(engine(), STRANGER)
        for number in (*range(8), 50, 1 << 20, (1 << 32) - 1, (5 << 32) | 3):
            async with wasi_sockets.engine.instantiate(linker(), store(), guest) as stranger:
                arguments = (number, incoming, 0, 64)[:count]
                with pytest.raises(GuestTrap):
                    await stranger.call(name, *arguments)
        await stream.send_all(b"safe")
        await stream.aclose()
    assert answers == [None]


@pytest.mark.parametrize(
    ("function", "core", "body"),
    [
        ("(result u64)", "(result i64)", "(drop (call $call))"),
        ('(param "a" string) (param "b" u64) (result u64)', "(param i32 i32 i64) (result i64)", "STRING"),
        (
            '(param "a" u64) (param "b" u64) (result string)',
            "(param i64 i64 i32)",
            "(call $call (i64.const 0) (i64.const 0) (i32.const 0))",
        ),
        ('(param "a" u64) (param "b" u64)', "(param i64 i64)", "(call $call (i64.const 0) (i64.const 0))"),
        (
            '(param "a" u8) (param "b" f64) (result u64)',
            "(param i32 f64) (result i64)",
            "(drop (call $call (i32.const 255) (f64.const nan)))",
        ),
    ],
)
async def test_functions_imported_with_other_types(function: str, core: str, body: str) -> None:
    body = body.replace("STRING", "(drop (call $call (i32.const 0) (i32.const 16) (i64.const 1)))")
    text = MISTYPED.replace("FUNCTION", function).replace("CORE", core).replace("BODY", body)
    guest = wasmtime.component.Component(engine(), text)
    with pytest.raises(Exception, match=r"with another type|that its table does not have"):
        async with wasi_sockets.engine.instantiate(linker(), store(), guest) as stranger:
            await stranger.call("go")


async def test_an_answer_that_is_not_of_the_type_that_was_imported() -> None:
    text = (
        MISTYPED.replace("FUNCTION", '(param "a" u64) (param "b" u64) (result string)')
        .replace("CORE", "(param i64 i64 i32)")
        .replace("BODY", "(call $call (i64.const 0) (i64.const 0) (i32.const 0))")
    )
    items = [item(0, "check")]
    guest = wasmtime.component.Component(engine(), text)
    async with wasi_sockets.engine.instantiate(linker(), store(), guest, items=items) as stranger:
        code = 3 << 32 | stranger._state.table(0).add("t:t/t.thing", Ready())
        forged = text.replace("(i64.const 0) (i64.const 0)", f"(i64.const 0) (i64.const {code})")
    guest = wasmtime.component.Component(engine(), forged)
    async with wasi_sockets.engine.instantiate(linker(), store(), guest, items=items) as stranger:
        stranger._state.table(0).add("t:t/t.thing", Ready())
        with pytest.raises(wasmtime.WasmtimeError):
            await stranger.call("go")


class Ready:
    """Something that can be waited for, and need not be."""

    def ready(self) -> bool:
        return True


def test_load_refuses_a_component_that_imports_the_shim() -> None:
    with pytest.raises(UnsupportedComponentError, match="wasi-sockets:shim"):
        wasi_sockets.load(engine(), bytes(wasmtime.wat2wasm(STRANGER)), cache=False)


HANDLED = [function for function in FUNCTIONS if function.resource == "tcp-socket"]


@pytest.mark.parametrize("name", [function.name for function in HANDLED])
async def test_a_handle_of_the_component_next_door(name: str) -> None:
    """Two components inside one guest have a table each; $b is next to $a and shares nothing but the store."""
    function = next(each for each in HANDLED if each.name == name)
    async with start(wasi_sockets.Network(), composed_guest()) as guest:
        await guest.call("create-tcp-socket-a", 0, RESULT)
        handle = await guest.call("load-a", RESULT + 4)
        with pytest.raises(GuestTrap, match="unknown handle"):
            await guest.call(f"{name}-b", handle, *[RESULT] * (len(function.parameters) - 1))


async def test_pollables_and_streams_of_the_component_next_door() -> None:
    for made, used in (
        ("subscribe-duration-a", "pollable-ready-b"),
        ("subscribe-duration-b", "drop-pollable-a"),
    ):
        async with start(wasi_sockets.Network(), composed_guest()) as guest:
            pollable = await guest.call(made, 0)
            with pytest.raises(GuestTrap, match="unknown handle"):
                await guest.call(used, pollable)


async def test_equal_handles_of_two_guests_are_two_objects() -> None:
    network = wasi_sockets.Network()
    async with start(network) as one, start(network) as other:
        for guest, family in ((one, 0), (other, 1)):
            await guest.call("create-tcp-socket", family, RESULT)
        (mine,), (theirs,) = await handles_at(one, 1), await handles_at(other, 1)
        assert mine == theirs
        await one.call("drop-tcp-socket", mine)
        assert await other.call("tcp-socket-address-family", theirs) == 1
