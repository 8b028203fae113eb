"""The same guest with the same inputs ends and writes the same on the stock host and on the interposed one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import wasmtime

from tests.guest_runs import Ended, Inputs
from tests.parity.modes import MODES, Mode, backtrace, on_stock
from wasi_sockets.engine.bindings_versions import stock_version

PYTHON = {
    "arguments": Inputs(["args", "", "two words", "ä€𝄞", "--flag=x", '"quoted"']),
    "environment": Inputs(
        ["env"], environment={"EMPTY": "", "UNICODE": "ä€𝄞", "A": "x=y z", "PATH": "/nowhere"}
    ),
    "no environment": Inputs(["env"]),
    "no command": Inputs(["no such command"]),
    "both outputs": Inputs(["stderr"]),
    "output of a megabyte": Inputs(["flood", "1000000"]),
    "empty input": Inputs(["stdin"]),
    "input": Inputs(["stdin"], stdin=b"one\ntwo\n\x00\xff three"),
    "input of half a megabyte": Inputs(["stdin"], stdin=bytes(range(256)) * 2048),
    "no terminal": Inputs(["tty"]),
    "clocks": Inputs(["clocks"]),
    "sleep": Inputs(["sleep", "0.001", "5"]),
    "random": Inputs(["random"]),
    "exit 0": Inputs(["exit", "os", "0"]),
    "exit 3": Inputs(["exit", "os", "3"]),
    "sys.exit 3": Inputs(["exit", "sys", "3"]),
    "exception": Inputs(["exit", "raise"]),
    "error result": Inputs(["exit", "failure"]),
    "abort": Inputs(["exit", "abort"]),
}


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
@pytest.mark.parametrize("inputs", PYTHON.values(), ids=PYTHON)
async def test_a_python_guest(inputs: Inputs, mode: Mode, guest_file: Callable[[str], Path]) -> None:
    python = guest_file("python")
    stock = await on_stock(python, inputs)
    ours = await mode(python, inputs)
    assert ours == stock
    assert type(ours.trap) is type(stock.trap)
    assert backtrace(ours) == backtrace(stock)


async def test_the_inputs_have_the_effects_that_they_are_compared_for(
    guest_file: Callable[[str], Path],
) -> None:
    # Two hosts that both fail would agree as well.
    python = guest_file("python")
    codes = {name: (await on_stock(python, inputs)).code for name, inputs in PYTHON.items()}
    failed = {name for name, code in codes.items() if code != 0}
    assert failed == {"no command", "exit 3", "sys.exit 3", "exception", "error result", "abort"}
    assert {name for name, code in codes.items() if code is None} == {"exception", "abort"}
    assert len((await on_stock(python, PYTHON["output of a megabyte"])).stdout) == 1_000_000
    assert b"end after 524288 bytes" in (await on_stock(python, PYTHON["input of half a megabyte"])).stdout
    assert (await on_stock(python, PYTHON["clocks"])).stdout.count(b"True") == 8


@pytest.mark.skipif(
    stock_version("wasi:cli/exit", "exit") == "0.2.6",
    reason="wasmtime 45 has no exit-with-code, nor has its stock host",
)
@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
async def test_an_exit_code_of_its_own(mode: Mode, wat_guest: Callable[[str], bytes]) -> None:
    guest = wat_guest("exit-with-code")
    assert await mode(guest, Inputs()) == await on_stock(guest, Inputs()) == Ended(3, b"", b"")


TRAPS = {
    "unreachable": "unreachable",
    "out of bounds": "(drop (i32.load (i32.const 0x7fffffff)))",
    "division by zero": "(drop (i32.div_u (i32.const 1) (i32.load (i32.const 0))))",
    "endless recursion": "(call $fail) drop",
    "undefined table element": "(call_indirect (i32.const 0))",
    "an answer that is no result": "(return (i32.const 2))",
}


def trapping(body: str) -> bytes:
    """A command that fails in a chosen way, in a function called by its `run`, and also uses the network."""
    return bytes(
        wasmtime.wat2wasm(f"""(component
          (import "wasi:io/poll@0.2.0" (instance $poll
            (export "pollable" (type $pollable (sub resource)))
            (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
          (alias export $poll "pollable" (type $pollable))
          (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
            (alias outer 1 $pollable (type $outer)) (export "pollable" (type $own (eq $outer)))
            (export "subscribe-duration" (func (param "when" u64) (result (own $own))))))
          (core func $subscribe (canon lower (func $clock "subscribe-duration")))
          (core func $block (canon lower (func $poll "[method]pollable.block")))
          (core module $main
            (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
            (import "host" "block" (func $block (param i32)))
            (memory 1) (table 1 funcref)
            (func $fail (export "fail") (result i32) {body} (i32.const 0))
            (func $run (export "run") (result i32)
              (call $block (call $subscribe (i64.const 1000)))
              (call $fail)))
          (core instance $main (instantiate $main (with "host" (instance
            (export "subscribe" (func $subscribe)) (export "block" (func $block))))))
          (func $run (result (result)) (canon lift (core func $main "run")))
          (instance $command (export "run" (func $run)))
          (export "wasi:cli/run@0.2.0" (instance $command)))""")
    )


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
@pytest.mark.parametrize("body", TRAPS.values(), ids=TRAPS)
async def test_traps(body: str, mode: Mode) -> None:
    guest = trapping(body)
    stock = await on_stock(guest, Inputs())
    ours = await mode(guest, Inputs())
    assert stock.trap is not None
    assert type(ours.trap) is type(stock.trap)
    assert backtrace(ours) == backtrace(stock)
