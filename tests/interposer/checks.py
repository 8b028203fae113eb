"""What must hold for every rewritten component, by the engine's own judgement."""

from __future__ import annotations

from functools import cache

import wasmtime
from wasmtime import component

from wasi_sockets.interposer import HOST_INSTANCE, Interposition, interpose


@cache
def engine() -> wasmtime.Engine:
    """An engine that validates as ever but spends little on code that is never run."""
    config = wasmtime.Config()
    config.cranelift_opt_level = "none"
    return wasmtime.Engine(config)


def compiles(wasm: bytes) -> component.Component:
    """The compiled component; raises `WasmtimeError` when it is invalid."""
    return component.Component(engine(), wasm)


def outside(wasm: bytes) -> tuple[list[str], list[str]]:
    """Names of imports and exports."""
    found = compiles(wasm).type
    return sorted(found.imports(engine())), sorted(found.exports(engine()))


def interposed(wasm: bytes) -> Interposition:
    """The interposition of a valid component: it must compile, and look the same from outside but for the host."""
    imports, exports = outside(wasm)
    result = interpose(wasm)
    if not result.items:
        assert result.wasm is wasm
        return result
    new_imports, new_exports = outside(result.wasm)
    assert new_imports == sorted([*imports, HOST_INSTANCE])
    assert new_exports == exports
    assert [item.id for item in result.items] == list(range(len(result.items)))
    return result
