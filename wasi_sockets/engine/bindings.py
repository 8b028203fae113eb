"""Everything the engine uses of the private parts of the PyPI package `wasmtime`, in one place.

The package gives no public way to call a component as a future, to define a function without its slow
value conversion, or to learn a store's context address; the C library beneath has all three. This file and
`bindings_callbacks.py` are the only ones that touch `wasmtime._bindings`, `wasmtime._ffi` and underscored
members. `bindings_check.py` lists what they rely on, and is asked at import.

The rules of the C API followed here are those of wasmtime's `crates/c-api/src/async.rs` and
`crates/c-api/src/component/{func,linker}.rs` at version 50.
"""

from __future__ import annotations

import ctypes
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import wasmtime
from wasmtime import Engine, Store, WasmtimeError, _ffi, component
from wasmtime import _bindings as _capi
from wasmtime.component import _enter

from wasi_sockets.engine.self_check import require_usable

__all__ = [
    "NativeCall",
    "ObservedConfig",
    "Signature",
    "context_address",
    "detach_store",
    "error_from_address",
    "poll",
    "raw_function",
    "signature",
    "start_call",
    "start_instantiate",
    "strlen_address",
    "take_exception",
    "yield_on_epochs",
]

_VALUE_SIZE = 32
_VALUE_PAYLOAD = 8
_U8 = 2
_LIST = 13

require_usable()

if sys.version_info[:3] == (3, 14, 0):
    warnings.warn(
        "CPython 3.14.0 misjudges its stack limit inside callbacks from guests; use 3.14.1 or later",
        RuntimeWarning,
        stacklevel=2,
    )


def raw_function(name: str, result: Any, *parameters: Any) -> Any:
    """A C function with prototypes of our own: plain addresses where the package wants typed pointers.

    `dll[name]` makes a new function object each time, so the package's own prototypes stay as they are.
    """
    function = _ffi.dll[name]
    function.restype = result
    function.argtypes = parameters
    return function


_pointer = ctypes.c_void_p
_size = ctypes.c_size_t

poll: Callable[[int], bool] = raw_function("wasmtime_call_future_poll", ctypes.c_bool, _pointer)
"""Run a future, given by address, until it is done (True) or suspended (False). Releases the interpreter lock."""

_future_delete = raw_function("wasmtime_call_future_delete", None, _pointer)
_instantiate = raw_function(
    "wasmtime_component_linker_instantiate_async", _pointer, _pointer, _pointer, _pointer, _pointer, _pointer
)
_call = raw_function(
    "wasmtime_component_func_call_async",
    _pointer,
    _pointer,
    _pointer,
    _pointer,
    _size,
    _pointer,
    _size,
    _pointer,
)
_value_delete = raw_function("wasmtime_component_val_delete", None, _pointer)


def error_from_address(address: int) -> WasmtimeError:
    """Take over an error that the C library made. An exit of the guest becomes `wasmtime.ExitTrap`."""
    error: WasmtimeError = WasmtimeError._from_ptr(
        ctypes.cast(address, ctypes.POINTER(_capi.wasmtime_error_t))
    )
    return error


def take_exception() -> Exception | None:
    """What a function that the embedding program defined with `LinkerInstance.add_func` raised in the last poll.

    The package keeps it in one global until one of its own synchronous calls fails, which would then raise it: left
    there it would surface in a call that has nothing to do with it.
    """
    raised: Exception | None = _enter.LAST_EXCEPTION
    _enter.LAST_EXCEPTION = None
    return raised


def context_address(store: Store) -> int:
    """The address of a store's context: what callbacks receive, and so the name of the guest being run.

    Raises:
        ValueError: the store is closed.
    """
    return ctypes.cast(store._context(), ctypes.c_void_p).value or 0


def _linker_address(linker: component.Linker) -> int:
    return ctypes.cast(linker.ptr(), ctypes.c_void_p).value or 0


def yield_on_epochs(store: Store) -> None:
    """Have guests in this store suspend at every tick of their engine, instead of trapping."""
    context = store._context()
    _capi.wasmtime_context_set_epoch_deadline(context, 1)
    _capi.wasmtime_context_epoch_deadline_async_yield_and_update(context, 1)


def detach_store(store: Store) -> Callable[[], None]:
    """Take a store away from its Python object, which then counts as closed.

    For a guest that was abandoned in a thread: native code still runs in the store, so neither garbage
    collection nor the owner's `close()` may free it.

    Returns:
        A function that frees it.
    """
    pointer = store._consume()
    store._Store__context = None  # type: ignore[attr-defined]
    return lambda: _capi.wasmtime_store_delete(pointer)


class ObservedConfig(wasmtime.Config):
    """A `Config` that tells which engine was made from it, and keeps what was set.

    `Engine.__init__` calls `config._consume()` and keeps no trace of the config, so the engine is the `self`
    of the calling frame. When that fails in some release the engine is merely not recognised.

    Attributes:
        changed: name -> value of every setting that was assigned.
        memories_are_default: none of them is about how linear memories are laid out.
    """

    _memory_settings = frozenset(
        {"memory_may_move", "memory_reservation", "memory_guard_size", "memory_reservation_for_growth"}
    )

    def __init__(self, made: Callable[[Engine], None]) -> None:
        super().__init__()
        self._made = made
        self.memories_are_default = True
        self.changed: dict[str, object] = {}

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("_") and name not in ("changed", "memories_are_default"):
            self.changed[name] = value
        if name in self._memory_settings:
            self.memories_are_default = False
        super().__setattr__(name, value)

    def _consume(self) -> Any:
        pointer = super()._consume()
        engine = sys._getframe(1).f_locals.get("self")
        if isinstance(engine, Engine):
            self._made(engine)
        return pointer


