"""The native callbacks by which a guest reaches Python: one for each function of `wasi-sockets:shim/host`.

They are on the path of every call that a guest makes, so they read arguments and write results by address and
their source is generated for each number of arguments. Like `bindings.py` this file may touch private parts.

What a callback may do (wasmtime, `crates/c-api/src/component/linker.rs`): nothing may be raised into native
code; `error_out` of an async function is read only when the callback returns; an async function must always
set its continuation; its result slot stays valid until the continuation has said that it is done.
"""

from __future__ import annotations

import ctypes
import itertools
import struct
from collections.abc import Callable, Mapping
from functools import cache, partial
from types import CodeType
from typing import Any, Protocol

from wasmtime import component

from wasi_sockets.engine.bindings import error_from_address, raw_function, strlen_address

__all__ = ["MAXIMUM_ARITY", "CallbackGuest", "Flag", "define_functions", "write_result"]

MAXIMUM_ARITY = 15
"""The most core arguments an item can have: 16 flat parameters would leave no room for the word."""

_STRING = 12
_U64 = 8
_VALUE_SIZE = 32
_MAXIMUM_VIEWS = 256


class CallbackGuest(Protocol):
    """What the callbacks need of a guest."""

    calls: Any  # item id -> function of (memory pages, *arguments); a list, or something that is indexed like one

    def resume(self, word: int) -> object: ...
    def push(self, data: bytes) -> object: ...
    def pull(self) -> bytes: ...
    def suspend(self, operation: object, result_slot: int) -> int: ...
    def remember(self, error: BaseException) -> None: ...
    def unknown_item(self, *arguments: int) -> int: ...


class Flag:
    """A flag that native code reads through `strlen`: whether a suspended host function is done.

    Attributes:
        address: what goes into a continuation's `env`.
    """

    __slots__ = ("_bytes", "address")

    def __init__(self) -> None:
        self._bytes = (ctypes.c_uint8 * 2)()
        self.address = ctypes.addressof(self._bytes)

    def clear(self) -> None:
        self._bytes[0] = 0

    def set(self) -> None:
        self._bytes[0] = 1


_strlen = strlen_address()
_done = Flag()
_done.set()

_RESULT = ctypes.c_uint64 * 2
_CONTINUATION = ctypes.c_uint64 * 3
_error_new = raw_function("wasmtime_error_new", ctypes.c_void_p, ctypes.c_char_p)
_bytes_new = raw_function("wasm_byte_vec_new", None, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)

_pointer = ctypes.c_void_p
_SYNC = ctypes.CFUNCTYPE(
    _pointer, _pointer, _pointer, _pointer, _pointer, ctypes.c_size_t, _pointer, ctypes.c_size_t
)
_ASYNC = ctypes.CFUNCTYPE(
    None,
    _pointer,
    _pointer,
    _pointer,
    _pointer,
    ctypes.c_size_t,
    _pointer,
    ctypes.c_size_t,
    _pointer,
    _pointer,
)


_result_slots: dict[int, memoryview] = {}


def write_result(slot: int, value: int) -> None:
    """Write a `u64` component value to the address `slot`."""
    try:
        result = _result_slots[slot]
    except KeyError:
        result = _view(_result_slots, _RESULT, slot)
    result[0] = _U64
    result[1] = value


class _WrongShapeError(Exception):
    """A component declared a function of the shim with a type of its own."""

    def __str__(self) -> str:
        return "a function of wasi-sockets:shim/host was imported with another type"


def _failed(guests: Mapping[int, CallbackGuest], context: int, error: BaseException) -> int:
    """Remember `error` for the task that called the guest, and make the native error that ends the guest."""
    try:
        guest = guests.get(context)
        if guest is None:
            text = "wasi-sockets: called by a component that wasi_sockets.instantiate is not running"
        else:
            guest.remember(error)
            text = f"{type(error).__name__}: {error}"
    except BaseException:  # a __str__ that raises
        text = type(error).__name__
    address: int = _error_new(text.encode("utf-8", "replace").replace(b"\0", b"?"))
    return address


_SYNC_SOURCE = """
def callback(env, context, type_, arguments, count, results, result_count):
    try:
        guest = guests[context]
        if count != {count} or result_count != 1:
            raise WrongShape
{call}
        try:
            out = slots[results]
        except KeyError:
            out = view_slot(results)
        out[0] = 8
        out[1] = answer
        return None
    except BaseException as error:
        return failed(guests, context, error)
"""

_ASYNC_SOURCE = """
def callback(env, context, type_, arguments, count, results, result_count, error_out, continuation):
    try:
        then = continuations[continuation]
    except KeyError:
        then = view_continuation(continuation)
    then[0] = strlen
    then[1] = done
    try:
        guest = guests[context]
        if count != {count} or result_count != 1:
            raise WrongShape
{call}
        if answer.__class__ is int:
            try:
                out = slots[results]
            except KeyError:
                out = view_slot(results)
            out[0] = 8
            out[1] = answer
        else:
            then[1] = guest.suspend(answer, results)
    except BaseException as error:
        Word(error_out).value = failed(guests, context, error)
"""

_ITEM = """
        try:
            values = blocks[arguments]
        except KeyError:
            values = view_block(arguments)
        {names} = unpack(values)
        try:
            call = guest.calls[word & 0xffffffff]
        except IndexError:
            call = guest.unknown_item
        answer = call(word >> 32{arguments})
"""

_RESUME = """
        answer = guest.resume(Arguments(arguments)[1])
"""

_PUSH = """
        answer = guest.push(read_string(arguments))
"""


