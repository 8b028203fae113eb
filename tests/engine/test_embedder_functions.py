"""Functions that the embedding program itself defines in the linker, by wasmtime's own way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import wasmtime
from wasmtime import Engine, Store, component

from tests.text_format import translated
from wasi_sockets.engine import Guest, add_to_linker, instantiate
from wasi_sockets.errors import GuestClosedError

TEXT = """(component
  (import "own" (instance $own (export "f" (func (param "n" u32) (result u32)))))
  (core func $f (canon lower (func $own "f")))
  (core module $m
    (import "own" "f" (func $f (param i32) (result i32)))
    (func (export "call") (param i32) (result i32) (call $f (local.get 0))))
  (core instance $i (instantiate $m (with "own" (instance (export "f" (func $f))))))
  (func (export "call") (param "n" u32) (result u32) (canon lift (core func $i "call"))))"""


@asynccontextmanager
async def running(engine: Engine, function: Callable[..., Any], **options: Any) -> AsyncIterator[Guest]:
    linker = component.Linker(engine)
    add_to_linker(linker)
    with linker.root() as root, root.add_instance("own") as own:
        own.add_func("f", function)
    store = Store(engine)
    async with instantiate(linker, store, component.Component(engine, translated(TEXT)), **options) as guest:
        yield guest


@pytest.mark.parametrize("thread", [False, True])
async def test_they_answer(engine: Engine, thread: bool) -> None:
    async with running(engine, lambda store, n: n + 1, thread=thread) as guest:
        assert await guest.call("call", 41) == 42


@pytest.mark.parametrize("thread", [False, True])
async def test_what_they_raise_reaches_the_caller_of_the_guest_and_nobody_else(
    engine: Engine, thread: bool
) -> None:
    problem = LookupError("the embedder's own")

    def fail(store: object, n: int) -> int:
        raise problem

    async with running(engine, fail, thread=thread) as guest:
        with pytest.raises(LookupError) as caught:
            await guest.call("call", 1)
        assert caught.value is problem
        assert isinstance(problem.__cause__, wasmtime.WasmtimeError)
        with pytest.raises(GuestClosedError):
            await guest.call("call", 1)
    # A failing call of the package itself, afterwards, says what is wrong with it.
    with pytest.raises(wasmtime.WasmtimeError):
        wasmtime.component.Linker(engine).instantiate(
            Store(engine), component.Component(engine, translated(TEXT))
        )
