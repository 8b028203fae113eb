"""What the gateway tells OpenTelemetry: requests below the guest's connection, refusals, and nothing secret."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trio
import trio.testing

from service.kubernetes import acting_as
from tests.recording import Recording, recording
from tests.service.kubernetes.fake_api_server import Answering, FakeApiServer, Received
from tests.service.kubernetes.gateways import PODS, SECRET, gateway, raw


@pytest.fixture
def recorded() -> Iterator[Recording]:
    with recording() as told:
        yield told


async def test_a_request_is_a_client_span_below_the_connection_of_the_guest(recorded: Recording) -> None:
    async with gateway() as given:
        await raw(
            await given.connect(), f"GET {PODS}?token=in-the-query HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        )
        port = given.api.port
        await trio.testing.wait_all_tasks_blocked()
    assert recorded.tree()[:3] == ["socket.connect", "  socket.connection", "    GET"]
    span = recorded.span("GET")
    assert span.kind.name == "CLIENT"
    assert span.attributes == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "url.path": PODS,
        "url.scheme": "https",
        "server.address": "127.0.0.1",
        "server.port": port,
        "wasi_sockets.service.name": "controller",
    }
    told = "".join(each.to_json() for each in recorded.spans())
    assert SECRET not in told
    assert "in-the-query" not in told


async def test_an_api_server_that_hangs_up_fails_the_span(recorded: Recording) -> None:
    async def hang_up(received: Received, answering: Answering) -> None:
        await trio.aclose_forcefully(answering.stream)

    async with gateway(FakeApiServer(hang_up)) as given:
        await raw(await given.connect(), f"GET {PODS} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    span = recorded.span("GET")
    assert (span.attributes or {})["error.type"] == "api_server_unavailable"
    assert span.status.status_code.name == "ERROR"


async def test_refusals_are_counted_and_are_no_client_spans(recorded: Recording) -> None:
    async with gateway() as given:
        await raw(await given.connect(), b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        await raw(await given.connect(), b"nonsense\r\n\r\n")
        with acting_as("other"):
            await raw(await given.connect(), b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
    assert recorded.spans("GET") == []
    counted = {
        (dict(key)["wasi_sockets.service.name"], dict(key)["http.response.status_code"]): point.value
        for key, point in recorded.points("wasi_sockets.kubernetes.refusals").items()
    }
    assert counted == {("controller", 403): 1, ("controller", 400): 1, ("other", 403): 1}
