"""WebAssembly text in the dialect that the installed wasmtime reads."""

from __future__ import annotations

import re

import wasmtime

from wasi_sockets.engine.versions import installed_version, major

__all__ = ["binary", "translated"]

_SORTED_OPTION = re.compile(r"\((memory|realloc|dtor) \(core (?:memory|func) (\$\S+)( \"[^\"]*\")?\)\)")


def translated(text: str) -> str:
    """Text as version 50 of wasmtime wants it, made readable for the installed version.

    45 to 47 know `(memory $m)`, `(memory $instance "m")`, `(realloc $r)` and `(dtor (func $d))`; 48 and 49 know
    these and `(core memory ...)`, `(core func ...)` in the same places; 50 knows `(memory $m)`, `(realloc $r)`,
    `(dtor $d)` and the forms with `core`.
    """
    return text if (major(installed_version()) or 50) >= 48 else _SORTED_OPTION.sub(_older, text)


def _older(match: re.Match[str]) -> str:
    option, name, member = match.groups()
    if option == "memory":
        return f"(memory {name}{member or ''})"
    if option == "realloc" and not member:
        return f"(realloc {name})"
    return f"({option} (func {name}{member or ''}))"


def binary(text: str) -> bytes:
    """The bytes of a module or component given as text."""
    return bytes(wasmtime.wat2wasm(translated(text)))
