from __future__ import annotations

import ctypes
import gc

import pytest
from wasmtime import Engine, Store, component

from tests.engine.conftest import compiled
from tests.engine.test_calls import EVERY_ARITY
from wasi_sockets.engine import add_to_linker, bindings, bindings_callbacks, instantiate


async def test_callbacks_go_when_native_code_lets_go_of_them(engine: Engine) -> None:
    gc.collect()
    before = len(bindings_callbacks._kept)
    linker = component.Linker(engine)
    add_to_linker(linker)
    defined = len(bindings_callbacks._kept) - before
    assert defined == 2 * (bindings_callbacks.MAXIMUM_ARITY + 1) + 3
    store = Store(engine)
    async with instantiate(linker, store, compiled(engine, EVERY_ARITY)):
        linker.close()
        assert len(bindings_callbacks._kept) > before
    store.close()
    assert len(bindings_callbacks._kept) == before


def test_a_name_that_is_taken_leaves_no_callback_behind(engine: Engine) -> None:
    gc.collect()
    before = len(bindings_callbacks._kept)
    linker = component.Linker(engine)
    with linker.root() as root, root.add_instance("wasi-sockets:shim/host@0.1.0") as instance:
        instance.add_func("call0", lambda store: 0)
    with pytest.raises(Exception, match="defined twice"):
        add_to_linker(linker)
    linker.close()
    assert len(bindings_callbacks._kept) == before


def test_a_flag_reads_as_strlen_does() -> None:
    strlen = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p)(bindings.strlen_address())
    flag = bindings_callbacks.Flag()
    assert strlen(flag.address) == 0
    flag.set()
    assert strlen(flag.address) == 1
    flag.clear()
    assert strlen(flag.address) == 0


def test_a_detached_store_is_closed_for_its_owner(engine: Engine) -> None:
    store = Store(engine)
    free = bindings.detach_store(store)
    store.close()
    with pytest.raises(ValueError, match="closed"):
        bindings.context_address(store)
    free()
