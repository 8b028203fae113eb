"""`run --publish`, `--forward` and `--allow`: what they say, and guests that use them."""

from __future__ import annotations

import argparse
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service._notations import (
    ForwardOption,
    PublishOption,
    allow_option,
    forward_option,
    publish_option,
)
from wasi_sockets import Allow, Rule

Run = Callable[..., Any]
Files = Callable[[str], Path]


@pytest.mark.parametrize(
    ("text", "port", "host", "real_port", "protocol"),
    [
        ("8080", 8080, "127.0.0.1", 8080, "tcp"),
        ("80:8080", 8080, "127.0.0.1", 80, "tcp"),
        ("0:8080", 8080, "127.0.0.1", 0, "tcp"),
        ("0.0.0.0:80:8080", 8080, "0.0.0.0", 80, "tcp"),
        ("[::1]:80:8080", 8080, "::1", 80, "tcp"),
        ("53:5353/udp", 5353, "127.0.0.1", 53, "udp"),
        ("auto", None, "127.0.0.1", 0, "tcp"),
    ],
)
def test_publish(text: str, port: int | None, host: str, real_port: int, protocol: Any) -> None:
    assert publish_option(text) == PublishOption(text, port, host, real_port, protocol)


@pytest.mark.parametrize(
    ("text", "host", "port", "to", "tls", "protocol"),
    [
        ("5432=db.example.com:5433", "127.0.0.1", 5432, ("db.example.com", 5433), False, "tcp"),
        ("host.internal:80=localhost:8000", "host.internal", 80, ("localhost", 8000), False, "tcp"),
        ("[::1]:80=[2001:db8::1]:8000", "::1", 80, ("2001:db8::1", 8000), False, "tcp"),
        ("443=tls:api.example.com:443", "127.0.0.1", 443, ("api.example.com", 443), True, "tcp"),
        ("53=9.9.9.9:53/udp", "127.0.0.1", 53, ("9.9.9.9", 53), False, "udp"),
    ],
)
def test_forward(text: str, host: str, port: int, to: tuple[str, int], tls: bool, protocol: Any) -> None:
    assert forward_option(text) == ForwardOption(text, host, port, to, tls, protocol)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("api.example.com", Allow.connect("api.example.com")),
        ("*.example.com:443", Allow.connect("*.example.com", ports=443)),
        ("203.0.113.0/24:8000-8009", Allow.connect("203.0.113.0/24", ports=range(8000, 8010))),
        ("[2001:db8::/32]:443", Allow.connect("2001:db8::/32", ports=443)),
        ("[2001:db8::1]", Allow.connect("2001:db8::1")),
        ("public:443", Allow.connect("public", ports=443)),
        ("udp:9.9.9.9:53", Allow.send("9.9.9.9", ports=53)),
    ],
)
def test_allow(text: str, rule: Rule) -> None:
    assert allow_option(text) == rule


