"""`run` ends though a handler neither heeds cancellation nor gives the loop back; how `up` does is in test_up.py."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from service._last_resort import LastResort

Files = Callable[[str], Path]

_HANDLERS = """
import threading
import trio

async def stubborn(stream):
    print("connected", flush=True)
    print("not flushed", end="")
    while True:
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()

async def holding(stream):
    print("connected", flush=True)
    print("not flushed", end="")
    threading.Event().wait()
"""

# The command, less patient than it is.
_IMPATIENT = """
import sys
from service import _last_resort, _services
_last_resort._KILLED_WITHIN = _last_resort._PATIENT_FOR = {0}
_services.GRACE = _services.SLACK = {1}
from service.cli import main
sys.exit(main())
"""


@contextmanager
def _run(
    environment: dict[str, str],
    guest: Path,
    handler: str,
    place: Path,
    *options: str,
    patience: float = 3600.0,
) -> Iterator[subprocess.Popen[str]]:
    (place / "slow.py").write_text(_HANDLERS)
    with subprocess.Popen(
        [
            *(sys.executable, "-c", _IMPATIENT.format(0.1, patience), "run", str(guest), *options),
            *("--service", f"7=slow:{handler}", "--", "127.0.0.1", "7"),
        ],
        env={**environment, "PYTHONUNBUFFERED": ""},
        cwd=place,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == "connected\n"
            yield running
        finally:
            running.kill()


_LAST_WORDS = "wasi-sockets: --service 7=slow:{} does not end; this process ends without it\n"


@pytest.mark.parametrize("handler", ["stubborn", "holding"])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "terminated"]
)
def test_a_second_signal_ends_the_process_soon(
    environment: dict[str, str],
    guest_file: Files,
    tmp_path: Path,
    handler: str,
    number: signal.Signals,
    code: int,
) -> None:
    with _run(environment, guest_file("c-echo-0.2.12"), handler, tmp_path) as running:
        assert running.stderr is not None
        running.send_signal(number)
        waits = running.stderr.readline()
        assert waits.startswith(f"wasi-sockets: --service 7=slow:{handler} has not ended yet; ")
        running.send_signal(number)
        assert running.stdout is not None
        out, err = running.stdout.read(), running.stderr.read()
        running.wait(timeout=60)
    assert (running.returncode, out, err) == (code, "not flushed", _LAST_WORDS.format(handler))


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "terminated"]
)
def test_one_signal_is_enough(
    environment: dict[str, str], guest_file: Files, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with _run(environment, guest_file("c-echo-0.2.12"), "stubborn", tmp_path, patience=0.1) as running:
        running.send_signal(number)
        _, err = running.communicate(timeout=60)
    assert running.returncode == code
    assert err.endswith(_LAST_WORDS.format("stubborn"))


def test_a_time_limit_is_one(environment: dict[str, str], guest_file: Files, tmp_path: Path) -> None:
    guest = guest_file("c-echo-0.2.12")
    with _run(environment, guest, "stubborn", tmp_path, "--timeout", "5", patience=0.1) as running:
        _, err = running.communicate(timeout=60)
    assert running.returncode == 124
    assert err.startswith(f"wasi-sockets: {guest} was ended after 5 s (--timeout)\n")
    assert err.endswith(_LAST_WORDS.format("stubborn"))


async def test_what_ends_in_time_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    before = signal.getsignal(signal.SIGINT)
    with LastResort(list) as last_resort, last_resort.signals(3600) as received:
        signal.raise_signal(signal.SIGINT)
        assert await received.receive() == signal.SIGINT
        assert last_resort.signal == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is before
    assert left == []


def test_patience_may_be_longer_than_clocks_count(monkeypatch: pytest.MonkeyPatch) -> None:
    left: queue.SimpleQueue[int] = queue.SimpleQueue()
    monkeypatch.setattr(os, "_exit", left.put)
    with LastResort(list) as last_resort:
        last_resort.leave_within(1e12, 3)
        last_resort.leave_within(0.0, 4)
        assert left.get(timeout=60) == 4


async def test_a_signal_at_the_very_end_is_no_error_of_trio() -> None:
    with LastResort(list) as last_resort:
        with last_resort.signals(3600):
            signal.raise_signal(signal.SIGINT)
        await trio.testing.wait_all_tasks_blocked()  # it would be delivered now
    assert last_resort.signal == signal.SIGINT


async def test_signals_are_for_the_main_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    async def elsewhere() -> None:
        with LastResort(list) as last_resort, last_resort.signals(3600):
            await trio.lowlevel.checkpoint()

    await trio.to_thread.run_sync(trio.run, elsewhere)