class Signature:
    """An exported function with its types, looked up once."""

    __slots__ = ("function", "parameters", "result")

    def __init__(self, function: component.Func, store: Store) -> None:
        function_type = function.type(store)
        self.function = function
        self.parameters: list[Any] = [value_type for _, value_type in function_type.params]
        self.result: Any = function_type.result


def signature(function: component.Func, store: Store) -> Signature:
    """Look up the types of an exported function."""
    return Signature(function, store)


class NativeCall:
    """A future of the C library together with everything that must outlive it.

    Attributes:
        address: of the future; 0 once deleted.
    """

    __slots__ = ("_argument_count", "_arguments", "_error", "_finish", "_keep", "address")

    def __init__(
        self,
        address: int,
        error: Any,
        finish: Callable[[], Any],
        keep: object,
        arguments: Any = None,
        argument_count: int = 0,
    ) -> None:
        self.address = address
        self._error = error
        self._finish = finish
        self._keep = keep
        self._arguments = arguments
        self._argument_count = argument_count

    def delete(self) -> None:
        """Delete the future, which unwinds a guest that is suspended in it. Idempotent."""
        address, self.address = self.address, 0
        if address:
            _future_delete(address)
            start = ctypes.addressof(self._arguments) if self._argument_count else 0
            for index in range(self._argument_count):
                _value_delete(start + index * _VALUE_SIZE)
            self._argument_count = 0

    def error(self) -> WasmtimeError | None:
        """After the last poll: how the guest ended, when not by returning."""
        address = self._error.value
        if not address:
            return None
        self._error.value = None
        return error_from_address(address)

    def result(self) -> Any:
        """After the last poll, without an error: what the guest returned."""
        return self._finish()


def start_instantiate(linker: component.Linker, store: Store, guest: component.Component) -> NativeCall:
    """Begin to instantiate a component; the result is a `wasmtime.component.Instance`."""
    instance = _capi.wasmtime_component_instance_t()
    error = ctypes.c_void_p()
    address = _instantiate(
        _linker_address(linker),
        context_address(store),
        ctypes.cast(guest.ptr(), ctypes.c_void_p),
        ctypes.addressof(instance),
        ctypes.addressof(error),
    )
    return NativeCall(
        address,
        error,
        lambda: component.Instance._from_raw(instance),
        (linker, store, guest, instance),
    )


def start_call(target: Signature, store: Store, arguments: Sequence[Any]) -> NativeCall:
    """Begin to call an exported function.

    Raises:
        TypeError: the number or the types of the arguments do not fit.
    """
    parameters = target.parameters
    if len(arguments) != len(parameters):
        raise TypeError(f"the function takes {len(parameters)} arguments, {len(arguments)} were given")
    count = len(parameters)
    values = (_capi.wasmtime_component_val_t * max(1, count))()
    done = 0
    try:
        for value_type, argument in zip(parameters, arguments, strict=True):
            _to_native(value_type, store, argument, ctypes.pointer(values[done]))
            done += 1
    except BaseException:
        for index in range(done):
            _value_delete(ctypes.addressof(values) + index * _VALUE_SIZE)
        raise
    result = _capi.wasmtime_component_val_t()
    error = ctypes.c_void_p()
    function = target.function._func
    address = _call(
        ctypes.addressof(function),
        context_address(store),
        ctypes.addressof(values),
        count,
        ctypes.addressof(result),
        0 if target.result is None else 1,
        ctypes.addressof(error),
    )

    def finish() -> Any:
        return None if target.result is None else _from_native(target.result, result)

    return NativeCall(address, error, finish, (target, store, result), values, count)


def _is_bytes(value_type: Any) -> bool:
    return isinstance(value_type, component.ListType) and isinstance(value_type.element, component.U8)


def _to_native(value_type: Any, store: Store, value: Any, pointer: Any) -> None:
    """The package's own conversion, but for `list<u8>`: it makes one Python call per byte."""
    if not _is_bytes(value_type):
        value_type.convert_to_c(store, value, pointer)
        return
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"expected bytes, got {type(value).__name__}")
    data = bytes(value)
    size = len(data)
    values = bytearray(size * _VALUE_SIZE)
    values[::_VALUE_SIZE] = bytes((_U8,)) * size
    values[_VALUE_PAYLOAD::_VALUE_SIZE] = data
    raw = _capi.wasmtime_component_vallist_t()
    _capi.wasmtime_component_vallist_new_uninit(ctypes.byref(raw), size)
    if size:
        ctypes.memmove(raw.data, bytes(values), len(values))
    pointer.contents.kind = _LIST
    pointer.contents.of.list = raw


def _from_native(value_type: Any, value: Any) -> Any:
    if not _is_bytes(value_type) or value.kind != _LIST:
        return value_type.convert_from_c(value)
    raw = value.of.list
    size = raw.size
    data = ctypes.string_at(raw.data, size * _VALUE_SIZE)[_VALUE_PAYLOAD::_VALUE_SIZE] if size else b""
    _capi.wasmtime_component_vallist_delete(ctypes.byref(raw))
    return data


def strlen_address() -> int:
    """The address of C's `strlen`, which serves as a continuation callback without entering Python.

    A continuation is `bool (*)(void *)`: given the address of a flag byte followed by a zero, `strlen` answers
    0 (not yet) while the flag is zero and 1 (go on) once it is not.
    """
    library = ctypes.cdll.msvcrt if sys.platform == "win32" else ctypes.CDLL(None)
    return ctypes.cast(library.strlen, ctypes.c_void_p).value or 0
