"""`network-error-code` of an error that is not ours: the stock host defines the function nowhere."""

from __future__ import annotations

import os

import pytest
import wasmtime
import wasmtime.component

import wasi_sockets
from wasi_sockets.conformance import Check, assemble
from wasi_sockets.conformance.program import Program
from wasi_sockets.conformance.streams import Output
from wasi_sockets.engine.bindings_versions import instances_can_be_reopened


def _ask_about_stdout(p: Program) -> None:
    out = Output(p, "(call $stdout.get-stdout)")
    out.check_write()
    out.blocking_write(b"x", "last-operation-failed")
    error = p.variable("error", "i32", "(i32.load (i32.const 24))")
    p.emit("(i32.store8 (i32.const 16) (i32.const 9))")
    p.emit(f"(call $network.network-error-code {error} (i32.const 16))")
    p.emit("(if (i32.load8_u (i32.const 16)) (then unreachable))")  # none


@pytest.mark.skipif(
    not instances_can_be_reopened(), reason="wasmtime 45 to 47 cannot add to a stock interface"
)
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
async def test_the_error_of_a_stock_stream_has_no_network_error_code() -> None:
    engine = wasmtime.Engine(wasi_sockets.config())
    linker = wasmtime.component.Linker(engine)
    linker.add_wasip2()
    wasi_sockets.add_to_linker(linker)
    check = Check("errors/stock", "The rule.", "here", _ask_about_stdout)
    component = wasi_sockets.load(engine, assemble([check]).wasm, cache=False)
    store = wasmtime.Store(engine)
    config = wasmtime.WasiConfig()
    config.stdout_file = "/dev/full"
    store.set_wasi(config)
    async with wasi_sockets.instantiate(linker, store, component, network=wasi_sockets.Network()) as guest:
        # Its report goes to the full device, so only the end tells: a trap had it been anything but none.
        await guest.call("wasi:cli/run@0.2", "run")
