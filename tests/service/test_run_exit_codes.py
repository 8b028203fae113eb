"""How the command ends, for everything that can become of a guest and of its own options."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def _importing(interface: str, function: str, parameters: str, core: str) -> dict[str, str]:
    return {
        "imports": f'(import "{interface}" (instance $i (export "{function}" (func {parameters}))))'
        f' (core func $f (canon lower (func $i "{function}")))',
        "functions": f'(import "host" "f" (func $f {core}))',
        "with_host": '(with "host" (instance (export "f" (func $f))))',
    }


@pytest.mark.parametrize(("body", "code"), [("(i32.const 0)", 0), ("(i32.const 1)", 1)])
def test_what_run_returns(wasi_sockets_command: Run, guest_text: Run, body: str, code: int) -> None:
    ended = wasi_sockets_command("run", guest_text(body))
    assert (ended.code, ended.out, ended.err) == (code, "", "")


@pytest.mark.parametrize("status", [0, 3, 255])
def test_the_code_that_a_guest_exits_with(wasi_sockets_command: Run, guest_text: Run, status: int) -> None:
    host = _importing("wasi:cli/exit@0.2.0", "exit-with-code", '(param "status-code" u8)', "(param i32)")
    ended = wasi_sockets_command("run", guest_text(f"(call $f (i32.const {status})) (i32.const 1)", **host))
    assert (ended.code, ended.err) == (status, "")


def test_a_trap_tells_its_reason_and_its_backtrace(wasi_sockets_command: Run, guest_text: Run) -> None:
    guest = guest_text("(call $inner)", functions="(func $inner (result i32) (unreachable))")
    ended = wasi_sockets_command("run", guest)
    assert ended.code == 134
    first, *frames = ended.err.splitlines()
    assert first == f"wasi-sockets: {guest} trapped: wasm `unreachable` instruction executed"
    calls = [re.fullmatch(r"    \d:\s+0x[0-9a-f]+ - (.*)", frame) for frame in frames]
    assert [call and call[1] for call in calls] == ["m!inner", "m!<wasm function 1>"]
    assert "Traceback" not in ended.err


def test_a_rule_that_a_guest_breaks_is_a_trap(wasi_sockets_command: Run, guest_text: Run) -> None:
    imports = """
      (import "wasi:io/poll@0.2.0" (instance $i
        (export "pollable" (type $pollable (sub resource)))
        (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
      (core func $f (canon lower (func $i "[method]pollable.block")))"""
    guest = guest_text(
        "(call $f (i32.const 0x40000005)) (i32.const 0)",
        imports=imports,
        functions='(import "host" "f" (func $f (param i32)))',
        with_host='(with "host" (instance (export "f" (func $f))))',
    )
    ended = wasi_sockets_command("run", guest)
    assert ended.code == 134
    first, *frames = ended.err.splitlines()
    assert "trapped: unknown handle" in first
    assert frames[-1].endswith("m!<wasm function 1>")
    assert "Traceback" not in ended.err


def test_a_guest_that_never_ends_is_ended_by_the_time_limit(
    wasi_sockets_command: Run, guest_text: Run
) -> None:
    guest = guest_text("(loop $ever (br $ever)) (unreachable)")
    ended = wasi_sockets_command("run", guest, "--timeout", "0.1")
    assert ended.code == 124
    assert ended.err == f"wasi-sockets: {guest} was ended after 0.1 s (--timeout)\n"


@pytest.mark.parametrize(
    "words", [["run", "x", "--bogus"], ["inspect", "x", "--bogus"], ["doctor", "--", "x"]]
)
def test_an_unknown_argument_shows_the_usage_of_the_command(
    wasi_sockets_command: Run, words: list[str]
) -> None:
    ended = wasi_sockets_command(*words)
    assert ended.code == 2
    assert ended.err.startswith(f"usage: wasi-sockets {words[0]} ")
    assert f"wasi-sockets {words[0]}: error: unknown argument: {words[-1]}" in ended.err


def test_a_file_that_is_not_there(wasi_sockets_command: Run) -> None:
    ended = wasi_sockets_command("run", "nothing.wasm")
    assert (ended.code, ended.err) == (127, "wasi-sockets: nothing.wasm: no such file\n")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "the file is empty"),
        (b"hello", "WebAssembly"),
        (b"\0asm\x01\0\0\0", "module"),
        (b"\0asm\x0d\0\x01\0\x07\xff", ""),
        (b"(component", "neither a component nor WebAssembly text"),
    ],
)
def test_a_file_that_is_no_component(
    wasi_sockets_command: Run, tmp_path: Path, content: bytes, told: str
) -> None:
    file = tmp_path / "guest.wasm"
    file.write_bytes(content)
    for subcommand in ("run", "inspect"):
        ended = wasi_sockets_command(subcommand, file)
        assert ended.code == 126
        assert ended.err.startswith(f"wasi-sockets: {file}: ")
        assert told in ended.err
        assert ended.err.count("\n") == 1


def test_a_directory_is_no_component(wasi_sockets_command: Run, tmp_path: Path) -> None:
    ended = wasi_sockets_command("run", tmp_path)
    assert (ended.code, ended.err) == (126, f"wasi-sockets: {tmp_path} is a directory, not a component\n")


def test_an_import_that_nobody_provides(wasi_sockets_command: Run, guest_text: Run) -> None:
    host = _importing("acme:clock/face@1.0.0", "draw", "", "")
    ended = wasi_sockets_command("run", guest_text("(call $f) (i32.const 0)", **host))
    assert ended.code == 126
    assert "acme:clock/face@1.0.0" in ended.err
    assert "docs/embedding.md" in ended.err
    assert ended.err.count("\n") == 1


def test_a_component_that_is_no_command(wasi_sockets_command: Run, tmp_path: Path) -> None:
    (tmp_path / "empty.wat").write_text("(component)")
    ended = wasi_sockets_command("run", "empty.wat")
    assert ended.code == 126
    assert "exports no wasi:cli/run" in ended.err


def test_a_component_that_is_refused(wasi_sockets_command: Run, tmp_path: Path) -> None:
    (tmp_path / "guest.wat").write_text(
        '(component (import "wasi-sockets:shim/host@0.1.0" (instance (export "resume" (func)))))'
    )
    ended = wasi_sockets_command("run", "guest.wat")
    assert ended.code == 126
    assert "this namespace belongs to the host" in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "required: COMMAND"),
        (["run"], "required: GUEST.wasm"),
        (["walk", "x"], "invalid choice: 'walk'"),
        (["run", "x", "--bogus"], "unknown argument: --bogus"),
        (["run", "x", "more"], "unknown argument: more; arguments of the guest go after '--'"),
        (["run", "x", "--serv", "7=echo"], "unknown argument: --serv"),
        (["inspect", "x", "--", "more"], "unknown argument: more"),
        (["run", "x", "--service", "7"], "expected [ADDRESS:]PORT="),
        (["run", "x", "--env", "=v"], "expected NAME=VALUE"),
        (["run", "x", "--dir", "nowhere::/x"], "'nowhere' is not a directory"),
        (["run", "x", "--dir", ".::"], "nothing after '::'"),
        (["run", "x", "--timeout", "-1"], "expected a positive number of seconds"),
        (["run", "x", "--timeout", "nan"], "expected a positive number of seconds"),
        (["run", "x", "--http", "maybe"], "invalid choice: 'maybe'"),
        (["run", "x", "--\x1b[31m"], "unknown argument: --\\x1b[31m"),
    ],
)
def test_wrong_options(wasi_sockets_command: Run, words: list[str], told: str) -> None:
    ended = wasi_sockets_command(*words)
    assert ended.code == 2
    assert told in ended.err
    assert "\x1b" not in ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""


def test_the_version(wasi_sockets_command: Run) -> None:
    ended = wasi_sockets_command("--version")
    assert ended.code == 0
    assert ended.out.startswith("wasi-sockets ")


def test_what_should_not_have_happened_is_said_to_be_so(
    wasi_sockets_command: Run, guest_text: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_arguments: object, **_options: object) -> int:
        raise ZeroDivisionError("a mistake in the host")

    monkeypatch.setattr("wasi_sockets.run", fails)
    ended = wasi_sockets_command("run", guest_text("(i32.const 0)"))
    assert ended.code == 125
    assert "please report it" in ended.err
    assert "a mistake in the host" in ended.err
