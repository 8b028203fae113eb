"""Spans of requests that `serve_asgi` answers."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from tests.recording import Recording
from wasi_sockets import Network, telemetry

pytest.importorskip("hypercorn", reason="the extra asgi is not installed")
from wasi_sockets.asgi import serve_asgi

_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
_PARENT = "00f067aa0ba902b7"


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        return
    if scope["path"] == "/raise":
        raise ValueError("as asked")
    with telemetry.span("service.start"):
        status = 503 if scope["path"] == "/busy" else 200
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


async def request(*lines: str) -> None:
    network = Network()
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_asgi, application, [network.listen_tcp(80)])
        with telemetry.workload_scope(name="shop"), telemetry.span("guest.call"):
            async with await network.connect_tcp("127.0.0.1", 80) as stream:
                await stream.send_all("\r\n".join([*lines, "host: x", "connection: close", "", ""]).encode())
                async for _ in stream:
                    pass
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def test_a_request_is_in_the_trace_of_its_connection(recorded: Recording) -> None:
    await request("GET /things?x=1 HTTP/1.1")
    assert recorded.tree() == [
        "guest.call",
        "  socket.connect",
        "    socket.connection",
        "      GET",
        "        service.start",
    ]
    span = recorded.span("GET")
    assert span.kind.name == "SERVER"
    client = (recorded.span("socket.connect").attributes or {})["network.local.port"]
    assert span.attributes == {
        "workload.name": "shop",
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "url.path": "/things",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "server.address": "127.0.0.1",
        "server.port": 80,
        "client.address": "127.0.0.1",
        "client.port": client,
    }


async def test_a_request_continues_the_trace_that_it_names(recorded: Recording) -> None:
    await request("POST / HTTP/1.1", f"traceparent: 00-{_TRACE}-{_PARENT}-01", "content-length: 0")
    span = recorded.span("POST")
    assert span.parent is not None
    assert f"{span.context.trace_id:032x}" == _TRACE
    assert f"{span.parent.span_id:016x}" == _PARENT
    connection = recorded.span("socket.connection")
    assert [link.context.span_id for link in span.links] == [connection.context.span_id]
    inner = recorded.span("service.start")
    assert inner.parent is not None
    assert inner.parent.span_id == span.context.span_id


@pytest.mark.parametrize(
    ("line", "title", "told"),
    [
        ("GET /busy HTTP/1.1", "GET", "503"),
        ("GET /raise HTTP/1.1", "GET", "ValueError"),
        ("BREW /pot HTTP/1.1", "HTTP", None),
    ],
)
async def test_failures_and_strange_methods(
    recorded: Recording, line: str, title: str, told: str | None
) -> None:
    await request(line)
    span = recorded.span(title)
    attributes = span.attributes or {}
    assert attributes.get("error.type") == told
    assert attributes["http.request.method"] == ("_OTHER" if title == "HTTP" else "GET")
    assert span.status.status_code.name == ("UNSET" if told is None else "ERROR")
