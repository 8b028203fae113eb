"""Trampolines on stock streams, run by the engine alone: whatever Python is asked, it answers 0 and the stock one acts.

The same calls are made on the guest as it is, and what they leave in its memory must be the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from wasmtime import component

from tests.interposer.wasi_text import (
    MEMORY,
    Lowered,
    binary,
    function_type,
    imports,
    memory,
)
from wasi_sockets.component.layout import core_signature
from wasi_sockets.interposer import HOST_INSTANCE, host_functions, interpose

POLL, STREAMS = "wasi:io/poll", "wasi:io/streams"
IN, OUT = "[method]input-stream.", "[method]output-stream."
STDIO = [("wasi:cli/stdin", "get-stdin"), ("wasi:cli/stdout", "get-stdout")]
FUNCTIONS = [
    *STDIO,
    *[(STREAMS, IN + name) for name in ("read", "blocking-read", "skip", "blocking-skip")],
    *[
        (STREAMS, OUT + name)
        for name in (
            "check-write",
            "write",
            "flush",
            "blocking-flush",
            "blocking-write-and-flush",
            "write-zeroes",
            "blocking-write-zeroes-and-flush",
            "splice",
            "blocking-splice",
        )
    ],
]
WITH_POLL = [
    *FUNCTIONS,
    (STREAMS, IN + "subscribe"),
    (POLL, "[method]pollable.block"),
    (POLL, "[method]pollable.ready"),
]
RESULT = 1_024

_U = {"i32": "u32", "i64": "u64"}
_PEEK = """
  (core module $peek-module (import "m" "memory" (memory 1))
    (func (export "peek") (param i32) (result i64) (i64.load (local.get 0)))
    (func (export "poke") (param i32 i64) (i64.store (local.get 0) (local.get 1))))
  (core instance $peek (instantiate $peek-module (with "m" (instance $memory-instance))))
  (func (export "peek") (param "at" u32) (result u64) (canon lift (core func $peek "peek")))
  (func (export "poke") (param "at" u32) (param "value" u64) (canon lift (core func $peek "poke")))
