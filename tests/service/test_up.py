"""`wasi-sockets up` and the commands that ask it, each as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import pytest

from tests.service.host_processes import SERVICE, Place, Running

GuestFile = Callable[[str], Path]

STUBBORN = """
import trio

async def work(network):
    while True:
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()
"""


def test_what_has_ended_in_order_or_failed_ends_it(place: Place, guest_file: GuestFile) -> None:
    echo = guest_file("c-echo-0.2.0")
    work = f"components:\n  echo: {{component: '{echo}', arguments: [127.0.0.1, '7'], after: [api]}}\n"
    place.write("good.yaml", textwrap.dedent(SERVICE) + work)
    done = place.run("up", "good.yaml", "--until-done")
    assert (done.returncode, done.stdout) == (0, "shop/echo | echoed 32 bytes in 1 round trips\n"), (
        done.stderr
    )
    assert "wasi-sockets: shop/api: ready" in done.stderr
    place.write(
        "bad.yaml", f"name: bad\ncomponents:\n  echo: {{component: '{echo}', arguments: [127.0.0.1, '7']}}\n"
    )
    done = place.run("up", "bad.yaml")
    assert (done.returncode, done.stdout) == (1, "bad/echo | finish-connect failed with code 14\n")
    assert "bad/echo: failed: it exited with code 1" in done.stderr


def test_a_running_host_is_seen_and_steered(place: Place) -> None:
    place.write("shop.yaml", SERVICE)
    assert "nothing runs" in place.run("ps").stdout
    running = place.up("shop.yaml")
    running.until(service="api", state="ready")
    (told,) = place.ask("ps")
    assert told["host"] == running.process.pid
    assert (told["namespace"], told["name"]) == ("default", "shop")
    assert [(each["name"], each["state"], each["ports"]) for each in told["services"]] == [
        ("api", "ready", [7])
    ]
    (told,) = place.ask("netstat", "shop")
    assert {(each["state"], each["owner"]) for each in told["sockets"]} == {("listening", "default/shop/api")}
    table = place.run("netstat").stdout.splitlines()
    assert table[0] == "default/shop"
    assert table[1].split()[:4] == ["Proto", "Recv-Q", "Send-Q", "Local"]
    assert len(table) == 4
    assert place.ask("restart", "default/shop:api") == [{"restarted": "default/shop/api"}]
    running.until(service="api", state="ready", incarnation=2)
    assert place.run("ps", "shop").stdout.splitlines()[1].split()[:4] == [
        "default/shop",
        "api",
        "handler",
        "ready",
    ]
    assert place.ask("stop", "shop") == [{"stopped": "default/shop"}]
    assert running.process.wait(20) == 0
    assert "nothing runs" in place.run("ps").stdout


def test_what_services_wrote_can_be_read_and_followed(place: Place, guest_file: GuestFile) -> None:
    echo = guest_file("c-echo-0.2.0")
    work = f"components:\n  echo: {{component: '{echo}', arguments: [127.0.0.1, '7'], after: [api]}}\n"
    place.write("shop.yaml", textwrap.dedent(SERVICE) + work)
    running = place.up("shop.yaml")
    running.until(service="echo", state="completed")
    (line,) = place.ask("logs", "shop:echo")
    assert (line["stream"], line["text"]) == ("stdout", "echoed 32 bytes in 1 round trips")
    assert place.ask("logs", "shop:api") == []
    assert place.ask("logs", "shop", "--lines", "0") == []
    shown = place.run("logs", "shop").stdout
    assert shown.rstrip().endswith(" shop/echo | echoed 32 bytes in 1 round trips")
    with place.popen("logs", "shop:echo", "--follow") as following:
        if following.stdout is None:
            raise ValueError("no output")
        assert "echoed" in following.stdout.readline()
        place.ask("restart", "shop:echo")
        assert "echoed" in following.stdout.readline()
        following.send_signal(signal.SIGINT)
        assert following.wait(20) == 130


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ps", "store"], "there is no workload 'store'"),
        (["netstat", "store"], "there is no workload 'store'"),
        (["restart", "shop:db"], "default/shop has no service 'db'; it has api"),
        (["logs", "shop:db"], "default/shop has no service 'db'; it has api"),
        (["stop", "store"], "there is no workload 'store'"),
        (["ps", "--host", "1"], "process 1 is no host of yours"),
    ],
)
def test_what_is_not_there_is_said(place: Place, words: list[str], message: str) -> None:
    place.write("shop.yaml", SERVICE)
    place.up("shop.yaml").until(service="api", state="ready")
    done = place.run(*words)
    assert done.returncode == 125
    assert message in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_lets_connections_finish(place: Place, number: int, code: int) -> None:
    place.write("shop.yaml", SERVICE + "    publish: ['0:7']\n")
    running = place.up("shop.yaml")
    running.until(service="api", state="ready")
    with _connected(place) as client:
        running.process.send_signal(number)
        running.until(service="api", state="stopping")
        client.sendall(b"last")
        assert client.recv(100) == b"LAST"
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(client.getpeername())
    assert running.process.wait(20) == code


def test_a_second_signal_ends_everything_at_once(place: Place) -> None:
    place.write("shop.yaml", SERVICE + "    publish: ['0:7']\n")
    running = place.up("shop.yaml", "--grace", "3600")
    running.until(service="api", state="ready")
    with _connected(place) as client:
        running.process.send_signal(signal.SIGINT)
        running.until(service="api", state="stopping")
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(20) == 130
        with pytest.raises(ConnectionResetError):
            client.recv(100)


def test_what_refuses_to_end_does_not_hold_the_process(place: Place) -> None:
    place.write("stubborn.py", STUBBORN)
    place.write("shop.yaml", "name: shop\nservices: {worker: {task: 'stubborn:work'}}\n")
    with place.popen("up", "shop.yaml", stderr=subprocess.PIPE) as process:
        if process.stderr is None:
            raise ValueError("no standard error")
        for line in process.stderr:
            if "worker: running" in line:
                process.send_signal(signal.SIGINT)
            if "once more" in line:
                process.send_signal(signal.SIGINT)
                break
        assert "shop/worker does not end; this process ends without it" in process.stderr.read()
        assert process.wait(20) == 130


def test_what_holds_the_loop_does_not_hold_the_process(place: Place) -> None:
    place.write(
        "holding.py",
        """
        import os
        import threading

        async def work(network):
            os.write(1, b"holding\\n")  # what it prints waits for the loop
            threading.Event().wait()
        """,
    )
    place.write("shop.yaml", "name: shop\nservices: {worker: {task: 'holding:work'}}\n")
    with place.popen("up", "shop.yaml", stderr=subprocess.PIPE) as process:
        if process.stdout is None or process.stderr is None:
            raise ValueError("no output")
        assert process.stdout.readline() == "holding\n"
        # Two of one kind could be one when they come.
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert "this process ends without it" in process.stderr.read()
        assert process.wait(20) == 130


def test_a_standard_error_that_nobody_reads_does_not_hold_the_process(place: Place) -> None:
    place.write("shop.yaml", SERVICE)
    reading, writing = os.pipe()
    with open(reading, "rb"), open(writing, "wb", 0) as full:
        os.set_blocking(writing, False)
        while full.write(bytes(1 << 16)):
            pass
        os.set_blocking(writing, True)
        with place.popen("up", "--json", "--grace", "0.1", "shop.yaml", stderr=full) as process:
            running = Running(process)
            running.until(service="api", state="ready")
            assert running.end() == 0


def test_watch_restarts_what_changes(place: Place, guest_file: GuestFile) -> None:
    component = place.directory / "work.wasm"
    component.write_bytes(guest_file("c-echo-0.2.0").read_bytes())
    text = textwrap.dedent(SERVICE) + (
        "components:\n  work: {component: work.wasm, arguments: [127.0.0.1, '7'], after: [api]}\n"
    )
    place.write("shop.yaml", text)
    running = place.up("shop.yaml", "--watch")
    running.until(service="work", state="completed", incarnation=1)
    component.write_bytes(guest_file("c-echo-0.2.12").read_bytes())
    running.until(service="work", state="completed", incarnation=2)
    place.write("shop.yaml", text.replace("ports: [7]", "ports: [8]"))
    running.until(service="api", state="stopped")
    running.until(service="work", state="failed")
    (told,) = place.ask("ps")
    assert told["services"][0]["ports"] == [8]
    place.write("shop.yaml", "name: shop\nservices: 3\n")
    place.write("shop.yaml", text)
    running.until(service="work", state="completed", incarnation=1)
    assert running.end() == 0


def test_watch_sees_what_changes_while_workloads_start(place: Place) -> None:
    place.write(
        "changing.py",
        """
        from pathlib import Path
        import trio

        async def first(network):
            file = Path("shop.yaml")
            file.write_text(file.read_text().replace("changing:first", "changing:second"))
            await trio.sleep_forever()

        async def second(network):
            pass
        """,
    )
    # What is published is told after the start, and so the service runs before everything has been started.
    place.write("shop.yaml", "name: shop\nservices: {w: {task: 'changing:first'}}\npublish: ['0:7']\n")
    running = place.up("--watch", "shop.yaml")
    running.until(service="w", state="completed")
    assert running.end() == 0


def test_watch_leaves_what_runs_until_the_new_one_can_be_loaded(place: Place, guest_file: GuestFile) -> None:
    component = place.directory / "server.wasm"
    whole = guest_file("c-server-0.2.0").read_bytes()
    component.write_bytes(whole)
    place.write(
        "shop.yaml",
        "name: shop\nservices: {api: {component: server.wasm, arguments: ['7'], ports: [7]}}\n",
    )
    with place.popen("up", "--json", "--watch", "shop.yaml", stderr=subprocess.PIPE) as process:
        running = Running(process)
        place.started.append(running)
        running.until(service="api", state="ready", incarnation=1)
        component.write_bytes(whole[: len(whole) // 2])
        if process.stderr is None:
            raise ValueError("no standard error")
        told = process.stderr.readline()
        assert told.startswith(f"wasi-sockets: default/shop: api: {component}: ")
        assert process.stderr.readline() == "    what ran before goes on\n"
        refused = place.run("restart", "shop:api", "--anew")
        assert (refused.returncode, f"default/shop: api: {component}: " in refused.stderr) == (125, True)
        (shop,) = place.ask("ps")
        assert [(each["state"], each["restarts"]) for each in shop["services"]] == [("ready", 0)]
        component.write_bytes(whole)
        running.until(service="api", state="ready", incarnation=2)
        assert running.end() == 0


def test_watch_outlives_a_change_of_what_is_told_to_stop(place: Place, guest_file: GuestFile) -> None:
    component = place.directory / "work.wasm"
    component.write_bytes(guest_file("c-echo-0.2.0").read_bytes())
    place.write(
        "shop.yaml",
        SERVICE
        + "    publish: ['0:7']\n"
        + "    components:\n      work: {component: work.wasm, arguments: [127.0.0.1, '7'], after: [api]}\n",
    )
    with place.popen("up", "--json", "--watch", "shop.yaml", stderr=subprocess.PIPE) as process:
        running = Running(process)
        place.started.append(running)
        running.until(service="work", state="completed")
        with _connected(place) as client, place.popen("stop", "shop", "--grace", "3600") as stopping:
            running.until(service="api", state="stopping")
            component.write_bytes(guest_file("c-echo-0.2.12").read_bytes())
            if process.stderr is None:
                raise ValueError("no standard error")
            for line in process.stderr:
                if "changed on disk" in line:
                    assert "default/shop: work was told to stop" in line
                    break
            client.sendall(b"last")
            assert client.recv(100) == b"LAST"
            client.close()
            assert stopping.wait(20) == 0
        assert process.wait(20) == 0


def test_watch_starts_nothing_again_after_a_signal(place: Place) -> None:
    text = textwrap.dedent(SERVICE) + "publish: ['0:7']\n"
    place.write("shop.yaml", text)
    with place.popen(
        "up", "--json", "--watch", "--grace", "3600", "shop.yaml", stderr=subprocess.PIPE
    ) as process:
        running = Running(process)
        place.started.append(running)
        running.until(service="api", state="ready")
        with _connected(place):
            place.write("shop.yaml", text.replace("ports: [7]", "ports: [7], restart: always"))
            running.until(service="api", state="stopping")
            process.send_signal(signal.SIGTERM)
            if process.stderr is None:
                raise ValueError("no standard error")
            for line in process.stderr:
                if "once more" in line:
                    break
        assert process.wait(20) == 0


def test_watch_starts_again_what_could_not_be_started(place: Place) -> None:
    text = textwrap.dedent(SERVICE)
    place.write("shop.yaml", text)
    with (
        socket.socket() as taken,
        place.popen("up", "--json", "--watch", "shop.yaml", stderr=subprocess.PIPE) as process,
    ):
        running = Running(process)
        place.started.append(running)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        running.until(service="api", state="ready")
        place.write("shop.yaml", f"{text}publish: ['{taken.getsockname()[1]}:7']\n")
        running.until(service="api", state="stopped")
        if process.stderr is None:
            raise ValueError("no standard error")
        for line in process.stderr:
            if "in use" in line:
                break
        place.write("shop.yaml", text)
        running.until(service="api", state="ready")
        assert running.end() == 0


def test_files_that_cannot_be_used_are_refused_before_anything_starts(place: Place) -> None:
    place.write("shop.yaml", SERVICE)
    place.write("bad.yaml", "name: shop\nservices: {api: {handler: 3}}\n")
    for words, code, message in (
        (["missing.yaml"], 127, "missing.yaml: no such file"),
        (["shop.yaml", "bad.yaml"], 126, "bad.yaml:2:"),
        (["shop.yaml", "shop.yaml"], 125, "default/shop runs already"),
        ([], 2, "FILE"),
    ):
        done = place.run("up", *words)
        assert done.returncode == code, done.stderr
        assert message in done.stderr


def test_a_workload_may_come_from_standard_input(place: Place, guest_file: GuestFile) -> None:
    work = (
        f"components:\n  echo: {{component: '{guest_file('c-echo-0.2.0')}', arguments: [127.0.0.1, '7']}}\n"
    )
    place.write("shop.yaml", textwrap.dedent(SERVICE) + work.replace("}\n", ", after: [api]}\n"))
    with (place.directory / "shop.yaml").open() as file:
        done = subprocess.run(
            [sys.executable, "-m", "service", "up", "--until-done", "-"],
            cwd=place.directory,
            env=place.environment,
            stdin=file,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert (done.returncode, done.stdout) == (0, "shop/echo | echoed 32 bytes in 1 round trips\n"), (
        done.stderr
    )


def test_everything_that_is_wrong_with_a_file_is_said_a_line_each(place: Place) -> None:
    place.write("bad.yaml", "name: shop\nservices:\n  api: {handler: 3}\n  web: {component: missing.wasm}\n")
    done = place.run("up", "bad.yaml")
    assert done.returncode == 126
    *problems, last = done.stderr.splitlines()
    assert {line.split(": ")[1] for line in problems} == {"bad.yaml:3", "bad.yaml:4"}
    assert last == "wasi-sockets: bad.yaml: nothing of it can be run like this"


@pytest.mark.skipif(sys.platform == "win32", reason="has no pseudo-terminals")
def test_a_terminal_is_told_what_takes_its_time_and_ctrl_c_does_not_wait_for_it(
    place: Place, guest_file: GuestFile
) -> None:
    import pty

    guest = guest_file("python")
    place.write(
        "shop.yaml",
        textwrap.dedent(SERVICE) + f"components:\n  slow: {{component: '{guest}', after: [api]}}\n",
    )
    ours, theirs = pty.openpty()
    with (
        place.popen("up", "--no-cache", "shop.yaml", stderr=theirs) as process,
        os.fdopen(ours, "rb") as seen,
    ):
        os.close(theirs)
        told = b""
        while b"shop/slow: compiling (" not in told:
            told += os.read(seen.fileno(), 4096)
        process.send_signal(signal.SIGINT)
        with suppress(OSError):  # how Linux tells that nobody has the other end
            while data := os.read(seen.fileno(), 4096):
                told += data
        assert process.wait(20) == 130
    lines = told.decode().replace("\r\n", "\n").split("\n")
    # Each message stands in a line of its own: what was shown of progress has been taken away before.
    shown = [line.rpartition("\x1b[K")[2] for line in lines]
    assert "wasi-sockets: shop/api: ready" in shown
    assert "wasi-sockets: shop/slow: stopped" in shown
    assert not [line for line in shown if "compiling" in line]


def test_the_control_socket_is_only_this_users_and_bounded(place: Place) -> None:
    place.write("shop.yaml", SERVICE)
    running = place.up("shop.yaml")
    running.until(service="api", state="ready")
    control = Path(place.environment["WASI_SOCKETS_CONTROL"])
    assert stat.S_IMODE(control.stat().st_mode) == 0o700
    path = control / f"{running.process.pid}.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for request, message in (
        (b"x" * 100_000, "one line of JSON"),
        (b"\n", "no JSON"),
        (b"[" * 10_000 + b"\n", "no JSON"),
        (b"[]\n", "a JSON object"),
        (b'{"command": "format"}\n', "there is no command 'format'"),
        (b'{"command": ["ps"]}\n', "there is no command"),
        (b'{"command": "ps", "workload": 3}\n', "workload must be a string"),
        (b'{"command": "stop", "workload": "shop", "within": "x"}\n', "within must be a number"),
        (b'{"command": "ps"', "with its line end"),
    ):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(os.fspath(path))
            try:
                client.sendall(request)
                client.shutdown(socket.SHUT_WR)
            except BrokenPipeError:
                pass  # it has heard enough
            answer = json.loads(_all(client.makefile()))
            assert message in answer["error"], request[:40]
    idle = []
    for _ in range(40):
        client = socket.socket(socket.AF_UNIX)
        client.connect(os.fspath(path))
        idle.append(client)
    refused = place.run("ps")
    for client in idle:
        client.close()
    assert refused.returncode == 125
    assert "try again later" in refused.stderr
    assert [each["name"] for each in place.ask("ps")] == ["shop"]
    assert running.end() == 0
    assert not path.exists()


def test_a_directory_that_others_may_use_is_refused(place: Place) -> None:
    control = Path(place.environment["WASI_SOCKETS_CONTROL"])
    control.mkdir(mode=0o755)
    control.chmod(0o755)
    place.write("shop.yaml", SERVICE)
    done = place.run("ps")
    assert done.returncode == 125
    assert f"others may look into {control}; do: chmod 700 {control}" in done.stderr
    control.chmod(0o700)
    (control / "4194305.sock").touch()  # no process has this number
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(os.fspath(control / "4194304.sock"))
    stale.close()
    assert "nothing runs" in place.run("ps").stdout
    assert not (control / "4194304.sock").exists()


def _connected(place: Place) -> socket.socket:
    (told,) = place.ask("ps")
    (real,) = told["published"]
    host, _, port = real.rpartition(":")
    client = socket.create_connection((host, int(port)))
    client.sendall(b"first")
    assert client.recv(100) == b"FIRST"
    return client


def _all(file: TextIO) -> str:
    with file:
        return file.read()
