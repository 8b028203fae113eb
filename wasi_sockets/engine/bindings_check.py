"""What the engine relies on in the private parts of the package `wasmtime`, as a list, and the check of it.

This is the cheap half of the self-check, done at every import. It only looks: nothing is called, so nothing can
crash. The deep half (`wasi_sockets.doctor`) tries things out, in a process of its own.

Run by its path (`python bindings_check.py`) it prints its findings as JSON. So it works where the package cannot be
imported, which is when it is needed most; therefore it imports nothing of the package.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

__all__ = [
    "CALLBACKS",
    "FUNCTIONS",
    "KINDS",
    "MEMBERS",
    "STRUCTURES",
    "Looked",
    "installed",
    "look",
    "problems",
]

FUNCTIONS: Final = {
    "wasm_byte_vec_new": "-(p,w,p)",
    "wasmtime_call_future_delete": "-(p)",
    "wasmtime_call_future_poll": "b(p)",
    "wasmtime_component_func_call_async": "p(p,p,p,w,p,w,p)",
    "wasmtime_component_linker_add_wasi_http": "p(p)",
    "wasmtime_component_linker_instance_add_func": "p(p,p,w,p,p,p)",
    "wasmtime_component_linker_instance_add_func_async": "p(p,p,w,p,p,p)",
    "wasmtime_component_linker_instantiate_async": "p(p,p,p,p,p)",
    "wasmtime_component_val_delete": "-(p)",
    "wasmtime_component_vallist_delete": "-(p)",
    "wasmtime_component_vallist_new_uninit": "-(p,w)",
    "wasmtime_context_epoch_deadline_async_yield_and_update": "p(p,w)",
    "wasmtime_context_set_epoch_deadline": "-(p,w)",
    "wasmtime_context_set_wasi_http": "-(p)",
    "wasmtime_error_new": "p(p)",
    "wasmtime_store_delete": "-(p)",
}
"""C functions: result and parameters; p pointer, w 8 byte word, b bool, - nothing."""

CALLBACKS: Final = {
    "wasmtime_component_func_callback_t": "w(p,p,p,p,w,p,w)",
    "wasmtime_component_func_async_callback_t": "-(p,p,p,p,w,p,w,p,p)",
    "wasmtime_func_async_continuation_callback_t": "b(p)",
}
"""Types of functions that native code calls. ctypes has words for pointers that callbacks return."""

STRUCTURES: Final[dict[str, tuple[int, dict[str, int]]]] = {
    "wasmtime_component_val_t": (32, {"kind": 0, "of": 8}),
    "wasmtime_component_vallist_t": (16, {"size": 0, "data": 8}),
    "wasm_byte_vec_t": (16, {"size": 0, "data": 8}),
    "wasmtime_async_continuation_t": (24, {"callback": 0, "env": 8, "finalizer": 16}),
}
"""C structures that are read or written by address: bytes, and where their fields lie."""

OPAQUE: Final = ("wasmtime_component_instance_t", "wasmtime_component_func_t")
"""Structures that are only handed on, whatever their size: the latter grew from 24 to 32 bytes in 49."""

KINDS: Final = {"BOOL": 0, "U8": 2, "U32": 6, "U64": 8, "STRING": 12, "LIST": 13}
"""Kinds of component values, `WASMTIME_COMPONENT_*`."""

MEMBERS: Final = (
    ("Config", "_consume"),
    ("Store", "_context"),
    ("Store", "_consume"),
    ("WasmtimeError", "_from_ptr"),
    ("component.Instance", "_from_raw"),
    ("component.Linker", "root"),
    ("component.Component", "ptr"),
)
"""Members of the package's classes."""


class Looked(NamedTuple):
    """One group of facts.

    Attributes:
        name: of the check.
        wrong: each difference; empty when all is as it should be.
        seen: what was found, in a few words.
    """

    name: str
    wrong: list[str]
    seen: str


def installed() -> Any:
    """The private modules of the installed package, as the namespace that `look` takes.

    Raises:
        ImportError: the package is not there, or has no such modules.
        OSError: its native library cannot be loaded.
    """
    import wasmtime
    from wasmtime import _bindings, _ffi, component

    return SimpleNamespace(package=wasmtime, component=component, bindings=_bindings, ffi=_ffi)


