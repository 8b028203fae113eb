"""`run --service`: what a guest finds at the ports that were given to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import service

Run = Callable[..., Any]
Files = Callable[[str], Path]

_HANDLERS = """
import trio

async def silent(stream):
    await trio.sleep_forever()

async def mirror(stream):
    async for data in stream:
        await stream.send_all(data)

async def raising(stream):
    await stream.receive_some(1)
    raise ValueError("what came was \\x1b[31mred")

async def late(stream):
    data = b"".join([piece async for piece in stream])
    await stream.aclose()
    await trio.sleep(0.2)  # the guest has its end of the connection, and ends
    with open("received", "wb") as file:
        file.write(data + b", written late")

async def leaving(stream):
    raise SystemExit(3)

class OwnEnd(BaseException):
    pass

async def leaving_in_a_group(stream):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        raise OwnEnd

class Box:
    @staticmethod
    async def mirror(stream):
        await mirror(stream)

def plain(stream):
    pass

async def app(scope, receive, send):
    pass

async def wrong(a, b):
    pass

class Application:
    async def __call__(self, scope, receive, send):
        pass

made = Application()

class Gentle:
    async def __call__(self, stream, *, timeout=3):
        await mirror(stream)

gentle = Gentle()

number = 3

not_awaitable = type("Handler", (), {"__call__": lambda self, stream: 3})()
"""


@pytest.fixture
def handlers(tmp_path: Path) -> str:
    """The name of a module with services, in the current directory of the command; another for each test."""
    name = "handlers_" + tmp_path.name.replace("-", "_")
    (tmp_path / f"{name}.py").write_text(_HANDLERS)
    return name


@pytest.fixture
def client(guest_file: Files) -> Path:
    return guest_file("c-echo-0.2.12")


@pytest.mark.parametrize(
    ("where", "address"),
    [
        ("8080", "127.0.0.1"),
        ("127.0.0.1:8080", "127.0.0.1"),
        ("localhost:8080", "127.0.0.1"),
        ("127.0.0.5:8080", "127.0.0.5"),
        ("0.0.0.0:8080", "127.9.9.9"),
    ],
)
def test_echo(wasi_sockets_command: Run, client: Path, where: str, address: str) -> None:
    ended = wasi_sockets_command("run", client, "--service", f"{where}=echo", "--", address, "8080", "5")
    assert (ended.code, ended.out, ended.err) == (0, "echoed 160 bytes in 5 round trips\n", "")


@pytest.mark.parametrize("where", ["8080", "[::1]:8080", "[::]:8080"])
def test_echo_over_ipv6(wasi_sockets_command: Run, guest_file: Files, where: str) -> None:
    ended = wasi_sockets_command(
        "run", guest_file("python"), "--service", f"{where}=echo", "--", "client", "::1", "8080"
    )
    assert (ended.code, ended.err) == (0, "")
    assert "connected to ::1 8080" in ended.out


def test_nothing_else_answers(wasi_sockets_command: Run, guest_file: Files) -> None:
    ended = wasi_sockets_command(
        "run", guest_file("python"), "--service", "8080=echo", "--", "connect-error", "127.0.0.1", "8081"
    )
    assert (ended.code, ended.out) == (0, "ConnectionRefusedError ECONNREFUSED\n")


@pytest.mark.parametrize("path", ["mirror", "Box.mirror", "gentle"])
def test_a_handler_from_the_current_directory(
    wasi_sockets_command: Run, client: Path, handlers: str, path: str
) -> None:
    ended = wasi_sockets_command("run", client, "--service", f"8080={handlers}:{path}")
    assert (ended.code, ended.out, ended.err) == (0, "echoed 32 bytes in 1 round trips\n", "")


@pytest.mark.parametrize("option", ["--thread", "--no-direct-memory", "--no-cache"])
def test_the_ways_to_run_a_guest_give_the_same(wasi_sockets_command: Run, client: Path, option: str) -> None:
    ended = wasi_sockets_command(
        "run", client, option, "--service", "8080=echo", "--", "127.0.0.1", "8080", "3", "60000"
    )
    assert (ended.code, ended.out, ended.err) == (0, "echoed 180000 bytes in 3 round trips\n", "")


def test_a_handler_that_raises_is_reported_and_the_run_goes_on(
    wasi_sockets_command: Run, guest_file: Files, handlers: str
) -> None:
    ended = wasi_sockets_command(
        "run",
        guest_file("python"),
        "--service",
        f"8080={handlers}:raising",
        "--",
        "half-close",
        "127.0.0.1",
        "8080",
    )
    assert ended.code != 0  # the guest was told that its connection was reset
    told = f"wasi-sockets: --service 8080={handlers}:raising failed: ValueError: what came was \\x1b[31mred"
    assert f"{told} ({handlers}.py, line 13)\n    Traceback" in ended.err
    assert "\x1b" not in ended.err


@pytest.mark.parametrize(("path", "error"), [("leaving", "SystemExit: 3"), ("leaving_in_a_group", "OwnEnd")])
def test_a_handler_cannot_end_the_command(
    wasi_sockets_command: Run, guest_file: Files, handlers: str, path: str, error: str
) -> None:
    ended = wasi_sockets_command(
        "run",
        guest_file("python"),
        *("--service", f"8080={handlers}:{path}", "--", "connect-error", "127.0.0.1", "8080"),
    )
    assert (ended.code, ended.out) == (0, "connected\n")
    assert f"wasi-sockets: --service 8080={handlers}:{path} failed: " in ended.err
    assert error in ended.err
    assert "this should not have happened" not in ended.err


def test_only_the_connection_of_the_handler_that_raised_is_lost(
    wasi_sockets_command: Run, guest_file: Files, handlers: str
) -> None:
    ended = wasi_sockets_command(
        "run",
        guest_file("python"),
        *("--service", f"7001={handlers}:raising", "--service", "7002=echo"),
        *("--", "client", "127.0.0.1", "7002", "3"),
    )
    assert (ended.code, ended.err) == (0, "")


def test_a_service_that_is_no_async_function_after_all(
    wasi_sockets_command: Run, guest_file: Files, handlers: str
) -> None:
    ended = wasi_sockets_command(
        "run",
        guest_file("python"),
        *("--service", f"8080={handlers}:not_awaitable", "--", "half-close", "127.0.0.1", "8080"),
    )
    assert f"--service 8080={handlers}:not_awaitable failed: TypeError: " in ended.err


def test_a_handler_may_finish_after_the_guest_ended(
    wasi_sockets_command: Run, guest_file: Files, handlers: str, tmp_path: Path
) -> None:
    ended = wasi_sockets_command(
        "run",
        guest_file("python"),
        "--service",
        f"8080={handlers}:late",
        "--",
        "half-close",
        "127.0.0.1",
        "8080",
    )
    assert ended.code == 0
    assert (tmp_path / "received").read_text() == "until the end, written late"


def test_a_handler_that_never_ends_does_not_keep_the_command(
    wasi_sockets_command: Run, guest_file: Files, handlers: str
) -> None:
    ended = wasi_sockets_command(
        "run",
        guest_file("python"),
        *("--service", f"8080={handlers}:silent", "--", "connect-error", "127.0.0.1", "8080"),
    )
    assert (ended.code, ended.out, ended.err) == (0, "connected\n", "")


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("{0}:plain", "plain is not an async function; write 'async def plain(stream)'"),
        ("{0}:number", "number cannot be called"),
        (
            "{0}:app",
            "app(scope, receive, send) cannot be called with one argument, the stream; did you mean asgi:{0}:app?",
        ),
        ("{0}:made", "did you mean asgi:{0}:made?"),
        ("{0}:wrong", "wrong(a, b) cannot be called with one argument, the stream\n"),
        ("{0}:nothing", "{0} ({0}.py) has no 'nothing'\n"),
        ("sys:nothing", "sys (built in) has no 'nothing'\n"),
        ("no_such_module:x", "there is no module 'no_such_module' in "),
        (
            "{0}_broken:x",
            "importing {0}_broken failed: ZeroDivisionError: division by zero ({0}_broken.py, line 1)",
        ),
        ("{0}_needs:x", "importing {0}_needs failed: ModuleNotFoundError: No module named 'no_such_library'"),
        ("{0}_script:x", "importing {0}_script failed: SystemExit: 4 ({0}_script.py, line 1)"),
        ("{0}_wrong:x", "importing {0}_wrong failed: SyntaxError: "),
    ],
)
def test_a_service_that_cannot_be_made(
    wasi_sockets_command: Run, client: Path, handlers: str, tmp_path: Path, what: str, told: str
) -> None:
    (tmp_path / f"{handlers}_broken.py").write_text("1 / 0")
    (tmp_path / f"{handlers}_needs.py").write_text("import no_such_library")
    (tmp_path / f"{handlers}_script.py").write_text("raise SystemExit(4)")
    (tmp_path / f"{handlers}_wrong.py").write_text("def f(:")
    ended = wasi_sockets_command("run", client, "--service", "8080=" + what.format(handlers))
    assert ended.code == 2
    assert told.format(handlers) in ended.err
    assert ended.err.startswith("wasi-sockets: --service 8080=")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("module", ["service", "service.handlers"])
def test_a_module_that_is_called_as_a_package_of_this_project(
    wasi_sockets_command: Run, client: Path, tmp_path: Path, module: str
) -> None:
    (tmp_path / "service").mkdir()
    for name in ("__init__", "handlers"):
        (tmp_path / "service" / f"{name}.py").write_text("async def handle(stream): pass\n")
    ended = wasi_sockets_command("run", client, "--service", f"8080={module}:handle")
    assert ended.code == 2
    found = f"service ({service.__file__}) has no 'handle'"
    assert (found if module == "service" else f"there is no module '{module}'") in ended.err
    assert ended.err.endswith(
        "; 'service' is a package of wasi-sockets itself, and hides whatever else is called so:"
        " give your module or folder another name\n"
    )


@pytest.mark.parametrize(
    ("services", "told"),
    [(["8080=echo", "8080=echo"], "Address already in use"), (["10.0.0.1:80=echo"], "10.0.0.1")],
)
def test_a_service_that_cannot_listen(
    wasi_sockets_command: Run, client: Path, services: list[str], told: str
) -> None:
    options = [word for service in services for word in ("--service", service)]
    ended = wasi_sockets_command("run", client, *options)
    assert ended.code == 125
    assert told in ended.err
    assert ended.err.count("\n") == 1


_APPLICATION = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = await receive()
            print(event["type"], flush=True)
            await send({"type": event["type"] + ".complete"})
            if event["type"] == "lifespan.shutdown":
                return
    body = b""
    while (event := await receive())["type"] == "http.request":
        body += event["body"]
        if not event["more_body"]:
            break
    text = f"{scope['method']} {scope['path']} {body.decode()} for {scope['client'][0]}".encode()
    status = 404 if scope["path"] == "/missing" else 200
    await send({"type": "http.response.start", "status": status,
                "headers": [(b"content-length", b"%d" % len(text))]})
    await send({"type": "http.response.body", "body": text})

async def unready(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})
"""


