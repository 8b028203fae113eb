"""`inspect`: what is shown of a component, for people and for programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wasmtime

import wasi_sockets
from wasi_sockets.interposer import interpose

Run = Callable[..., Any]
Files = Callable[[str], Path]

_STOCK_AND_VIRTUAL = """(component
  (import "wasi:random/random@0.2.3" (instance $random (export "get-random-u64" (func (result u64)))))
  (import "wasi:sockets/network@0.2.3" (instance $network (export "network" (type (sub resource)))))
  (alias export $network "network" (type $network-type))
  (import "wasi:sockets/instance-network@0.2.3" (instance $instance
    (alias outer 1 $network-type (type $t)) (export "network" (type $n (eq $t)))
    (export "instance-network" (func (result (own $n))))))
  (core func $a (canon lower (func $random "get-random-u64")))
  (core func $b (canon lower (func $instance "instance-network")))
  (core func $c (canon resource.drop $network-type))
)"""


def test_for_people(wasi_sockets_command: Run, tmp_path: Path) -> None:
    (tmp_path / "guest.wat").write_text(_STOCK_AND_VIRTUAL)
    ended = wasi_sockets_command("inspect", "guest.wat")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "guest.wat",
        "",
        "imports:",
        "  wasi:random/random@0.2.3",
        "  wasi:sockets/network@0.2.3",
        "  wasi:sockets/instance-network@0.2.3",
        "",
        "exports:",
        "  (none)",
        "",
        "interposed (function, realm, trampoline, answered by, * moves bytes):",
        "  wasi:sockets/instance-network",
        "    instance-network        0  generated  virtual",
        "  wasi:sockets/network",
        "    [resource-drop]network  0  fast path  virtual",
        "",
        "straight to the stock host: wasi:random/random",
    ]


def test_a_function_that_is_lowered_twice_is_one_line_with_a_count(
    wasi_sockets_command: Run, tmp_path: Path
) -> None:
    again = '(core func $again (canon lower (func $instance "instance-network")))'
    (tmp_path / "guest.wat").write_text(f"{_STOCK_AND_VIRTUAL.rstrip().removesuffix(')')} {again})")
    lines = wasi_sockets_command("inspect", "guest.wat").out.splitlines()
    assert [line for line in lines if line.startswith("    ")] == [
        "    instance-network        0  generated  virtual  (2 times)",
        "    [resource-drop]network  0  fast path  virtual",
    ]


def test_for_programs(wasi_sockets_command: Run, tmp_path: Path) -> None:
    (tmp_path / "guest.wat").write_text(_STOCK_AND_VIRTUAL)
    found = json.loads(wasi_sockets_command("inspect", "guest.wat", "--json").out)
    assert found["imports"][0] == {
        "name": "wasi:random/random@0.2.3",
        "sort": "instance",
        "functions": ["get-random-u64"],
    }
    assert found["exports"] == []
    assert found["refusal"] is None
    assert found["interposed"] is True
    assert found["calls"] == [
        {
            "interface": interface,
            "function": function,
            "realm": realm,
            "trampoline": trampoline,
            "answer": answer,
            "moves_bytes": False,
        }
        for interface, function, realm, trampoline, answer in (
            ("wasi:random/random", "get-random-u64", None, "none", "stock"),
            ("wasi:sockets/instance-network", "instance-network", 0, "generated", "virtual"),
            ("wasi:sockets/network", "[resource-drop]network", 0, "fast path", "virtual"),
        )
    ]


@pytest.mark.parametrize("name", ["c-echo-0.2.0", "python", "js-client", "c-server-0.2.12"])
def test_it_shows_what_is_really_replaced(guest_file: Files, name: str) -> None:
    found = wasi_sockets.inspect(guest_file(name))
    shown = [(call.realm, call.interface, call.function) for call in found.calls if call.trampoline != "none"]
    items = interpose(guest_file(name).read_bytes()).items
    assert sorted(shown) == sorted(
        (item.realm, item.interface, item.name) for item in items if item.interface != "shim"
    )
    assert shown
    assert any(export.name.startswith("wasi:cli/run@") for export in found.exports)


def test_calls_of_inner_components_are_shown_with_their_realm(wat_guest: Callable[[str], bytes]) -> None:
    found = wasi_sockets.inspect(wat_guest("composed"))
    assert len({call.realm for call in found.calls if call.realm is not None}) > 1


def test_a_component_without_network(
    wasi_sockets_command: Run, wat_guest: Callable[[str], bytes], tmp_path: Path
) -> None:
    (tmp_path / "guest.wasm").write_bytes(wat_guest("no-network"))
    ended = wasi_sockets_command("inspect", "guest.wasm")
    assert ended.code == 0
    assert "interposed: nothing; the component is used as it is" in ended.out
    assert "straight to the stock host: wasi:clocks/wall-clock, wasi:random/random" in ended.out


def test_a_refusal_is_shown_with_its_reason_beside_the_rest(
    wasi_sockets_command: Run, tmp_path: Path
) -> None:
    (tmp_path / "guest.wat").write_text(
        '(component (import "wasi-sockets:shim/host@0.1.0" (instance (export "resume" (func)))))'
    )
    ended = wasi_sockets_command("inspect", "guest.wat")
    assert ended.code == 126
    assert ended.out.splitlines()[1].startswith("refused: import 'wasi-sockets:shim/host@0.1.0'")
    assert "  wasi-sockets:shim/host@0.1.0" in ended.out.splitlines()
    found = json.loads(wasi_sockets_command("inspect", "guest.wat", "--json").out)
    assert found["refusal"]["construct"].startswith("import 'wasi-sockets:shim/host@0.1.0'")
    assert found["calls"] == []


def test_names_cannot_take_a_terminal_over(wasi_sockets_command: Run, tmp_path: Path) -> None:
    wasm = bytes(wasmtime.wat2wasm('(component (import "acme:clock/face" (instance (export "f" (func)))))'))
    (tmp_path / "guest.wasm").write_bytes(wasm.replace(b"acme:clock/face", b"\x1b[2J\x07\x7f\nclock/fa"))
    shown = wasi_sockets_command("inspect", "guest.wasm")
    refused = wasi_sockets_command("run", "guest.wasm")
    for text in (shown.out, shown.err, refused.err):
        assert not any(ord(letter) < 32 and letter != "\n" for letter in text)
        assert "\x7f" not in text
    assert refused.code == 126
    assert "\\x1b[2J\\x07\\x7f\\nclock/fa" in shown.out + shown.err


def test_a_reader_that_leaves_is_no_error(guest_file: Files, environment: dict[str, str]) -> None:
    """As in `wasi-sockets inspect ... | true`."""
    with subprocess.Popen(
        [sys.executable, "-m", "service", "inspect", guest_file("python"), "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout is not None
        running.stdout.close()
        assert running.stderr is not None
        assert running.stderr.read() == b""
        assert running.wait(timeout=60) == 141


@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize(
    ("redirection", "told"),
    [
        (">&-", "standard output is closed"),
        (">/dev/full", "standard output cannot be written: No space left on device"),
    ],
)
def test_an_output_that_cannot_be_written_is_said_in_one_line(
    guest_file: Files, environment: dict[str, str], options: list[str], redirection: str, told: str
) -> None:
    if "/dev/full" in redirection and not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    words = [sys.executable, "-m", "service", "inspect", guest_file("c-echo-0.2.0"), *options]
    ended = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", *words],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (125, f"wasi-sockets: {told}\n")


@pytest.mark.parametrize("name", ["wasi:http/outgoing-handler@0.2.6", "wasi:http/types@0.2.6"])
def test_what_goes_around_every_policy_is_named(wasi_sockets_command: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / "guest.wat").write_text(f'(component (import "{name}" (instance)))')
    sends = name.startswith("wasi:http/outgoing-handler")
    ended = wasi_sockets_command("inspect", "guest.wat")
    line = f"around every policy: {name}; 'run' refuses its requests unless told --http stock"
    assert (line in ended.out.splitlines()) is sends
    data = json.loads(wasi_sockets_command("inspect", "guest.wat", "--json").out)
    assert data["around_policy"] == ([name] if sends else [])
