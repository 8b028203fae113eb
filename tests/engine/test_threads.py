"""`thread=True`: guests whose stock calls may block."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing
import wasmtime
from wasmtime import Engine, Store, WasmtimeError

from tests.engine.conftest import Run
from tests.engine.test_fastpath import FOREVER, INPUT, Stream
from tests.engine.test_fastpath import GUEST as WAITING_GUEST
from tests.engine.test_fastpath import ITEMS as WAITING_ITEMS
from tests.engine.test_transports import GUEST as TRANSPORT_GUEST
from tests.engine.test_transports import TEXT_TO_TEXT, items, read, write
from tests.engine.wat_guest import component as guest_text
from tests.engine.wat_guest import item
from wasi_sockets.component.types import FunctionType
from wasi_sockets.engine import bindings
from wasi_sockets.engine.engines import engine_state
from wasi_sockets.engine.handles import INPUT_STREAM
from wasi_sockets.errors import GuestClosedError, GuestTrap

NUMBER = FunctionType((), "u64")
SYNC, ASYNC = range(2)

# Opens "fifo" in the first preopened directory and reads a byte of it, all with stock functions.
FILES = """
  (import "wasi:filesystem/types@0.2.0" (instance $types
    (export "descriptor" (type $descriptor (sub resource)))
    (type $path-flags (flags "symlink-follow")) (export "path-flags" (type $path-flags' (eq $path-flags)))
    (type $open-flags (flags "create" "directory" "exclusive" "truncate"))
    (export "open-flags" (type $open-flags' (eq $open-flags)))
    (type $descriptor-flags (flags "read" "write" "file-integrity-sync" "data-integrity-sync"
      "requested-write-sync" "mutate-directory"))
    (export "descriptor-flags" (type $descriptor-flags' (eq $descriptor-flags)))
    (type $error-code (enum "access" "would-block" "already" "bad-descriptor" "busy" "deadlock" "quota" "exist"
      "file-too-large" "illegal-byte-sequence" "in-progress" "interrupted" "invalid" "io" "is-directory" "loop"
      "too-many-links" "message-size" "name-too-long" "no-device" "no-entry" "no-lock" "insufficient-memory"
      "insufficient-space" "not-directory" "not-empty" "not-recoverable" "unsupported" "no-tty" "no-such-device"
      "overflow" "not-permitted" "pipe" "read-only" "invalid-seek" "text-file-busy" "cross-device"))
    (export "error-code" (type $error-code' (eq $error-code)))
    (export "[method]descriptor.open-at" (func (param "self" (borrow $descriptor))
      (param "path-flags" $path-flags') (param "path" string) (param "open-flags" $open-flags')
      (param "flags" $descriptor-flags') (result (result (own $descriptor) (error $error-code')))))
    (export "[method]descriptor.read" (func (param "self" (borrow $descriptor)) (param "length" u64)
      (param "offset" u64) (result (result (tuple (list u8) bool) (error $error-code')))))))
  (alias export $types "descriptor" (type $descriptor))
  (import "wasi:filesystem/preopens@0.2.0" (instance $preopens
    (alias outer 1 $descriptor (type $d)) (export "descriptor" (type $d' (eq $d)))
    (export "get-directories" (func (result (list (tuple (own $d') string)))))))
"""


GUEST = guest_text(
    """(func (export "sync") (result i64) (call $call0 (i64.const 0)))
       (func (export "async") (result i64) (call $wait0 (i64.const 1)))
       (func (export "unknown") (result i64) (call $call0 (i64.const 77)))
       (func (export "spin") (loop $l (br $l)))
       (func (export "trap") unreachable)""",
    {
        "sync": "(result u64)",
        "async": "(result u64)",
        "unknown": "(result u64)",
        "spin": "",
        "trap": "",
    },
)
ITEMS = [
    item(SYNC, "sync", interface="t", function_type=NUMBER),
    item(ASYNC, "async", interface="t", function_type=NUMBER, suspends=True),
]


async def test_host_functions_run_on_the_trio_thread(run: Run) -> None:
    threads: list[threading.Thread] = []

    def sync() -> int:
        threads.append(threading.current_thread())
        return 1

    async def asynchronous() -> int:
        await trio.lowlevel.checkpoint()
        return 1 + sync()

    functions = {("t", "sync"): sync, ("t", "async"): asynchronous}
    async with run(GUEST, ITEMS, functions, thread=True) as guest:
        assert await guest.call("sync") == 1
        assert await guest.call("async") == 2
    assert set(threads) == {threading.current_thread()}


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
async def test_the_original_exception_reaches_the_caller(run: Run, kind: type[BaseException]) -> None:
    raised = kind("from the host")

    def fail() -> int:
        raise raised

    async with run(GUEST, ITEMS, {("t", "sync"): fail}, thread=True) as guest:
        with pytest.raises(kind) as caught:
            await guest.call("sync")
        assert caught.value is raised
        with pytest.raises(GuestClosedError):
            await guest.call("sync")


async def test_traps_surface(run: Run) -> None:
    async with run(GUEST, ITEMS, thread=True) as guest:
        with pytest.raises(WasmtimeError, match="unreachable"):
            await guest.call("trap")
    async with run(GUEST, ITEMS, thread=True) as guest:
        with pytest.raises(GuestTrap, match="item"):
            await guest.call("unknown")


async def test_a_suspended_guest_is_cancelled(run: Run, engine: Engine) -> None:
    store = Store(engine)
    functions = {("t", "async"): trio.sleep_forever}
    async with run(GUEST, ITEMS, functions, thread=True, store=store) as guest:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(guest.call, "async")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert guest.closed
    store.close()


async def test_a_spinning_guest_is_left_behind_and_cleans_up(run: Run, engine: Engine) -> None:
    store = Store(engine)
    async with run(GUEST, ITEMS, thread=True, store=store) as guest:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(guest.call, "spin")
            for _ in range(50):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert guest.closed
    store.close()
    with pytest.raises(ValueError, match="closed"):
        store.set_epoch_deadline(1)
    with trio.fail_after(30):
        while guest._context in engine_state(engine).stores:
            await trio.lowlevel.checkpoint()


async def test_a_store_is_forgotten_before_another_can_have_its_address(
    run: Run, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = engine_state(engine).stores
    known_when_freed: list[bool] = []
    detach = bindings.detach_store

    def detach_watched(store: Store) -> Callable[[], None]:
        context = bindings.context_address(store)
        free = detach(store)

        def free_watched() -> None:
            known_when_freed.append(context in stores)
            free()

        return free_watched

    monkeypatch.setattr(bindings, "detach_store", detach_watched)
    async with run(GUEST, ITEMS, thread=True) as guest, trio.open_nursery() as nursery:
        nursery.start_soon(guest.call, "spin")
        for _ in range(50):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    with trio.fail_after(30):
        while not known_when_freed:
            await trio.lowlevel.checkpoint()
    assert known_when_freed == [False]


class ReadyMeanwhile(Stream):
    """Becomes ready after a guest found that it is not, and before anybody waits; it wakes nobody later."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def available(self) -> int:
        self.asked += 1
        return 0 if self.asked == 1 else 7

    def ready(self) -> bool:
        return self.available() != 0


@pytest.mark.parametrize("nanoseconds", [FOREVER, 3600 * 10**9])
@pytest.mark.parametrize("many", [False, True])
async def test_what_becomes_ready_before_the_wait_begins_is_seen(
    run: Run, many: bool, nanoseconds: int
) -> None:
    async with run(WAITING_GUEST, WAITING_ITEMS, thread=True) as guest:
        code = INPUT | guest._state.table(0).add(INPUT_STREAM, ReadyMeanwhile())
        with trio.fail_after(30):
            if many:
                await guest.call("watch", code, 0)
                assert await guest.call("wait-many", nanoseconds) == 1
            else:
                assert await guest.call("wait", code, nanoseconds) == 7


@pytest.mark.parametrize("direct_memory", [True, False])
async def test_values_cross_as_usual(run: Run, direct_memory: bool) -> None:
    functions = {("t", "f"): lambda text: text + "!"}
    async with run(
        TRANSPORT_GUEST, items(TEXT_TO_TEXT), functions, thread=True, direct_memory=direct_memory
    ) as guest:
        await guest.call("locate")
        await write(guest, 8192, b"hello")
        for call in ("typed", "suspending"):
            await guest.call(call, 8192, 5)
            at, size = await guest.call("word", 1024), await guest.call("word", 1028)
            assert await read(guest, at, size) == b"hello!"


FIFO_GUEST = f"""(component {FILES}
  (core module $libc (memory (export "m") 1) (global $next (mut i32) (i32.const 1024))
    (data (i32.const 0) "fifo")
    (func (export "r") (param i32 i32 i32 i32) (result i32)
      (global.set $next (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -8)))
      (global.get $next) (global.set $next (i32.add (global.get $next) (local.get 3)))))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "m" (core memory $m)) (alias core export $libc "r" (core func $r))
  (core func $dirs (canon lower (func $preopens "get-directories") (memory $m) (realloc $r)))
  (core func $open (canon lower (func $types "[method]descriptor.open-at") (memory $m) (realloc $r)))
  (core func $read (canon lower (func $types "[method]descriptor.read") (memory $m) (realloc $r)))
  (core module $main
    (import "l" "m" (memory 1))
    (import "h" "dirs" (func $dirs (param i32)))
    (import "h" "open" (func $open (param i32 i32 i32 i32 i32 i32 i32)))
    (import "h" "read" (func $read (param i32 i64 i64 i32)))
    (func (export "first-byte") (result i32)
      (call $dirs (i32.const 64))
      (call $open (i32.load (i32.load (i32.const 64))) (i32.const 1) (i32.const 0) (i32.const 4)
        (i32.const 0) (i32.const 1) (i32.const 80))
      (if (i32.load8_u (i32.const 80)) (then (return (i32.add (i32.const 1000) (i32.load8_u (i32.const 84))))))
      (call $read (i32.load (i32.const 84)) (i64.const 1) (i64.const 0) (i32.const 96))
      (if (i32.load8_u (i32.const 96)) (then (return (i32.add (i32.const 2000) (i32.load8_u (i32.const 100))))))
      (i32.load8_u (i32.load (i32.const 100)))))
  (core instance $main (instantiate $main
    (with "h" (instance (export "dirs" (func $dirs)) (export "open" (func $open)) (export "read" (func $read))))
    (with "l" (instance $libc))))
  (func (export "first-byte") (result u32) (canon lift (core func $main "first-byte"))))"""


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no FIFOs on this platform")
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def wasi_with(directory: Path) -> wasmtime.WasiConfig:
    wasi = wasmtime.WasiConfig()
    wasi.preopen_dir(str(directory), "/")
    return wasi


async def test_the_fifo_guest_reads_files(run: Run, tmp_path: Path) -> None:
    (tmp_path / "fifo").write_bytes(b"Z")
    async with run(FIFO_GUEST, wasi=wasi_with(tmp_path)) as guest:
        assert await guest.call("first-byte") == ord("Z")


async def test_a_guest_stuck_in_a_fifo_does_not_stop_the_loop(run: Run, fifo: Path, engine: Engine) -> None:
    beats = 0
    store = Store(engine)
    async with run(FIFO_GUEST, thread=True, wasi=wasi_with(fifo.parent), store=store) as guest:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(guest.call, "first-byte")
            for _ in range(200):
                await trio.lowlevel.checkpoint()
                beats += 1
            nursery.cancel_scope.cancel()
        assert guest.closed
    assert beats == 200
    store.close()  # native code is still in it: this must not free it
    assert guest._context in engine_state(engine).stores
    await release(fifo, guest, engine)


async def release(fifo: Path, guest: Any, engine: Engine) -> None:
    """Let whoever is stuck in the FIFO go, and wait for the thread to have cleaned up."""
    descriptor = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    try:
        with trio.fail_after(30):
            while guest._context in engine_state(engine).stores:
                try:
                    os.write(descriptor, b"x")
                except BlockingIOError:
                    pass
                await trio.lowlevel.checkpoint()
    finally:
        os.close(descriptor)