def look(modules: Any) -> Iterator[Looked]:
    """Compare what is there with the lists of this file.

    Args:
        modules: see `installed`.
    """
    wrong = [text for name, wanted in FUNCTIONS.items() for text in _function(modules, name, wanted)]
    yield Looked("functions present", wrong, f"{len(FUNCTIONS)} C functions with their parameters")
    wrong = [text for name, wanted in CALLBACKS.items() for text in _callback(modules.bindings, name, wanted)]
    yield Looked("callback conventions", wrong, f"{len(CALLBACKS)} types of callbacks")
    wrong = [
        text for name, shape in STRUCTURES.items() for text in _structure(modules.bindings, name, *shape)
    ]
    wrong += [f"there is no structure {name}" for name in OPAQUE if not hasattr(modules.bindings, name)]
    yield Looked("structure sizes", wrong, f"{len(STRUCTURES)} structures and where their fields lie")
    wrong = [text for name, number in KINDS.items() for text in _kind(modules, name, number)]
    yield Looked("value kinds", wrong, f"{len(KINDS)} kinds of component values")
    wrong = [text for owner, member in MEMBERS for text in _member(modules, owner, member)]
    yield Looked("package members", wrong, f"{len(MEMBERS)} members of Python classes")


def problems(modules: Any | None = None) -> list[str]:
    """Every difference, of the installed package unless told otherwise."""
    return [text for looked in look(modules or installed()) for text in looked.wrong]


def _function(modules: Any, name: str, wanted: str) -> Iterator[str]:
    declared = getattr(modules.bindings, f"_{name}", None)
    if not hasattr(modules.ffi.dll, name):
        yield f"there is no C function {name}"
    elif declared is not None and declared.argtypes is not None:
        found = _signature(declared.restype, declared.argtypes)
        if found != wanted:
            yield f"the C function {name} is {found}, not {wanted}"


def _callback(bindings: Any, name: str, wanted: str) -> Iterator[str]:
    declared = getattr(bindings, name, None)
    if declared is None:
        yield f"there is no callback type {name}"
        return
    found = _signature(declared._restype_, declared._argtypes_)
    if found != wanted:
        yield f"callbacks of type {name} are {found}, not {wanted}"


def _structure(bindings: Any, name: str, size: int, offsets: dict[str, int]) -> Iterator[str]:
    structure = getattr(bindings, name, None)
    if structure is None:
        yield f"there is no structure {name}"
        return
    found = ctypes.sizeof(structure)
    if found != size:
        yield f"{name} has {found} bytes, not {size}"
    for field, offset in offsets.items():
        place = getattr(getattr(structure, field, None), "offset", None)
        if place != offset:
            yield f"{name}.{field} is at {place}, not {offset}"


def _kind(modules: Any, name: str, number: int) -> Iterator[str]:
    for module in (modules.ffi, modules.bindings):
        found = getattr(module, f"WASMTIME_COMPONENT_{name}", None)
        if found is not None:
            value = getattr(found, "value", found)
            if value != number:
                yield f"component values of kind {name} have number {value}, not {number}"
            return
    yield f"there is no component value kind {name}"


def _member(modules: Any, owner: str, member: str) -> Iterator[str]:
    found = modules.package
    for part in owner.split("."):
        found = modules.component if part == "component" else getattr(found, part, None)
    if not hasattr(found, member):
        yield f"{owner} has no {member}"


def _signature(result: Any, parameters: Any) -> str:
    return f"{_letter(result)}({','.join(map(_letter, parameters))})"


def _letter(native: Any) -> str:
    if native is None:
        return "-"
    if native is ctypes.c_bool:
        return "b"
    code = getattr(native, "_type_", None)
    if code is None or not isinstance(code, str) or code in "PzZ":  # functions, pointers to something, void *
        return "s" if issubclass(native, ctypes.Structure | ctypes.Union) else "p"
    size = ctypes.sizeof(native)
    return "w" if size == 8 else f"i{size}"


def _main() -> None:
    try:
        found = list(look(installed()))
    except (ImportError, OSError, AttributeError) as error:
        found = [Looked("package", [f"{type(error).__name__}: {error}"], "")]
    json.dump([each._asdict() for each in found], sys.stdout)


if __name__ == "__main__":
    _main()
