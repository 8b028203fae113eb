"""`run` beside other programs: pipes, terminals, signals, environment and directories."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from service import _run, _terminal

Run = Callable[..., Any]
Files = Callable[[str], Path]


def test_standard_input_is_the_guests(command: Run, guest_file: Files) -> None:
    ended = command("run", str(guest_file("python")), "--", "stdin", input="one\ntwo\n")
    assert (ended.returncode, ended.stdout) == (0, "ready\none\ntwo\nend after 8 bytes\n")


def test_standard_output_and_error_are_apart(command: Run, guest_file: Files) -> None:
    ended = command("run", str(guest_file("python")), "--", "stderr")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "out 1\nout 2\n", "err 1\nerr 2\n")


def test_large_output_arrives_whole(command: Run, guest_file: Files) -> None:
    ended = command("run", str(guest_file("python")), "--", "flood", "1000000")
    assert ended.returncode == 0
    assert ended.stdout == ("0123456789abcde\n" * 62500)
    assert ended.stderr == "wrote 1000000 bytes\n"


def test_a_reader_that_leaves_ends_the_guests_output(guest_file: Files, environment: dict[str, str]) -> None:
    """As in `wasi-sockets run ... | head -1`: the guest gets an error, and the command ends."""
    with subprocess.Popen(
        [sys.executable, "-m", "service", "run", guest_file("python"), "--", "flood", "100000000"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"0123456789abcde\n"
        running.stdout.close()
        assert running.stderr is not None
        told = running.stderr.read().decode()
        code = running.wait(timeout=60)
    assert "BrokenPipeError" in told  # the guest's own words
    assert code == 134  # of this guest, which traps for any exception
    assert "wrote" not in told


@pytest.mark.parametrize(("port", "code"), [("7", 0), ("8", 1)])
def test_the_guests_exit_code_outlives_a_closed_standard_output(
    guest_file: Files, environment: dict[str, str], port: str, code: int
) -> None:
    words = ["run", guest_file("c-echo-0.2.0"), "--service", "7=echo", "--", "127.0.0.1", port]
    ended = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "service", *words],
        env=environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=60,
    )
    told = b"wasi-sockets: standard output is closed; what the guest writes there is lost\n"
    assert (ended.returncode, ended.stderr) == (code, told)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_what_a_handler_prints_to_a_full_device_is_told_lost(
    guest_text: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "printing.py").write_text("print('x')\nasync def handle(stream): pass\n")
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            [
                sys.executable,
                "-m",
                "service",
                "run",
                guest_text("i32.const 0"),
                "--service",
                "7=printing:handle",
            ],
            env={**environment, "PYTHONUNBUFFERED": ""},  # lost only when it is flushed
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    told = b"standard output cannot be written: No space left on device; what the guest writes there is lost"
    assert (ended.returncode, ended.stderr) == (125, b"wasi-sockets: %s\n" % told)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "terminated"]
)
@pytest.mark.parametrize("options", [[], ["--thread"]], ids=["", "thread"])
def test_signals_end_a_guest_that_waits(
    guest_file: Files, environment: dict[str, str], number: signal.Signals, code: int, options: list[str]
) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "service", "run", guest_file("python"), *options, "--", "stdin"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"ready\n"
        running.send_signal(number)
        assert running.wait(timeout=60) == code
        assert running.stderr is not None
        assert running.stderr.read() == b""


def test_ctrl_c_ends_a_guest_that_only_computes_and_shuts_services_down(
    environment: dict[str, str], guest_text: Run, tmp_path: Path
) -> None:
    pytest.importorskip("hypercorn", reason="the extra asgi is not installed")
    (tmp_path / "application.py").write_text(
        "async def app(scope, receive, send):\n"
        "    while True:\n"
        "        event = await receive()\n"
        "        print(event['type'], flush=True)\n"
        "        await send({'type': event['type'] + '.complete'})\n"
    )
    guest = guest_text("(loop $ever (br $ever)) (unreachable)")
    with subprocess.Popen(
        [sys.executable, "-m", "service", "run", guest, "--service", "80=asgi:application:app"],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"lifespan.startup\n"
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (130, b"lifespan.shutdown\n")
    assert b"KeyboardInterrupt" not in err


def _on_a_terminal(words: list[str], environment: dict[str, str], *, until: bytes = b"") -> tuple[int, bytes]:
    """The exit code and all output of the command on a terminal; Ctrl-C once `until` was seen."""
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "service", *words],
        env=environment,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    ) as running:
        os.close(terminal)
        seen = b""
        try:
            while piece := os.read(controller, 4096):
                seen += piece
                if until and until in seen:
                    running.send_signal(signal.SIGINT)
                    until = b""
        except OSError:
            pass  # how Linux says that nobody has the terminal open any more
        os.close(controller)
        return running.wait(timeout=60), seen


def test_a_guest_sees_the_terminal(guest_file: Files, environment: dict[str, str]) -> None:
    code, seen = _on_a_terminal(["run", str(guest_file("python")), "--", "tty"], environment)
    # Loading takes as long as it takes, and then there is progress.
    assert (code, _without_progress(seen)) == (0, b"stdin True\r\nstdout True\r\nstderr True\r\n")


def test_compiling_shows_progress_on_a_terminal_and_can_be_interrupted(
    guest_file: Files, environment: dict[str, str]
) -> None:
    code, seen = _on_a_terminal(
        ["run", str(guest_file("python")), "--no-cache"],
        environment,
        until=b"wasi-sockets: compiling python.wasm (",
    )
    assert code == 130
    assert seen.endswith(b"\r\x1b[K")  # nothing of it is left
    assert _without_progress(seen) == b""


def _without_progress(seen: bytes) -> bytes:
    return re.sub(rb"\r\x1b\[K(wasi-sockets: [a-z]+ python\.wasm \(\d+ s\))?", b"", seen)


def test_no_progress_where_there_is_no_terminal(command: Run, guest_text: Run) -> None:
    ended = command("run", str(guest_text("(i32.const 0)")), "--no-cache")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_environment_is_what_was_given(
    wasi_sockets_command: Run, guest_file: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSED_ON", "from outside")
    monkeypatch.setenv("NOT_PASSED_ON", "secret")
    monkeypatch.delenv("ABSENT", raising=False)
    options = ("--env", "GIVEN=a=b", "--env", "PASSED_ON", "--env", "ABSENT", "--env", "EMPTY=")
    ended = wasi_sockets_command("run", guest_file("python"), *options, "--", "env")
    variables = dict(line.split("=", 1) for line in ended.out.splitlines())
    assert variables == {"GIVEN": "'a=b'", "PASSED_ON": "'from outside'", "EMPTY": "''"}


def test_arguments_arrive_as_they_are(wasi_sockets_command: Run, guest_file: Files) -> None:
    ended = wasi_sockets_command("run", guest_file("python"), "--", "args", "--service", "--", "-h", "ä b")
    assert ended.out.splitlines() == ["'--service'", "'--'", "'-h'", "'ä b'"]


@pytest.mark.parametrize(("option", "inside"), [("data::/data", "/data"), ("data", "data")])
def test_directories(
    wasi_sockets_command: Run, guest_file: Files, tmp_path: Path, option: str, inside: str
) -> None:
    (tmp_path / "data").mkdir()
    ended = wasi_sockets_command("run", guest_file("python"), "--dir", option, "--", "files", inside)
    assert ended.code == 0, ended.err
    assert (tmp_path / "data" / "kept.txt").exists()


def test_a_second_ctrl_c_is_one_too(
    monkeypatch: pytest.MonkeyPatch, wasi_sockets_command: Run, guest_text: Run
) -> None:
    """After the first, Python's own handler is back, whose exception comes in a group."""

    async def interrupted(*_arguments: object, **_options: object) -> int:
        raise BaseExceptionGroup("", [KeyboardInterrupt()])

    monkeypatch.setattr(_run.wasi_sockets, "run", interrupted)
    ended = wasi_sockets_command("run", guest_text("(i32.const 0)"))
    assert (ended.code, ended.err) == (130, "")


def test_ctrl_c_in_a_group_is_one_for_every_command(
    monkeypatch: pytest.MonkeyPatch, wasi_sockets_command: Run
) -> None:
    def interrupted(**_options: object) -> int:
        raise BaseExceptionGroup("", [KeyboardInterrupt()])

    monkeypatch.setattr("service._doctor.doctor", interrupted)
    ended = wasi_sockets_command("doctor")
    assert (ended.code, ended.err) == (130, "")


async def test_messages_that_nobody_reads_take_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    began, reads = threading.Semaphore(0), threading.Event()

    def say(message: str) -> None:
        began.release()
        reads.wait()
        said.append(message)

    monkeypatch.setattr(_terminal, "say", say)
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(_terminal.say_from_task, str(number))
        await trio.to_thread.run_sync(began.acquire)
        await trio.testing.wait_all_tasks_blocked()
        assert not began.acquire(blocking=False)
        reads.set()
    assert sorted(said) == ["0", "1", "2", "3", "4"]
