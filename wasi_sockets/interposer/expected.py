"""Whether functions look the way the trampolines expect them.

A component may declare what it likes in the type of an import; only the engine's linker would find out, after the
rewritten component failed to compile for reasons that nobody could read.
"""

from __future__ import annotations

from wasi_sockets.component import model
from wasi_sockets.component.layout import core_signature, has_pointers
from wasi_sockets.component.types import Borrow, FunctionType, Own, ResourceType, Result, Type
from wasi_sockets.errors import UnsupportedComponentError
from wasi_sockets.interposer.flow import Entity, FunctionEntity
from wasi_sockets.interposer.items import Item
from wasi_sockets.interposer.library import forms
from wasi_sockets.interposer.table import Row, Style

__all__ = ["check_function", "check_stock"]

_HANDLE_AND_RESULT = (("i32", "i32"), ())


def _refused(interface: str, name: str) -> UnsupportedComponentError:
    return UnsupportedComponentError(
        f"{interface}.{name} with parameters or results that it does not have in WASI 0.2",
        "build the component against the released interface",
    )


def check_function(function: FunctionEntity, row: Row, options: model.Options) -> None:
    """A replaced function must have the core signature of its trampoline.

    Raises:
        UnsupportedComponentError: it has not.
    """
    if function.type is None:
        return
    signature = core_signature(function.type)
    fits = True
    if row.form:
        form = forms()[row.form]
        has_memory = model.option(options, "memory") is not None
        fits = signature == (form.parameters, form.results) and (has_memory or not form.memory)
    elif row.style is Style.EITHER:
        fits = signature[0][:1] == ("i32",)
    elif row.style is Style.ASK:
        fits = signature == ((), ("i32",))
    if not fits:
        raise _refused(function.interface, function.name)


def check_stock(item: Item, key: str, name: str, declared: Entity | None) -> None:
    """What a trampoline calls besides must fit: as declared by the guest, or as it will be declared for it.

    Args:
        item: whose trampoline it is.
        key: as what the trampoline calls it, a key of `Row.stock`; "ready" and "now" for what the shim calls itself.
        name: the function's name.
        declared: what the guest declares under that name, if anything.

    Raises:
        UnsupportedComponentError: it does not fit.
    """
    wanted = _wanted(item, key)
    if wanted is None:
        raise _refused(item.interface, item.name)
    if declared is None:
        return
    found = declared.type if isinstance(declared, FunctionEntity) else None
    if found is None or found.is_async or _shape(found) != _shape(wanted):
        raise _refused(item.interface, name)


def _shape(function: FunctionType) -> tuple[tuple[Type, ...], Type | None]:
    return tuple([valtype for _, valtype in function.parameters]), function.result


def _wanted(item: Item, key: str) -> FunctionType | None:
    """The type of a stock function, from that of the replaced one; None when that one makes no sense."""
    if key == "now":
        return FunctionType((), "u64")
    if key == "ready":
        return FunctionType((("self", Borrow(ResourceType("wasi:io/poll", "pollable"))),), "bool")
    if key in ("subscribe", "listen"):
        reads = key == "listen" or item.name.startswith("[method]input-stream.")
        stream = ResourceType("wasi:io/streams", "input-stream" if reads else "output-stream")
        return FunctionType((("self", Borrow(stream)),), Own(ResourceType("wasi:io/poll", "pollable")))
    function = item.function_type
    if function is None or key not in ("check", "flush"):
        return function
    result = function.result
    if not isinstance(result, Result) or has_pointers(result):
        return None
    result = Result("u64" if key == "check" else None, result.error)
    derived = FunctionType(function.parameters[:1], result)
    return derived if core_signature(derived) == _HANDLE_AND_RESULT else None