"""


@cache
def exposed(with_poll: bool) -> bytes:
    """A guest that exports its lowered functions, flat, so that they can be called from here."""
    functions = WITH_POLL if with_poll else FUNCTIONS
    lines = []
    for number, (interface, function) in enumerate(functions):
        lines.append(Lowered(interface, function).text(f"$f{number}"))
        parameters, results = core_signature(function_type(interface, function))
        typed = [f'(param "p{index}" {_U[each]})' for index, each in enumerate(parameters)]
        typed += [f"(result {_U[each]})" for each in results]
        lines.append(f'(func (export "f{number}") {" ".join(typed)} (canon lift (core func $f{number})))')
    resources = [("wasi:io/error", "error"), (POLL, "pollable")]
    declared = imports(functions, resources=resources if with_poll else resources[:1])
    return binary(f"(component {declared} {MEMORY} {memory()} {_PEEK} {' '.join(lines)})")


class Guest:
    """An instance of such a guest; `output` is what it wrote to a sink that takes everything."""

    def __init__(self, *, rewritten: bool, with_poll: bool, stdin: Path) -> None:
        wasm = exposed(with_poll)
        self.functions = WITH_POLL if with_poll else FUNCTIONS
        self.output = b""
        engine = wasmtime.Engine()
        linker = component.Linker(engine)
        linker.add_wasip2()
        if rewritten:
            wasm = interpose(wasm).wasm
            with linker.root() as root, root.add_instance(HOST_INSTANCE) as host:
                for name, (_, result) in host_functions().items():
                    host.add_func(name, _text if result == "string" else _zero)
        self.store = wasmtime.Store(engine)
        wasi = wasmtime.WasiConfig()
        wasi.stdin_file = str(stdin)
        wasi.stdout_custom = self.write
        self.store.set_wasi(wasi)
        self.instance = linker.instantiate(self.store, component.Component(engine, wasm))

    def write(self, data: bytes) -> int:
        self.output += data
        return len(data)

    def export(self, name: str, *arguments: int) -> Any:
        function = self.instance.get_func(self.store, name)
        assert function is not None
        return function(self.store, *arguments)

    def call(self, function: str, *arguments: int) -> Any:
        """Calls a function and gives its flat result, else the 24 bytes at `RESULT`, which held 0xff before."""
        (number,) = [index for index, (_, name) in enumerate(self.functions) if name == function]
        for offset in (0, 8, 16):
            self.export("poke", RESULT + offset, 0xFFFF_FFFF_FFFF_FFFF)
        answer = self.export(f"f{number}", *arguments)
        if answer is not None:
            return answer
        return [self.export("peek", RESULT + offset) for offset in (0, 8, 16)]

    def outcome(self, function: str, *arguments: int) -> tuple[object, ...]:
        """What a stream function answered: its tag, and the value or the case of the error."""
        first, second, _ = self.call(function, *arguments, RESULT)
        if first & 0xFF:
            counts = any(part in function for part in ("skip", "splice", "check-write"))
            return "error", (second if counts else first >> 32) & 0xFF
        if "read" in function:
            size = second & 0xFFFF_FFFF
            data = b"".join(
                self.export("peek", (first >> 32) + at).to_bytes(8, "little") for at in range(0, size, 8)
            )
            return "ok", data[:size]
        if any(part in function for part in ("skip", "splice", "check-write")):
            return "ok", second
        return ("ok",)


def _zero(_store: object, *_arguments: object) -> int:
    return 0


def _text(_store: object, *_arguments: object) -> str:
    return ""


def played(guest: Guest, script: Sequence[tuple[str, tuple[str | int, ...]]]) -> list[tuple[object, ...]]:
    """The outcomes of a script, in which "in" and "out" stand for the standard streams."""
    handles = {"in": guest.call("get-stdin"), "out": guest.call("get-stdout")}
    guest.export("poke", 64, int.from_bytes(b"contents", "little"))
    return [
        guest.outcome(name, *[handles[each] if isinstance(each, str) else each for each in arguments])
        for name, arguments in script
    ]


WRITES: list[tuple[str, tuple[str | int, ...]]] = [
    (OUT + "check-write", ("out",)),
    (OUT + "write", ("out", 64, 8)),
    (OUT + "flush", ("out",)),
    (OUT + "blocking-flush", ("out",)),
    (OUT + "blocking-write-and-flush", ("out", 64, 5)),
    (OUT + "blocking-write-and-flush", ("out", 64, 0)),
    (OUT + "blocking-write-and-flush", ("out", 64, 4096)),
    (OUT + "write-zeroes", ("out", 3)),
    (OUT + "blocking-write-zeroes-and-flush", ("out", 4)),
    (OUT + "blocking-write-zeroes-and-flush", ("out", 0)),
]
READS: list[tuple[str, tuple[str | int, ...]]] = [
    (IN + "blocking-read", ("in", 5)),
    (IN + "blocking-skip", ("in", 3)),
    (IN + "blocking-read", ("in", 4)),
    (OUT + "blocking-splice", ("out", "in", 6)),
    (IN + "blocking-read", ("in", 1_000)),
    (IN + "blocking-read", ("in", 1_000)),
    (IN + "blocking-skip", ("in", 1)),
    (IN + "read", ("in", 1)),
]


@pytest.mark.parametrize("with_poll", [False, True])
@pytest.mark.parametrize("script", [WRITES, READS], ids=["writes", "reads"])
def test_the_same_calls_leave_the_same(
    script: list[tuple[str, tuple[str | int, ...]]], with_poll: bool, tmp_path: Path
) -> None:
    stdin = tmp_path / "stdin"
    stdin.write_bytes(b"The quick brown fox jumps over the lazy dog.")
    stock = Guest(rewritten=False, with_poll=with_poll, stdin=stdin)
    expected = played(stock, script)
    rewritten = Guest(rewritten=True, with_poll=with_poll, stdin=stdin)
    assert played(rewritten, script) == expected
    assert rewritten.output == stock.output


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (OUT + "blocking-write-and-flush", ("out", 64, 4097)),
        (OUT + "blocking-write-zeroes-and-flush", ("out", 4097)),
        (OUT + "blocking-write-and-flush", ("out", 0x2_0000, 8)),
        (OUT + "blocking-write-and-flush", (999, 64, 8)),
        (IN + "blocking-read", ("out", 8)),
        (IN + "read", (0x4000_0001, 8)),
        (IN + "read", (0x6000_0001, 8)),
        (OUT + "splice", ("out", 0x4000_0001, 8)),
    ],
)
def test_what_traps_on_the_stock_host_traps(
    function: str, arguments: tuple[str | int, ...], tmp_path: Path
) -> None:
    stdin = tmp_path / "stdin"
    stdin.write_bytes(b"text")
    for rewritten in (False, True):
        guest = Guest(rewritten=rewritten, with_poll=True, stdin=stdin)
        with pytest.raises(wasmtime.WasmtimeError):
            played(guest, [(function, arguments)])


@pytest.mark.parametrize("rewritten", [False, True])
def test_pollables_of_stock_streams(rewritten: bool, tmp_path: Path) -> None:
    stdin = tmp_path / "stdin"
    stdin.write_bytes(b"text")
    guest = Guest(rewritten=rewritten, with_poll=True, stdin=stdin)
    pollable = guest.call(IN + "subscribe", guest.call("get-stdin"))
    guest.call("[method]pollable.block", pollable)
    assert guest.call("[method]pollable.ready", pollable) == 1