def test_an_asgi_application_answers_http_client(
    wasi_sockets_command: Run, guest_file: Files, tmp_path: Path
) -> None:
    pytest.importorskip("hypercorn", reason="the extra asgi is not installed")
    (tmp_path / "application_one.py").write_text(_APPLICATION)
    ended = wasi_sockets_command(
        "run",
        guest_file("python"),
        "--service",
        "8080=asgi:application_one:app",
        "--",
        "http",
        "127.0.0.1",
        "8080",
    )
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "lifespan.startup",
        "http.client GET /a 200 GET /a  for 127.0.0.1",
        "http.client GET /b?x=1 200 GET /b  for 127.0.0.1",
        "http.client POST /c 200 POST /c some data for 127.0.0.1",
        "connections used: 1",
        "urllib GET /urllib 200 GET /urllib  for 127.0.0.1",
        "urllib GET /missing 404",
        "lifespan.shutdown",
    ]


def test_an_asgi_application_that_cannot_start(
    wasi_sockets_command: Run, client: Path, tmp_path: Path
) -> None:
    pytest.importorskip("hypercorn", reason="the extra asgi is not installed")
    (tmp_path / "application_two.py").write_text(_APPLICATION)
    ended = wasi_sockets_command("run", client, "--service", "8080=asgi:application_two:unready")
    assert ended.code == 125
    assert "no database" in ended.err
    assert ended.err.count("\n") == 1
    assert ended.out == ""  # the guest was not started


def test_the_extra_that_asgi_needs_is_named(command: Run, tmp_path: Path, client: Path) -> None:
    (tmp_path / "hypercorn").mkdir()
    (tmp_path / "hypercorn" / "__init__.py").write_text(
        "raise ModuleNotFoundError('absent', name='hypercorn')"
    )
    ended = command("run", str(client), "--service", "8080=asgi:any:app")
    assert ended.returncode == 2
    assert "pip install 'wasi-sockets[asgi]'" in ended.stderr
    assert ended.stderr.count("\n") == 1
