"""Nothing that a guest does with sockets reaches the kernel, as strace sees it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Files = Callable[[str], Path]


@pytest.mark.parametrize(
    ("guest", "words", "output"),
    [
        ("c-echo-0.2.12", ["127.0.0.1", "8080", "50"], "echoed 1600 bytes in 50 round trips\n"),
        ("python", ["three-ways", "127.0.0.1", "8080"], "asyncio: 20 connections at once"),
    ],
)
def test_a_guest_doing_tcp_opens_no_internet_socket(
    guest_file: Files, environment: dict[str, str], tmp_path: Path, guest: str, words: list[str], output: str
) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    if subprocess.run([strace, "-o", tmp_path / "probe", "true"], capture_output=True).returncode:
        pytest.skip("strace may not trace here")
    service = "8080=echo"
    if guest == "python":
        pytest.importorskip("hypercorn", reason="the extra asgi is not installed")
        (tmp_path / "web.py").write_text(
            "async def app(scope, receive, send):\n"
            "    if scope['type'] == 'http':\n"
            "        text = scope['path'].encode()\n"
            "        headers = [(b'content-length', b'%d' % len(text))]\n"
            "        await send({'type': 'http.response.start', 'status': 200, 'headers': headers})\n"
            "        await send({'type': 'http.response.body', 'body': text})\n"
        )
        service = "8080=asgi:web:app"
    trace = tmp_path / "trace"
    ended = subprocess.run(
        [
            *(strace, "-f", "-e", "trace=network", "-o", trace),
            *(sys.executable, "-m", "service", "run", guest_file(guest), "--service", service, "--", *words),
        ],
        env=environment,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert output in ended.stdout
    calls = trace.read_text()
    assert "socketpair(AF_UNIX" in calls  # trio's own, by which it wakes up: the trace works
    assert "AF_INET" not in calls


def test_a_guest_that_is_denied_reaches_no_kernel_socket(
    guest_file: Files, environment: dict[str, str], tmp_path: Path
) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    if subprocess.run([strace, "-o", tmp_path / "probe", "true"], capture_output=True).returncode:
        pytest.skip("strace may not trace here")
    trace = tmp_path / "trace"
    ended = subprocess.run(
        [
            *(strace, "-f", "-e", "trace=network", "-o", trace),
            *(sys.executable, "-m", "service", "run", guest_file("python"), "--allow", "203.0.113.1:443"),
            *("--", "connect-error", "192.0.2.1", "80"),
        ],
        env=environment,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (ended.returncode, ended.stdout) == (0, "PermissionError EACCES\n")
    assert "connect 192.0.2.1:80 denied: no-rule" in ended.stderr
    calls = trace.read_text()
    assert "socketpair(AF_UNIX" in calls
    assert "AF_INET" not in calls
