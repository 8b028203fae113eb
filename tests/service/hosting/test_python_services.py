"""Python services: what is looked at before they run, and what is told when they cannot."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from service.hosting import Host, State
from service.spec import AsgiCode, Code, HandlerCode, RestartPolicy, ServiceSpec, TaskCode, WorkloadSpec
from wasi_sockets import Network, TcpStream


async def good(stream: TcpStream) -> None:
    await stream.send_all(b"hello")


def gives_an_awaitable(stream: TcpStream) -> Any:
    return good(stream)


def plain(stream: TcpStream) -> None:
    print(stream)


def sometimes(stream: TcpStream) -> Any:
    if stream is None:
        return None
    return good(stream)


async def two(stream: TcpStream, other: object) -> None: ...


async def generates(stream: TcpStream) -> Any:
    yield stream


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    raise RuntimeError(f"no {scope['path']}")


def plain_task(network: Network) -> None: ...


async def task_of_two(network: Network, other: object) -> None: ...


class Of2:
    """As applications of ASGI 2 were."""

    def __init__(self, scope: object) -> None: ...


@pytest.fixture(autouse=True)
def wares(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("wares")
    vars(module).update({name: each for name, each in globals().items() if callable(each)})
    monkeypatch.setitem(sys.modules, "wares", module)


def workload(code: Code, **options: Any) -> WorkloadSpec:
    ports = () if isinstance(code, TaskCode) else (80,)
    return WorkloadSpec(name="w", services=(ServiceSpec(name="s", code=code, ports=ports),), **options)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            HandlerCode("wares:plain"),
            "plain is not an async function; write 'async def plain(stream)', or asgi:wares:plain for an ASGI"
            " application",
        ),
        (HandlerCode("wares:two"), "two(stream, other) cannot be called with one argument"),
        (HandlerCode("wares:generates"), "generates is not an async function; write"),
        (HandlerCode("wares:app"), "did you mean asgi:wares:app?"),
        (HandlerCode(plain), "plain is not an async function; write 'async def plain(stream)', or an `AsgiCode`"),
        (AsgiCode("wares:good"), "did you mean handler:wares:good?"),
        (AsgiCode("wares:Of2"), "cannot be called with scope, receive and send, as an ASGI 3 application is"),
        (TaskCode("wares:plain_task"), "write 'async def plain_task(network)'"),
        (TaskCode("wares:task_of_two"), "cannot be called with one argument, the network"),
    ],
)  # fmt: skip
async def test_what_cannot_serve_fails_for_good(code: Code, message: str) -> None:
    async with Host() as host:
        running = await host.start(workload(code))
        assert await running.until("s", State.FAILED, State.READY) is State.FAILED
        (status,) = running.status().services
        assert message in status.reason
        assert status.restarts == 0


@pytest.mark.parametrize(
    "target", ["wares:good", "wares:gives_an_awaitable", "wares:sometimes", lambda stream: good(stream)]
)
async def test_whatever_gives_an_awaitable_serves(target: Any) -> None:
    async with Host() as host:
        running = await host.start(workload(HandlerCode(target)))
        assert await running.until("s", State.FAILED, State.READY) is State.READY
        async with await running.network.connect_tcp("127.0.0.1", 80) as stream:
            assert await stream.receive_some() == b"hello"


async def test_a_handler_that_gives_nothing_to_await_is_named() -> None:
    class Callable:
        def __call__(self, stream: TcpStream) -> None: ...

        def __repr__(self) -> str:
            return "<the handler>"

    async with Host() as host:
        running = await host.start(workload(HandlerCode(Callable())))  # type: ignore[arg-type]
        await running.until("s", State.READY)
        async with await running.network.connect_tcp("127.0.0.1", 80) as stream:
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
    said = [each.text for each in host.lines.last()]
    assert said[-1] == (
        "TypeError: a handler must be an async function, but <the handler> returned None, which cannot be awaited"
    )


@pytest.mark.parametrize("code", [HandlerCode(good), AsgiCode(app)])
async def test_a_port_that_is_taken_is_told_in_a_line(code: Code, autojump_clock: MockClock) -> None:
    async with Host() as host:
        running = await host.start(
            WorkloadSpec(
                name="w",
                services=(
                    ServiceSpec(name="squatter", code=TaskCode(squat)),
                    ServiceSpec(
                        name="s", code=code, ports=(80,), after=("squatter",), restart=RestartPolicy("never")
                    ),
                ),
            )
        )
        await running.until("s", State.FAILED)
        assert running.status().services[1].reason == "cannot listen: Address already in use: 127.0.0.1:80"
        assert [each for each in host.lines.last() if each.service == "s"] == []


async def squat(network: Network) -> None:
    async with network.listen_tcp(80):
        await trio.sleep_forever()


async def test_a_task_that_wants_a_taken_port_is_shown_its_own_line(autojump_clock: MockClock) -> None:
    async def twice(network: Network) -> None:
        async with network.listen_tcp(80), network.listen_tcp(80):
            pass

    async with Host() as host:
        spec = ServiceSpec(name="s", code=TaskCode(twice), restart=RestartPolicy("never"))
        running = await host.start(WorkloadSpec(name="w", services=(spec,)))
        await running.until("s", State.FAILED)
    said = [each.text for each in host.lines.last()]
    frames = [line for line in said if line.lstrip().startswith("File ")]
    assert [__file__ in frame for frame in frames] == [True]
    assert said[-1] == "OSError: [Errno 98] Address already in use: 127.0.0.1:80"


async def test_what_an_application_raises_is_output_of_its_service(capfd: pytest.CaptureFixture[str]) -> None:
    async with Host() as host:
        running = await host.start(workload(AsgiCode(app)))
        await running.until("s", State.READY)
        async with await running.network.connect_tcp("127.0.0.1", 80) as stream:
            await stream.send_all(b"GET /shop HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert b" 500 " in await stream.receive_some()
        await wait_all_tasks_blocked()
    said = [(each.service, each.stream, each.text) for each in host.lines.last()]
    assert said[0] == ("s", "host", "Error in ASGI Framework")
    assert said[-1] == ("s", "host", "RuntimeError: no /shop")
    frames = [text for _, _, text in said if text.lstrip().startswith("File ")]
    assert [Path(__file__).name in frame for frame in frames] == [True]
    assert capfd.readouterr().err == ""
