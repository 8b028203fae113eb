"""One engine for all tests of the engine room: compiling is what costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cache
from typing import Any

import pytest
import wasmtime
from wasmtime import Engine, Store, component

from tests.text_format import translated
from wasi_sockets.engine import Guest, add_to_linker, config, instantiate
from wasi_sockets.interposer.items import Item

Run = Callable[..., AbstractAsyncContextManager[Guest]]


@pytest.fixture(scope="session")
def engine() -> Engine:
    return Engine(config())


@pytest.fixture(scope="session")
def foreign_engine() -> Engine:
    """An engine that somebody configured without this package."""
    return Engine(wasmtime.Config())


@cache
def compiled(engine: Engine, text: str) -> component.Component:
    return component.Component(engine, translated(text))


def run_on(engine: Engine) -> Run:
    linker = component.Linker(engine)
    linker.add_wasip2()
    add_to_linker(linker)

    def run(
        text: str,
        items: Sequence[Item] = (),
        functions: dict[tuple[str, str], Any] | None = None,
        *,
        store: Store | None = None,
        wasi: wasmtime.WasiConfig | None = None,
        **options: Any,
    ) -> AbstractAsyncContextManager[Guest]:
        store = store or Store(engine)
        store.set_wasi(wasi or wasmtime.WasiConfig())
        return instantiate(linker, store, compiled(engine, text), functions=functions, items=items, **options)

    return run


@pytest.fixture(scope="session")
def run(engine: Engine) -> Run:
    """Instantiate a component given as text."""
    return run_on(engine)


@pytest.fixture(scope="session")
def run_foreign(foreign_engine: Engine) -> Run:
    return run_on(foreign_engine)