@pytest.mark.parametrize(
    ("read", "text"),
    [
        *((publish_option, text) for text in ("", "x", "0", "70000", "a:80:80", "::1:80:80", "80/sctp", "80:")),
        *((forward_option, text) for text in ("", "80", "80=", "80=host", "=host:80", "80=host:0", "80=:80")),
        *((forward_option, text) for text in ("443=tls:host:443/udp", "80=[host]:80", "80=::1:80:")),
        *((allow_option, text) for text in ("", "a b", "::1", "host:0", "host:9-8", "host:x", "[::1", "10.0.0.1/8")),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_said(read: Callable[[str], object], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=re.escape(repr(text))):
        read(text)


@pytest.mark.parametrize(
    ("text", "example"),
    [
        ("127.0.0.1:22", "127.0.0.1:22"),
        ("127.0.0.0/8", "127.0.0.1:8080"),
        ("localhost:80-90", "127.0.0.1:8080"),
        ("[::1]:443", "127.0.0.1:443"),
        ("0.0.0.0:80", "127.0.0.1:80"),
        ("udp:127.0.0.53:53", "127.0.0.1:53/udp"),
    ],
)
def test_this_machine_cannot_be_allowed_but_forwarded_to(text: str, example: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        allow_option(text)
    assert "is never this machine's; use --forward (in a workload file: forward), such as" in str(
        refused.value
    )
    forward = str(refused.value).rpartition("--forward ")[2]
    assert forward == f"8080={example}"
    forward_option(forward)


@pytest.mark.parametrize(
    ("text", "better"),
    [
        ("http://example.com/", "example.com:80"),
        ("HTTPS://user@example.com/a?b", "example.com:443"),
        ("https://example.com:8443", "example.com:8443"),
        ("example.com/path", "example.com"),
        ("//example.com:80", "example.com:80"),
    ],
)
def test_a_url_is_no_rule(text: str, better: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        allow_option(text)
    assert str(refused.value) == f"{text!r}: a rule has no scheme and no path: write {better}"
    allow_option(better)


@pytest.mark.parametrize(
    "text", ["0.0.0.0/0:443", "10.0.0.0/255.0.0.0", "[::/0]", "*.localhost.example", "10.0.0.0/8"]
)
def test_what_holds_more_than_this_machine_is_allowed(text: str) -> None:
    assert allow_option(text).use == "connect"


@pytest.fixture
def echo_port() -> Iterator[int]:
    """A real echo server."""

    def echo(connected: socket.socket) -> None:
        with connected:
            while data := connected.recv(65536):
                connected.sendall(data)

    def serve(listening: socket.socket) -> None:
        while True:
            try:
                connected, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=echo, args=[connected], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=[listening], daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9"])
def test_a_guest_reaches_a_real_server(
    wasi_sockets_command: Run, guest_file: Files, echo_port: int, host: str
) -> None:
    ended = wasi_sockets_command(
        "run",
        guest_file("c-echo-0.2.12"),
        "--forward",
        f"{host}:8080=localhost:{echo_port}",
        "--",
        host,
        "8080",
        "5",
    )
    assert (ended.code, ended.out, ended.err) == (0, "echoed 160 bytes in 5 round trips\n", "")


def test_a_guest_is_reached_from_outside(
    guest_file: Files, environment: dict[str, str], tmp_path: Path
) -> None:
    words = ["run", str(guest_file("python")), "--publish", "0:8080", "--", "server", "8080", "1"]
    with subprocess.Popen(
        [sys.executable, "-m", "service", *words],
        env=environment,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            assert running.stdout is not None
            assert running.stderr is not None
            said = running.stderr.readline()
            found = re.search(r"--publish 0:8080: at 127\.0\.0\.1:(\d+)$", said)
            assert found, said
            # It need not wait for the guest to listen: the connection does.
            with socket.create_connection(("127.0.0.1", int(found[1])), timeout=60) as client:
                client.sendall(b"hello" * 20_000)
                client.shutdown(socket.SHUT_WR)
                answer = b"".join(iter(lambda: client.recv(65536), b""))
            assert answer == b"HELLO" * 20_000
            assert running.wait(60) == 0
            assert "served 1" in running.stdout.read()
            assert running.stderr.read() == ""
        finally:
            running.kill()


@pytest.mark.parametrize(
    ("prefix", "goal"), [("", "127.0.0.1:{0}"), ("tls:", "127.0.0.1:{0} by TLS")], ids=["plain", "tls"]
)
def test_a_forward_that_fails_names_both_addresses(
    wasi_sockets_command: Run, guest_file: Files, prefix: str, goal: str
) -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        ended = wasi_sockets_command(
            "run",
            guest_file("c-echo-0.2.0"),
            *("--forward", f"7={prefix}127.0.0.1:{port}", "--", "127.0.0.1", "7"),
        )
    told = f"wasi-sockets: connecting to 127.0.0.1:7, which leads to {goal.format(port)}, failed: "
    assert ended.err.startswith(told)
    assert "Connection refused" in ended.err
    assert (ended.code, ended.err.count("\n")) == (1, 1)


def test_a_taken_port_is_said(wasi_sockets_command: Run, guest_text: Callable[..., Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = wasi_sockets_command("run", guest_text("i32.const 0"), "--publish", f"{port}:80")
    assert ended.code == 125
    assert f"--publish {port}:80: Address already in use: 127.0.0.1:{port}\n" in ended.err


def test_a_name_that_is_none_is_said(wasi_sockets_command: Run, guest_text: Callable[..., Path]) -> None:
    ended = wasi_sockets_command(
        "run", guest_text("i32.const 0"), "--forward", "nobody.internal:80=localhost:80"
    )
    assert ended.code == 125
    assert "--forward nobody.internal:80=localhost:80: " in ended.err


def test_what_is_not_allowed_is_denied_and_told(wasi_sockets_command: Run, guest_file: Files) -> None:
    ended = wasi_sockets_command(
        "run", guest_file("python"), "--allow", "192.0.2.1:443", "--", "lookup", "denied.example"
    )
    assert ended.code == 0
    assert ended.out.startswith("gaierror")
    assert "lookup denied.example denied: no-rule" in ended.err
