"""The items that the shim itself calls: streams, readiness, drops, time, and the search for memory.

They are closures over a guest's tables, built when first called, since a guest's round trip consists of little
else. Each takes the size of the guest's memory in pages (0 for items without memory) and then the arguments that
docs/architecture.md lists. Numbers are unsigned; a negative i32 goes out as its 32-bit pattern.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import trio

from wasi_sockets.component.types import Borrow
from wasi_sockets.engine import commands
from wasi_sockets.engine.early import take_back
from wasi_sockets.engine.handles import INPUT_STREAM, OUTPUT_STREAM, HandleTable
from wasi_sockets.engine.stepping import Wait
from wasi_sockets.errors import GuestLimitError, GuestTrap
from wasi_sockets.interposer.items import POLLABLE_LIMIT, TRAPS, Item

if TYPE_CHECKING:
    from wasi_sockets.engine.guest import GuestState

__all__ = ["build"]

_MASK = 0xFFFF_FFFF
_MAXIMUM = 0x7FFF_FFFF
_NOT_THERE = -3 & _MASK
_PEER_SPEAKS = 1 << 32
_NO_TIMEOUT = 1 << 63
_MAXIMUM_WATCHED = 1 << 17
"""Virtual objects that one poll may wait for: more than a guest can have handles by default, and an end to one
that names the same again and again."""
_CROWD = 4096
"""So many objects are looked at in one go; a longer list lets other tasks run in between."""

_INPUT, _OUTPUT, _OTHER = 1, 2, 3

Call = Callable[..., Any]


def build(guest: GuestState, item: Item) -> Call:
    """The function that answers a fast path or a drop.

    Raises:
        GuestTrap: this version knows no fast path of that name.
    """
    if item.resource is not None:
        return _drop(guest, item)
    make = _FAST_PATHS.get(item.name)
    if make is None:
        raise GuestTrap(f"the component was rewritten by another version: unknown fast path {item.name!r}")
    return make(guest, item)


def _level(value: int) -> int:
    """A count of bytes or a negative state, as the i32 that the shim expects."""
    if value < 0:
        return value & _MASK
    return value if value <= _MAXIMUM else _MAXIMUM


# ---------------------------------------------------------------- streams
def _attach(guest: GuestState, item: Item) -> Call:
    table = guest.table(item.realm)
    resources: dict[int, str] = {}  # item number, plus one -> what its first parameter is a handle of

    def attach(_pages: int, code: int) -> int:
        wanted, handle = code >> 32, code & _MASK
        if wanted:
            resource = resources.get(wanted)
            if resource is None:
                resource = resources[wanted] = _receiver(guest.item(wanted - 1))
            table.get(resource, handle)
            return _OTHER
        stream = table.inputs.get(handle)
        if stream is not None:
            return _INPUT | _level(stream.available()) << 32
        stream = table.outputs.get(handle)
        if stream is not None:
            return _OUTPUT | _level(stream.permit()) << 32
        if handle in table.others:
            return _OTHER
        raise table.unknown(handle)

    return attach


def _receiver(item: Item | None) -> str:
    """The resource whose method an item is."""
    if item is not None and item.function_type is not None and item.function_type.parameters:
        receiver = item.function_type.parameters[0][1]
        if isinstance(receiver, Borrow):
            return f"{receiver.resource.interface}.{receiver.resource.name}"
    raise GuestTrap("the component's table is inconsistent: no method of a resource")


def _avail(guest: GuestState, item: Item) -> Call:
    table = guest.table(item.realm)
    inputs = table.inputs

    def avail(_pages: int, handle: int) -> int:
        try:
            stream = inputs[handle]
        except KeyError:
            raise table.unknown(handle, INPUT_STREAM) from None
        value: int = stream.available()
        return value if 0 <= value <= _MAXIMUM else _level(value)

    return avail


def _recv(guest: GuestState, item: Item) -> Call:
    table = guest.table(item.realm)
    inputs = table.inputs
    memory = guest.memory(_memory_number(item))

    def recv(pages: int, handle: int, address: int, size: int) -> Any:
        try:
            stream = inputs[handle]
        except KeyError:
            raise table.unknown(handle, INPUT_STREAM) from None
        if address + size > pages << 16:
            commands.check_range(address, size, pages)
        if size > stream.available():
            return _NOT_THERE
        base = memory.base if pages == memory.pages else memory.address(pages)
        if not base:
            return guest.start(_copy_recv(guest, stream, address, size))
        if size:
            data = stream.receive(size)
            # What follows writes `size` bytes at an address: a stream that breaks its contract must not get there.
            if data.__class__ is not bytes or len(data) != size:
                raise _broken_contract(stream, size, data)
            memory.view[address : address + size] = data
        value: int = stream.available()
        return value if 0 <= value <= _MAXIMUM else _level(value)

    return recv


def _received(stream: Any, size: int) -> bytes:
    if not size:
        return b""
    data: bytes = stream.receive(size)
    if data.__class__ is not bytes or len(data) != size:
        raise _broken_contract(stream, size, data)
    return data


def _broken_contract(stream: Any, size: int, data: Any) -> RuntimeError:
    return RuntimeError(f"{type(stream).__name__}.receive({size}) gave {len(data)} {type(data).__name__}")


def _copy_recv(guest: GuestState, stream: Any, address: int, size: int) -> commands.Operation:
    guest.outgoing = _received(stream, size)
    yield commands.write(address)
    return _level(stream.available())


def _permit(guest: GuestState, item: Item) -> Call:
    table = guest.table(item.realm)
    outputs = table.outputs

    def permit(_pages: int, handle: int) -> int:
        try:
            stream = outputs[handle]
        except KeyError:
            raise table.unknown(handle, OUTPUT_STREAM) from None
        value: int = stream.permit()
        if not 0 <= value <= _MAXIMUM:
            value = _level(value)
        peer = stream.peer
        if peer is not None and peer.available():
            return value | _PEER_SPEAKS
        return value

    return permit


def _send(guest: GuestState, item: Item) -> Call:
    table = guest.table(item.realm)
    outputs = table.outputs
    memory = guest.memory(_memory_number(item))

    def send(pages: int, handle: int, address: int, size: int) -> Any:
        try:
            stream = outputs[handle]
        except KeyError:
            raise table.unknown(handle, OUTPUT_STREAM) from None
        if address + size > pages << 16:
            commands.check_range(address, size, pages)
        value: int = stream.permit()
        if size > value:
            if value < 0:
                return _level(value)
            raise GuestTrap(f"{TRAPS[3]}: {size} bytes, {value} permitted")
        base = memory.base if pages == memory.pages else memory.address(pages)
        if not base:
            return guest.start(_copy_send(stream, address, size))
        value = stream.send(memory.view[address : address + size].tobytes())
        if not 0 <= value <= _MAXIMUM:
            value = _level(value)
        peer = stream.peer
        if peer is not None and peer.available():
            return value | _PEER_SPEAKS
        return value

    return send


def _copy_send(stream: Any, address: int, size: int) -> commands.Operation:
    data = b""
    while size:
        part = min(size, commands.MAXIMUM_READ)
        data += yield commands.read(address, part)
        address += part
        size -= part
    value = _level(stream.send(data))
    peer = stream.peer
    return value | _PEER_SPEAKS if peer is not None and peer.available() else value


def _flush(guest: GuestState, item: Item) -> Call:
    table = guest.table(item.realm)

    def flush(_pages: int, handle: int) -> int:
        return _level(table.get(OUTPUT_STREAM, handle).flush())

    return flush


def _failure(guest: GuestState, item: Item) -> Call:
    table = guest.table(item.realm)

    def failure(_pages: int, handle: int) -> int:
        stream = table.inputs.get(handle)
        if stream is None:
            stream = table.outputs.get(handle)
        if stream is None:
            raise table.unknown(handle)
        return table.add("wasi:io/error.error", stream.error())

    return failure


def _memory_number(item: Item) -> int:
    if item.memory is None:
        raise GuestTrap(f"the component's table is inconsistent: {item.name} without a memory")
    return item.memory


# ---------------------------------------------------------------- drops and traps
def _drop(guest: GuestState, item: Item) -> Call:
    drop = _dropper(guest, item)

    def call(_pages: int, handle: int) -> int:
        drop(handle)
        return 0

    return call


def _dropper(guest: GuestState, item: Item) -> Callable[[int], None]:
    resource = item.resource or ""
    remove = guest.table(item.realm).remover(resource)
    interface, _, name = resource.rpartition(".")
    dropped = guest.functions.get((interface, f"[resource-drop]{name}"))

    def drop(handle: int) -> None:
        target = remove(handle)
        if dropped is not None:
            dropped(target)
        else:
            close = getattr(target, "close", None)
            if close is not None:
                close()

    return drop


def _drops(guest: GuestState, item: Item) -> Call:
    known: dict[int, Callable[[int], None]] = {}

    def drops(_pages: int, *codes: int) -> int:
        for code in codes:
            if code:
                number = code >> 32
                drop = known.get(number)
                if drop is None:
                    drop = known[number] = _drop_of(guest, number, item.realm)
                drop(code & _MASK)
        return 0

    return drops


def _drop_of(guest: GuestState, number: int, realm: int) -> Callable[[int], None]:
    item = guest.item(number)
    if item is None or item.resource is None or item.realm != realm:
        raise GuestTrap(f"the component's table is inconsistent: item {number} drops nothing here")
    return _dropper(guest, item)


def _trap(guest: GuestState, _item: Item) -> Call:
    def trap(_pages: int, reason: int, detail: int) -> int:
        if reason == POLLABLE_LIMIT:
            raise GuestLimitError(
                "pollables",
                f"the guest has {guest.max_pollables} pollables, as many as limits.pollables allows",
            )
        text = TRAPS[reason] if reason < len(TRAPS) else TRAPS[0]
        raise GuestTrap(f"{text} ({detail:#x})" if detail else text)

    return trap


# ---------------------------------------------------------------- readiness
def _probe(table: HandleTable, code: int) -> tuple[Any, Callable[[], Any]]:
    """What a code stands for, and the function that says whether it is ready."""
    kind, handle = code >> 32, code & _MASK
    if kind == _INPUT and handle in table.inputs:
        target = table.inputs[handle]
        return target, target.available
    if kind == _OUTPUT and handle in table.outputs:
        target = table.outputs[handle]
        return target, target.ready
    if kind == _OTHER and handle in table.others:
        target = table.others[handle]
        return target, target.ready
    raise table.unknown(handle)


def _check(guest: GuestState, item: Item) -> Call:
    table = guest.table(item.realm)

    def check(_pages: int, code: int) -> int:
        return _level(int(_probe(table, code)[1]()))

    return check


def _wait(guest: GuestState, item: Item) -> Call:
    table = guest.table(item.realm)
    clock = guest.clock

    def wait(_pages: int, code: int, timeout: int) -> int | Awaitable[int]:
        target, probe = _probe(table, code)
        state = int(probe())
        if state:
            return _level(state)
        if not timeout:
            return 0
        if timeout >= _NO_TIMEOUT:
            return Wait(clock, target, probe)
        return wait_for(target, probe, clock.now() + timeout)

    async def wait_for(target: Any, probe: Callable[[], Any], deadline: int) -> int:
        if clock.late:
            state = int(probe())
            if state:
                return _level(state)
        wake = clock.wake
        try:
            while True:
                clock.clear()
                target.add_waiter(wake)
                await clock.park(deadline)
                state = int(probe())
                if state:
                    return _level(state)
                if clock.now() >= deadline:
                    return 0
        finally:
            target.remove_waiter(wake)

    return wait


def _watch(guest: GuestState, item: Item) -> Call:
    table = guest.table(item.realm)
    watched: list[Any] = guest.watched(item.realm)

    def watch(_pages: int, *codes: int) -> int:
        if len(watched) > _MAXIMUM_WATCHED:
            raise GuestTrap(TRAPS[8])
        watched.extend([_probe(table, code) for code in codes if code])
        return 0

    return watch


def _wait_many(guest: GuestState, item: Item) -> Call:
    watched: list[Any] = guest.watched(item.realm)
    clock = guest.clock

    def wait_many(_pages: int, timeout: int) -> int | Awaitable[int]:
        targets = list(watched)
        watched.clear()
        if len(targets) > _CROWD:
            return wait_in_crowd(targets, None if timeout >= _NO_TIMEOUT else clock.now() + timeout)
        bits = ready_bits(targets)
        if bits or not timeout:
            return bits
        return wait_for(targets, None if timeout >= _NO_TIMEOUT else clock.now() + timeout)

    def ready_bits(targets: list[tuple[Any, Callable[[], Any]]]) -> int:
        bits = 0
        for index, (_, probe) in enumerate(targets):
            if probe():
                bits |= 1 << (index if index < 62 else 62)
        return bits

    async def wait_for(targets: list[tuple[Any, Callable[[], Any]]], deadline: int | None) -> int:
        if clock.late:
            bits = ready_bits(targets)
            if bits:
                return bits
        wake = clock.wake
        try:
            while True:
                clock.clear()
                for target, _ in targets:
                    target.add_waiter(wake)
                await clock.park(deadline)
                bits = ready_bits(targets)
                if bits or (deadline is not None and clock.now() >= deadline):
                    return bits
        finally:
            for target, _ in targets:
                target.remove_waiter(wake)

    async def wait_in_crowd(targets: list[tuple[Any, Callable[[], Any]]], deadline: int | None) -> int:
        wake = clock.wake
        parts = [targets[start : start + _CROWD] for start in range(0, len(targets), _CROWD)]
        watching = False
        try:
            while True:
                clock.clear()  # a wake from here on is not lost: `park` then returns at once
                bits = 0
                for part in parts:
                    if watching:
                        for target, _ in part:
                            target.add_waiter(wake)
                    found = ready_bits(part)
                    bits |= found if part is parts[0] else bool(found) << 62
                    await trio.lowlevel.checkpoint()
                if bits or (deadline is not None and clock.now() >= deadline):
                    break
                if watching:
                    await clock.park(deadline)
                watching = True
            for part in parts if watching else ():
                for target, _ in part:
                    target.remove_waiter(wake)
                await trio.lowlevel.checkpoint()
        except BaseException:
            for target, _ in targets:
                target.remove_waiter(wake)
            raise
        return bits

    return wait_many


# ---------------------------------------------------------------- time and the search for memory
def _sleep(guest: GuestState, _item: Item) -> Call:
    clock = guest.clock

    def sleep(_pages: int, duration: int) -> Coroutine[Any, Any, int]:
        return sleep_until(duration, None if duration >= _NO_TIMEOUT else clock.now() + duration)

    async def sleep_until(duration: int, deadline: int | None) -> int:
        if not duration:
            await trio.lowlevel.checkpoint()
            return 0
        clock.clear()
        while deadline is None or clock.now() < deadline:
            await clock.park(deadline)
        return 0

    return sleep


def _hello(guest: GuestState, _item: Item) -> Call:
    flags = int(guest.clock.virtual) | (0 if guest.direct_memory else 2) | (guest.max_pollables or 0) << 2
    return lambda _pages: flags


def _now(guest: GuestState, _item: Item) -> Call:
    now = guest.clock.now
    return lambda _pages: now()


def _locate(guest: GuestState, item: Item) -> Call:
    return guest.memory(_memory_number(item)).locate


_FAST_PATHS: dict[str, Callable[[GuestState, Item], Call]] = {
    "attach": _attach,
    "avail": _avail,
    "check": _check,
    "drops": _drops,
    "failure": _failure,
    "flush": _flush,
    "hello": _hello,
    "locate": _locate,
    "now": _now,
    "permit": _permit,
    "recv": _recv,
    "send": _send,
    "sleep": _sleep,
    "take-back": take_back,
    "trap": _trap,
    "wait": _wait,
    "wait-many": _wait_many,
    "watch": _watch,
}
