"""Guests as trio tasks: whoever calls a guest polls its future, and parks when it waits."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import trio
from wasmtime import ExitTrap, Store, WasmtimeError, component

from wasi_sockets.engine import bindings
from wasi_sockets.engine.bindings_callbacks import CallbackGuest, write_result
from wasi_sockets.engine.engines import EngineState, engine_state
from wasi_sockets.engine.exports import Exports, component_exports, match_export
from wasi_sockets.engine.guest import Functions, GuestState
from wasi_sockets.engine.handles import DEFAULT_LIMIT
from wasi_sockets.engine.lifetime import Lifetime
from wasi_sockets.engine.limits import (
    GuestLimits,
    because_of_memory,
    because_of_store_limits,
    limit_store,
)
from wasi_sockets.engine.linker import has_host_functions
from wasi_sockets.engine.mappings import process_mappings
from wasi_sockets.engine.memory import direct_memory_is_possible, predict_memories
from wasi_sockets.engine.shares import CpuShare, drive_within
from wasi_sockets.engine.stepping import Stepper, Wait
from wasi_sockets.errors import GuestBusyError, GuestClosedError, GuestLimitError
from wasi_sockets.interposer.items import Item

__all__ = ["Guest", "instantiate"]


_UNLIMITED: Final = GuestLimits()


class Guest:
    """A running component instance.

    Made by `instantiate`. After a trap, a cancelled call or an exception from a host function the instance
    cannot be used again: it is closed, and every call raises `GuestClosedError`.
    """

    def __init__(
        self,
        state: GuestState,
        engine: EngineState,
        store: Store,
        guest: component.Component,
        thread: bool,
        on_abort: Callable[[], object] | None,
        limits: GuestLimits,
    ) -> None:
        self._limits = limits
        self._share = None if limits.cpu is None else CpuShare(limits.cpu)
        self._lifetime: Lifetime | None = None
        self._state = state
        self._engine = engine
        self._store = store
        self._component = guest
        self._thread = thread
        state.clock.late = thread
        self._on_abort = on_abort
        self._context = bindings.context_address(store)
        self._instance: component.Instance | None = None
        self._signatures: dict[tuple[str, ...], bindings.Signature] = {}
        self._exports: Exports | None = None
        self._scope: trio.CancelScope | None = None
        self._finished: trio.Event | None = None
        self._abandoned = False

    @property
    def closed(self) -> bool:
        """Whether the guest has ended."""
        return self._state.closed

    @property
    def uses_direct_memory(self) -> bool:
        """Whether bytes have been moved by address; False too for a guest that has moved none yet."""
        return self._state.found_memory

    # Ctrl-C must not raise inside a callback: before its first line nothing could catch it, and native code would
    # go on with a half-made answer. trio delivers it at the next checkpoint instead, at the latest when the tick
    # of the guest ends.
    @trio.lowlevel.enable_ki_protection
    async def call(self, name: str, *arguments: Any) -> Any:
        """Call an exported function and wait until it returns.

        `call("add", 1, 2)` calls a function that the component exports itself, `call("wasi:cli/run@0.2",
        "run")` one of an exported interface, whose version may be partial or left out. Values are converted
        as by `wasmtime.component.Func.__call__`, with `bytes` for `list<u8>`.

        Raises:
            GuestBusyError: another call is running.
            GuestClosedError: the guest has ended, or is closed while this call runs.
            GuestLimitError: it has ended at one of its limits, now or before.
            LookupError: there is no such export.
            TypeError: the arguments do not fit.
            wasmtime.ExitTrap: the guest exited; `code` tells how.
            wasmtime.WasmtimeError: the guest trapped.
            BaseException: whatever a host function raised, unchanged.
        """
        self._enter()
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            if self._closed_or_closing():
                raise self._why_closed("the guest was closed")
            target, rest = self._find(name, arguments)
            return await self._run(bindings.start_call(target, self._store, rest))
        finally:
            self._leave()

    @trio.lowlevel.enable_ki_protection
    async def _start(self, linker: component.Linker) -> None:
        self._enter()
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            future = bindings.start_instantiate(linker, self._store, self._component)
            try:
                self._instance = await self._run(future)
            except WasmtimeError as error:
                refused = because_of_store_limits(error, self._limits)
                if refused is not None:
                    raise refused from error
                raise
        finally:
            self._leave()

    def _enter(self) -> None:
        if self._state.closed:
            raise self._why_closed(
                "the guest has ended (closed, trapped or cancelled); instantiate a new one"
            )
        if self._scope is not None:
            raise GuestBusyError("another call runs on this guest; await it first, or use a second guest")
        self._scope = trio.CancelScope()
        self._finished = trio.Event()

    def _leave(self) -> None:
        self._scope = None
        if self._finished is not None:
            self._finished.set()

    def _closed_or_closing(self) -> bool:
        return self._state.closed or (self._scope is not None and self._scope.cancel_called)

    def _find(self, name: str, arguments: tuple[Any, ...]) -> tuple[bindings.Signature, tuple[Any, ...]]:
        if self._exports is None:
            self._exports = component_exports(self._component, self._store.engine)
        exported = match_export(self._exports, name)
        path: tuple[str, ...]
        if exported is None:
            raise LookupError(f"the component does not export {name!r}; it exports {sorted(self._exports)}")
        inner = self._exports[exported]
        if inner is None:
            path = (exported,)
        elif not arguments or not isinstance(arguments[0], str):
            raise LookupError(
                f"{exported!r} is an interface: name one of its functions as the next argument: {sorted(inner)}"
            )
        elif arguments[0] not in inner:
            raise LookupError(f"{exported!r} has no function {arguments[0]!r}; it has {sorted(inner)}")
        else:
            path = (exported, arguments[0])
            arguments = arguments[1:]
        target = self._signatures.get(path)
        if target is None:
            target = self._signatures[path] = self._look_up(path)
        return target, arguments

    def _look_up(self, path: tuple[str, ...]) -> bindings.Signature:
        index: component.ExportIndex | None = None
        if self._instance is not None:
            for name in path:
                index = self._instance.get_export_index(self._store, name, index)
                if index is None:
                    break
            else:
                function = self._instance.get_func(self._store, index) if index is not None else None
                if function is not None:
                    return bindings.Signature(function, self._store)
        raise LookupError(f"{' '.join(path)} is not a function")

    # ------------------------------------------------------------ running
    async def _run(self, future: bindings.NativeCall) -> Any:
        """Poll a future to its end. If it does not end by returning, so does the guest."""
        scope = self._scope
        if scope is None:
            raise RuntimeError("not entered")
        returned = in_order = False
        try:
            with scope:
                await (self._drive_in_thread(future) if self._thread else self._drive(future))
                state = self._state
                error = future.error()
                if state.exception is not None:
                    exception, state.exception = state.exception, None
                    bindings.take_exception()
                    raise exception from error
                if error is not None:
                    raised = bindings.take_exception()
                    if raised is not None:
                        raise raised from error
                    in_order = isinstance(error, ExitTrap)
                    refused = None if in_order else because_of_memory(self._limits, self._state.memory_places)
                    if refused is not None:
                        raise refused from error
                    raise error
                result = future.result()
                returned = True
                return result
            raise self._why_closed("the guest was closed while this call ran")
        finally:
            if not self._abandoned:
                future.delete()
            if not returned:
                self._end(aborted=not in_order)

    async def _drive(self, future: bindings.NativeCall) -> None:
        state = self._state
        context = self._context
        running = self._engine.running
        ticker = self._engine.ticker
        poll = self._poll
        address = future.address
        parked = False

        def poll_once() -> bool:
            running[context] = state
            if ticker is not None and not ticker.due:
                ticker.arm()
            try:
                return poll(address)
            finally:
                del running[context]

        if self._share is not None:
            await drive_within(self._share, state, poll_once)
            return
        stepper = Stepper(state, running, poll_once)
        clock = state.clock
        done = poll_once()
        while not done:
            parked = True
            pending = state.pending
            if pending is None:
                self._yielded()
                await trio.lowlevel.checkpoint()  # the end of its tick
            else:
                state.pending = None
                if pending.__class__ is Wait:
                    if not await stepper.park(pending):
                        done = stepper.done
                        # What it waits for now was found not to be there inside the operation that woke it. Whoever
                        # did that has run on since, with nobody to be woken.
                        clock.late = True
                        continue
                else:
                    value = await pending
                    clock.late = False
                    write_result(state.result_slot, value)
                    state.flag.set()
                if ticker is not None:
                    ticker.put_off()
            done = poll_once()
        if not parked:
            await trio.lowlevel.cancel_shielded_checkpoint()

    _poll = staticmethod(bindings.poll)

    def _yielded(self) -> None:
        """It only computed for a whole tick; told by a `TracedGuest`."""

    async def _drive_in_thread(self, future: bindings.NativeCall) -> None:
        state = self._state
        handed_back = _HandedBack(state)
        while True:
            if self._share is not None:
                await self._share.settle()
            turn = _Turn(self, future, handed_back)
            try:
                # One token each: a guest that blocks must not use up the threads of the rest of the program.
                done = await trio.to_thread.run_sync(
                    turn.run, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1)
                )
            except BaseException:
                self._abandoned = turn.abandon()
                raise
            if done:
                return
            pending = state.pending
            if pending is None:
                await trio.lowlevel.checkpoint()
            else:
                state.pending = None
                value = await pending
                write_result(state.result_slot, value)
                state.flag.set()

    # ------------------------------------------------------------ ending
    def _end(self, *, aborted: bool = False) -> None:
        if self._lifetime is not None:
            self._lifetime.cancel()
        if self._state.closed:
            return
        errors: list[BaseException] = []
        if aborted and self._on_abort is not None:
            # Before the handles are closed, which to those at the other end looks like an end in order.
            try:
                self._on_abort()
            except BaseException as error:
                errors.append(error)
        errors.extend(self._state.close())
        if not self._abandoned:
            self._release()
        if errors:
            raise BaseExceptionGroup("closing what a guest held failed", errors)

    def _release(self) -> None:
        """The store is free for its owner."""
        self._engine.stores.pop(self._context, None)
        if self._engine.ticker is not None:
            self._engine.ticker.release()

    def _why_closed(self, otherwise: str) -> GuestClosedError | GuestLimitError:
        lifetime = self._lifetime
        return GuestClosedError(otherwise) if lifetime is None or not lifetime.over else lifetime.error()

    def _expire(self) -> None:
        if self._scope is None:
            self._end(aborted=True)
        else:
            self._scope.cancel()

    @trio.lowlevel.enable_ki_protection
    async def aclose(self) -> None:
        """End the guest. A call that is running is cancelled and raises `GuestClosedError`. Idempotent."""
        scope, finished = self._scope, self._finished
        if scope is not None and finished is not None:
            scope.cancel()
            with trio.CancelScope(shield=True):
                await finished.wait()
        self._end()
        if self._lifetime is not None and self._lifetime.failure is not None:
            failure, self._lifetime.failure = self._lifetime.failure, None
            raise failure


class _HandedBack:
    """A guest that is polled in a worker thread: what it calls runs on the trio thread."""

    __slots__ = ("_state", "calls")

    def __init__(self, state: GuestState) -> None:
        self._state = state
        self.calls: Any = self

    def __getitem__(self, item: int) -> Callable[..., Any]:
        return lambda *arguments: self._hand(self._state.dispatch, item, arguments)

    def _hand(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if self._state.closed:
            raise GuestClosedError("the guest has ended")
        return trio.from_thread.run_sync(_boxed, function, arguments)[0]

    def resume(self, word: int) -> object:
        return self._hand(self._state.resume, word)

    def push(self, data: bytes) -> object:
        return self._hand(self._state.push, data)

    def pull(self) -> bytes:
        data: bytes = self._hand(self._state.pull)
        return data

    def suspend(self, operation: object, result_slot: int) -> int:
        return self._state.suspend(operation, result_slot)

    def remember(self, error: BaseException) -> None:
        self._state.remember(error)

    def unknown_item(self, *arguments: int) -> int:
        return self._state.unknown_item(*arguments)


def _boxed(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any]:
    # trio refuses to hand over a coroutine, which is what an item that suspends may answer with.
    return (function(*arguments),)


class _Turn:
    """One stretch of polling in a worker thread, which the task that waits for it may have to leave behind."""

    def __init__(self, guest: Guest, future: bindings.NativeCall, callbacks: CallbackGuest) -> None:
        self._guest = guest
        self._future = future
        self._callbacks = callbacks
        self._lock = threading.Lock()
        self._over = False
        self._free_store: Callable[[], None] | None = None

    def run(self) -> bool:
        """Poll until the guest is done or waits. Runs in the worker thread."""
        guest = self._guest
        state, engine = guest._state, guest._engine
        engine.running[guest._context] = self._callbacks
        if engine.ticker is not None and not engine.ticker.due:
            engine.ticker.arm()
        done = False
        share = guest._share
        address = self._future.address
        try:
            while not done and state.pending is None and self._free_store is None:
                if share is None:
                    done = bindings.poll(address)
                else:
                    done = share.poll(lambda: bindings.poll(address))
                    if share.overdrawn:
                        break
        finally:
            engine.running.pop(guest._context, None)
            with self._lock:
                self._over = True
                free_store = self._free_store
            if free_store is not None:
                state.discard_pending()  # it may have suspended just after it was left
                self._future.delete()
                guest._release()  # first: a freed store's address may be that of the next one at once
                free_store()
        return done

    def abandon(self) -> bool:
        """Leave the thread to itself, unless it is over. It then deletes the future and frees the store.

        Returns:
            Whether the thread still runs.
        """
        with self._lock:
            if not self._over:
                self._free_store = bindings.detach_store(self._guest._store)
            return not self._over


@asynccontextmanager
@trio.lowlevel.enable_ki_protection
async def instantiate(
    linker: component.Linker,
    store: Store,
    guest: component.Component,
    *,
    functions: Functions | None = None,
    items: Sequence[Item] = (),
    thread: bool = False,
    direct_memory: bool = True,
    max_handles: int = DEFAULT_LIMIT,
    on_abort: Callable[[], object] | None = None,
    make_guest: Callable[..., Guest] = Guest,
    limits: GuestLimits = _UNLIMITED,
) -> AsyncIterator[Guest]:
    """Instantiate a component and keep it until the end of the block.

    Args:
        linker: has the component's imports, and `add_to_linker` was called for it when there are `items`.
        store: where it will live; one guest at a time. Its WASI configuration is the caller's.
        guest: the component, rewritten when there are `items`.
        functions: what the guest's replaced imports call.
        items: the interposer's table for this component.
        thread: poll the guest in a worker thread, its host calls handed back to the trio thread: for guests
            whose stock calls may block. A call that is cancelled while it blocks leaves its thread behind; the
            store then counts as closed, and is freed when the thread returns.
        direct_memory: allow Python to use the guest's memory by address where that is possible.
        max_handles: the most virtual handles that each component instance in the guest may hold.
        on_abort: called when the guest ends neither by returning nor by exiting (it trapped, its call was
            cancelled, a host function raised), before `close` is called on the objects it held.
        make_guest: another kind of `Guest`.
        limits: what it may have at most. Those of memories, tables and instances replace all of the store's own.

    Raises:
        ValueError: the linker lacks the host functions, the store belongs to another engine than the linker,
            or is closed; a limit of `cpu` for an engine that was not made from `config()`.
        GuestBusyError: the store already has a guest.
        GuestLimitError: the guest needs more than it may have, or this process has no room for another.
        wasmtime.WasmtimeError: the component cannot be instantiated.
    """
    if items and not has_host_functions(linker):
        raise ValueError("the component was interposed: call add_to_linker(linker) before instantiating it")
    if store.engine is not linker.engine:
        raise ValueError("the store and the linker belong to different engines")
    engine = engine_state(store.engine)
    if limits.cpu is not None and engine.ticker is None:
        raise ValueError(
            "a limit of cpu needs an engine that preempts guests: make it from wasi_sockets.config()"
        )
    context = bindings.context_address(store)
    if context in engine.stores:
        raise GuestBusyError("the store already has a guest; each needs a store of its own")
    process_mappings.admit()
    direct = direct_memory and engine.direct_memory and direct_memory_is_possible()
    state = GuestState(
        functions or {},
        items,
        direct_memory=direct,
        max_handles=max_handles,
        max_pollables=limits.pollables,
    )
    limit_store(store, limits)
    running = make_guest(state, engine, store, guest, thread, on_abort, limits)
    engine.stores[context] = state
    if engine.ticker is not None:
        engine.ticker.acquire(store.engine)
        bindings.yield_on_epochs(store)
    try:
        if limits.lifetime is not None:
            running._lifetime = Lifetime(limits.lifetime, running._expire)
        if (direct and items) or limits.memory is not None:
            state.memory_candidates = (
                predict_memories()
            )  # after the ticker, whose thread takes memory as well
        await running._start(linker)
        yield running
    finally:
        await running.aclose()
