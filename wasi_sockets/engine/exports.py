"""Finding an exported function by a name whose version may be partial, missing, or a compatible other one."""

from __future__ import annotations

from wasmtime import Engine, component

from wasi_sockets.engine.bindings_versions import external_type

__all__ = ["component_exports", "match_export"]

Exports = dict[str, "frozenset[str] | None"]
"""The names a component exports: an instance with the names inside it, a function with None."""


def component_exports(guest: component.Component, engine: Engine) -> Exports:
    """What a component exports at its outermost level."""
    exports: Exports = {}
    for name, external in guest.type.exports(engine).items():
        item = external_type(external)
        if isinstance(item, component.ComponentInstanceType):
            exports[name] = frozenset(item.exports(engine))
        elif isinstance(item, component.FuncType):
            exports[name] = None
    return exports


def match_export(exports: Exports, wanted: str) -> str | None:
    """The exported name that `wanted` means: itself, or the same with another version of the same track.

    Versions are on one track as wasmtime's linker sees it: the same major number, or for 0.x the same minor.
    A name without a version takes any. Of several the newest is chosen.
    """
    if wanted in exports:
        return wanted
    base, _, version = wanted.partition("@")
    found = [
        (_numbers(candidate), name)
        for name in exports
        for name_base, _, candidate in (name.partition("@"),)
        if name_base == base and candidate and (not version or _same_track(version, candidate))
    ]
    if not found and version and base in exports:
        return base
    return max(found)[1] if found else None


def _numbers(version: str) -> tuple[int, ...]:
    core = version.partition("+")[0].partition("-")[0]
    return tuple([int(part) if part.isdecimal() else -1 for part in core.split(".")])


def _same_track(wanted: str, candidate: str) -> bool:
    if "-" in wanted or "-" in candidate:  # pre-releases are compatible with themselves only
        return wanted == candidate
    mine, other = _numbers(wanted), _numbers(candidate)
    if not mine or not other or mine[0] != other[0]:
        return False
    if mine[0] > 0:
        return True
    return len(mine) < 2 or (
        len(other) > 1 and mine[1] == other[1] and (mine[1] > 0 or mine[2:] == other[2:])
    )
