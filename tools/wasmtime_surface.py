"""What one version of wasmtime offers, as JSON. Run in its environment: `PYTHON tools/wasmtime_surface.py`.

Needs nothing but wasmtime there, so that it says something about versions too that this project does not run on.
"""

from __future__ import annotations

import inspect
import json
import re
import runpy
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import wasmtime
import wasmtime.component as component
from wasmtime import _bindings, _ffi

HERE = Path(__file__).resolve().parent
CHECK = HERE.parent / "wasi_sockets" / "engine" / "bindings_check.py"

_INTERFACE = re.compile(rb"wasi:[a-z-]+/[a-z-]+@0\.[23]\.\d+")
_METHOD = re.compile(rb"\[(?:method|static|constructor)\][a-z][a-z0-9.-]+")
_SHORTEST = 3


def main() -> None:
    """Print it."""
    check = runpy.run_path(str(CHECK))
    library = _library().read_bytes()
    print(
        json.dumps({
            "version": version("wasmtime"),
            "wasi": _interfaces(library),
            "stock": _stock(library),
            "c_functions": sorted(_declared()),
            "ours": {name: _shape(check, name) for name in check["FUNCTIONS"]},
            "structures": _structures(check),
            "kinds": _kinds(),
            "python": _python_members(),
            "wrong": check["problems"](),
            "text": _text_dialect(),
        })
    )  # fmt: skip


def _library() -> Path:
    (found,) = (
        p for p in Path(wasmtime.__file__).parent.glob("*/*") if p.suffix in (".so", ".dylib", ".dll")
    )
    return found


def _interfaces(library: bytes) -> list[str]:
    # Strings run into each other there: a digit that follows by chance is not part of the version.
    versions = Counter(each.rpartition(b"@")[2] for each in _INTERFACE.findall(library))
    common = versions.most_common(1)[0][0] if versions else b""
    found = {each.partition(b"@") for each in _INTERFACE.findall(library)}
    return sorted(
        f"{name.decode()}@{(common if given.startswith(common) else given).decode()}"
        for name, _, given in found
    )


def _stock(library: bytes) -> dict[str, str]:
    """Every function and resource that the stock linker has -> the version of its interface."""
    engine = wasmtime.Engine()
    linker = component.Linker(engine)
    linker.add_wasip2()
    error = _bindings.wasmtime_component_linker_add_wasi_http(linker.ptr())
    if error:
        raise wasmtime.WasmtimeError._from_ptr(error)
    store = wasmtime.Store(engine)
    store.set_wasi(wasmtime.WasiConfig())

    def has(interface: str, sort: str, name: str) -> bool:
        kind = "(type (sub resource))" if sort == "r" else "(func)"
        text = f'(component (import "{interface}" (instance (export "{name}" {kind}))))'
        try:
            linker.instantiate(store, component.Component(engine, text))
        except wasmtime.WasmtimeError as failure:
            # A type that differs shows that there is something; a method's own resource is looked for apart.
            return "missing" not in str(failure) and "not found" not in str(failure).partition("Caused by")[2]
        return True

    lines = [
        line.split() for line in (HERE / "stock_surface.txt").read_text().splitlines() if line[:1] != "#"
    ]
    wanted = {(interface, sort, name) for interface, sort, name in lines}
    wanted |= {(interface, "f", name) for interface, name in _more(library, wanted)}
    found = {}
    for interface, sort, name in sorted(wanted):
        if has(f"{interface}@0.2.0", sort, name):
            found[f"{interface} {name}"] = sort
    return found


def _more(library: bytes, known: Iterable[tuple[str, str, str]]) -> Iterator[tuple[str, str]]:
    """Methods that the library names and the list does not. Names run into each other there, so ends are guessed."""
    resources = {name: interface for interface, sort, name in known if sort == "r"}
    listed = {name for _, _, name in known}
    for word in {each.decode() for each in _METHOD.findall(library)}:
        owner, _, method = word.partition("]")[2].partition(".")
        if owner not in resources or any(
            word.startswith(each) for each in listed if each.startswith(word[:12])
        ):
            continue
        head = word[: len(word) - len(method)]
        for length in range(_SHORTEST, len(method) + 1):
            yield resources[owner], head + method[:length]


def _declared() -> set[str]:
    return {
        name[1:] for name, value in vars(_bindings).items() if name[:1] == "_" and hasattr(value, "argtypes")
    }


def _shape(check: dict[str, Any], name: str) -> str:
    declared = getattr(_bindings, f"_{name}", None)
    if declared is None or not hasattr(_ffi.dll, name):
        return "missing"
    return str(check["_signature"](declared.restype, declared.argtypes))


def _structures(check: dict[str, Any]) -> dict[str, int | None]:
    import ctypes

    names = [*check["STRUCTURES"], *check["OPAQUE"]]
    return {
        name: ctypes.sizeof(getattr(_bindings, name)) if hasattr(_bindings, name) else None for name in names
    }


def _kinds() -> dict[str, int]:
    prefix = "WASMTIME_COMPONENT_"
    found = {}
    for name, value in {**vars(_bindings), **vars(_ffi)}.items():
        if name.startswith(prefix):
            number = getattr(value, "value", value)
            if isinstance(number, int):
                found[name.removeprefix(prefix)] = number
    return found


def _python_members() -> dict[str, str]:
    """Classes and members, functions with their signatures: an annotation is often all that shows a change."""
    found = {}
    for prefix, module in (("", wasmtime), ("component.", component)):
        for name, value in vars(module).items():
            if isinstance(value, type):
                found[prefix + name] = ""
                members = {key: each for key, each in vars(value).items() if not key.startswith("__")}
                found |= {f"{prefix}{name}.{key}": _signature_of(each) for key, each in members.items()}
    return found


def _signature_of(member: object) -> str:
    function = getattr(member, "__func__", member)
    return str(inspect.signature(function)) if inspect.isfunction(function) else ""


_DIALECT = {
    'in place: (memory (core memory $i "m"))': '(memory (core memory $i "m"))',
    'in place: (memory $i "m")': '(memory $i "m")',
    "(memory $m)": "(memory $m)",
    "(realloc $r)": "(memory $m) (realloc $r)",
    "(realloc (func $r))": "(memory $m) (realloc (func $r))",
    "(realloc (core func $r))": "(memory $m) (realloc (core func $r))",
}


def _text_dialect() -> dict[str, bool]:
    """Which ways to write canonical options the text parser takes."""

    def reads(text: str) -> bool:
        try:
            wasmtime.wat2wasm(text)
        except wasmtime.WasmtimeError:
            return False
        return True

    frame = """(component (core module $c (memory (export "m") 1)
      (func (export "r") (param i32 i32 i32 i32) (result i32) (i32.const 0)) (func (export "d") (param i32))
      (func (export "f") (result i32) (i32.const 0))) (core instance $i (instantiate $c))
      (alias core export $i "m" (core memory $m)) (alias core export $i "r" (core func $r))
      (alias core export $i "d" (core func $d)) %s)"""
    lifted = '(func (export "x") (result string) (canon lift (core func $i "f") %s))'
    found = {name: reads(frame % (lifted % options)) for name, options in _DIALECT.items()}
    for form in ("$d", "(func $d)", "(core func $d)"):
        found[f"(dtor {form})"] = reads(frame % f"(type $t (resource (rep i32) (dtor {form})))")
    return found


if __name__ == "__main__":
    main()