def _read_string(address: int) -> bytes:
    kind, size, data = (ctypes.c_uint64 * 3).from_address(address)
    if kind & 0xFF != _STRING:
        raise _WrongShapeError
    text = ctypes.string_at(data, size)
    # Bytes travel as the code points of latin1; ASCII, the common case, is the same in UTF-8.
    return text if text.isascii() else text.decode().encode("latin-1")


def _view(views: dict[int, memoryview], shape: Any, address: int) -> memoryview:
    """A view of native memory at an address, remembered in `views`.

    The values of calls lie at few addresses, again and again, and making a view takes longer than all reading and
    writing through it. A remembered one is only used while native code says that its values lie there.
    """
    if len(views) >= _MAXIMUM_VIEWS:
        views.clear()
    view = memoryview(shape.from_address(address)).cast("B")
    if shape._type_ is ctypes.c_uint64:
        view = view.cast("Q")
    views[address] = view
    return view


def _generate(source: str, call: str, count: int, guests: Mapping[int, CallbackGuest]) -> Any:
    blocks: dict[int, memoryview] = {}
    slots: dict[int, memoryview] = {}
    continuations: dict[int, memoryview] = {}
    namespace: dict[str, Any] = {
        "guests": guests,
        "failed": _failed,
        "WrongShape": _WrongShapeError,
        "Arguments": (ctypes.c_uint64 * (4 * count)).from_address,
        "continuations": continuations,
        "view_continuation": partial(_view, continuations, _CONTINUATION),
        "blocks": blocks,
        "view_block": partial(_view, blocks, ctypes.c_uint8 * (_VALUE_SIZE * count)),
        "unpack": struct.Struct("8xQ16x" * count).unpack_from,
        "slots": slots,
        "view_slot": partial(_view, slots, _RESULT),
        "Word": ctypes.c_uint64.from_address,
        "strlen": _strlen,
        "done": _done.address,
        "read_string": _read_string,
    }
    exec(_compiled(source, call, count), namespace)
    return (_SYNC if source is _SYNC_SOURCE else _ASYNC)(namespace["callback"])


@cache
def _compiled(source: str, call: str, count: int) -> CodeType:
    # Once, as it takes a quarter of a millisecond for each of 34: most of what starting a small guest would take.
    return compile(source.format(count=count, call=call.strip("\n")), "<callback>", "exec")


def _item_callback(source: str, arity: int, guests: Mapping[int, CallbackGuest]) -> Any:
    names = [f"a{index}" for index in range(arity)]
    arguments = "".join(f", {name}" for name in names)
    item = _ITEM.format(names=", ".join(["word", *names]) + ",", arguments=arguments)
    return _generate(source, item, arity + 1, guests)


def _pull_callback(guests: Mapping[int, CallbackGuest]) -> Any:
    def callback(
        _env: int | None,
        context: int,
        _type: int,
        _arguments: int,
        count: int,
        results: int,
        result_count: int,
    ) -> int | None:
        try:
            guest = guests[context]
            if count != 0 or result_count != 1:
                raise _WrongShapeError
            data = guest.pull()
            text = data if data.isascii() else data.decode("latin-1").encode()
            _bytes_new(results + 8, len(text), text)
            ctypes.c_uint8.from_address(results).value = _STRING
            return None
        except BaseException as error:
            return _failed(guests, context, error)

    return _SYNC(callback)


_kept: dict[int, object] = {}
_keys = itertools.count(1)


def _drop(key: int | None) -> None:
    # Called by native code when the last linker, instance or store that could call a function is gone: only
    # then may its callback be freed. At interpreter exit the dictionary may be gone first.
    if _kept and key is not None:
        _kept.pop(key, None)


_Finalizer = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_dropped = _Finalizer(_drop)


def define_functions(linker: component.Linker, interface: str, guests: Mapping[int, CallbackGuest]) -> None:
    """Define `call0`..`call15`, `wait0`..`wait15`, `resume`, `push` and `pull` under `interface`.

    Args:
        linker: to define them in. It, and everything instantiated from it, keeps the callbacks alive.
        interface: the name of the imported instance.
        guests: by store-context address, the guests that are being polled now.

    Raises:
        wasmtime.WasmtimeError: the names are taken already.
    """
    functions: dict[str, tuple[Any, bool]] = {}
    for arity in range(MAXIMUM_ARITY + 1):
        functions[f"call{arity}"] = (_item_callback(_SYNC_SOURCE, arity, guests), False)
        functions[f"wait{arity}"] = (_item_callback(_ASYNC_SOURCE, arity, guests), True)
    # An item that suspends may do so only once its arguments have been read: resume and push suspend too.
    functions["resume"] = (_generate(_ASYNC_SOURCE, _RESUME, 1, guests), True)
    functions["push"] = (_generate(_ASYNC_SOURCE, _PUSH, 1, guests), True)
    functions["pull"] = (_pull_callback(guests), False)
    with linker.root() as root, root.add_instance(interface) as instance:
        target = ctypes.cast(instance.ptr(), ctypes.c_void_p).value
        for name, (callback, is_async) in functions.items():
            key = next(_keys)
            _kept[key] = callback
            encoded = name.encode()
            define = _add_async if is_async else _add_sync
            error = define(target, encoded, len(encoded), callback, key, _dropped)
            if error:
                raise error_from_address(error)


_add_sync: Callable[..., int | None] = raw_function(
    "wasmtime_component_linker_instance_add_func",
    _pointer,
    _pointer,
    ctypes.c_char_p,
    ctypes.c_size_t,
    _SYNC,
    ctypes.c_void_p,
    _Finalizer,
)
_add_async: Callable[..., int | None] = raw_function(
    "wasmtime_component_linker_instance_add_func_async",
    _pointer,
    _pointer,
    ctypes.c_char_p,
    ctypes.c_size_t,
    _ASYNC,
    ctypes.c_void_p,
    _Finalizer,
)
