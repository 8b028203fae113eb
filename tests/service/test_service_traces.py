"""What is told of hosted services and of images: spans, metrics and log records."""

from __future__ import annotations

import logging

import pytest
import trio
from trio.testing import MockClock

from service.hosting import Host, State
from service.oci import PullError, pull
from service.spec import HandlerCode, RestartPolicy, ServiceSpec, TaskCode, WorkloadSpec
from tests.recording import Recording, recording
from wasi_sockets import Network, TcpStream, telemetry

EXACT = RestartPolicy(backoff=1, backoff_max=8, jitter=0, budget=4, healthy_after=60)
OURS = (("workload.name", "shop"), ("workload.namespace", "prod"))


def workload(service: ServiceSpec) -> WorkloadSpec:
    return WorkloadSpec(name="shop", namespace="prod", services=(service,))


async def test_a_service_that_starts_serves_and_stops(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(stream: TcpStream) -> None:
        await stream.send_all(b"hello")

    service = ServiceSpec(name="api", code=HandlerCode(answer), ports=(80,))
    with recording() as recorded, caplog.at_level(logging.INFO, "wasi_sockets.service"):
        async with Host() as host:
            running = await host.start(workload(service))
            await running.until_ready()
            assert _counted(recorded) == {"ready": 1}
            async with await running.network.connect_tcp("127.0.0.1", 80) as stream:
                assert await stream.receive_some() == b"hello"
        expected = ["service.start", "socket.connect", "  socket.connection", "service.stop"]
        assert recorded.tree() == expected
        for name in ("service.start", "service.stop"):
            span = recorded.span(name)
            attributes = dict(span.attributes or {})
            assert str(attributes.pop("workload.id")).startswith("prod/shop/")
            assert attributes == {
                "workload.name": "shop",
                "workload.namespace": "prod",
                "component.name": "api",
                "wasi_sockets.service.name": "api",
            }
            assert span.status.status_code.name == "UNSET"
        assert _counted(recorded) == {}
    told = [record for record in caplog.records if record.name == "wasi_sockets.service"]
    states = [record.__dict__["wasi_sockets.service.state"] for record in told]
    assert (states[0], states[-1]) == ("starting", "stopped")
    assert "ready" in states
    assert {record.__dict__["workload.namespace"] for record in told} == {"prod"}


async def test_what_handlers_do_is_told_as_their_services(autojump_clock: MockClock) -> None:
    async def answer(stream: TcpStream) -> None:
        with telemetry.span("host.call"):
            await stream.send_all(b"hello")

    service = ServiceSpec(name="api", code=HandlerCode(answer), ports=(80,))
    with recording() as recorded:
        async with Host() as host:
            running = await host.start(workload(service))
            await running.until_ready()
            with telemetry.workload_scope(id="1", name="shop", component="client"):
                async with await running.network.connect_tcp("127.0.0.1", 80) as stream:
                    assert await stream.receive_some() == b"hello"
        handled, connect = recorded.span("host.call"), recorded.span("socket.connect")
        connection = recorded.span("socket.connection")
    for span in (handled, connection):
        assert (span.attributes or {})["component.name"] == "api"
    assert (handled.attributes or {})["workload.id"] == "1"
    assert (connect.attributes or {})["component.name"] == "client"


def _counted(recorded: Recording) -> dict[str, float]:
    return {
        str(dict(attributes)["wasi_sockets.service.state"]): value
        for attributes, value in recorded.values("wasi_sockets.service.count").items()
        if OURS[0] in attributes
    }


async def test_a_service_that_is_restarted_until_it_has_failed(autojump_clock: MockClock) -> None:
    async def fail(network: Network) -> None:
        await trio.sleep(1)
        with telemetry.span("guest.call"):
            raise RuntimeError("no good")

    service = ServiceSpec(name="api", code=TaskCode(fail), restart=EXACT)
    with recording() as recorded:
        async with Host() as host:
            running = await host.start(workload(service))
            assert not await running.wait()
            assert running.status().services[0].state is State.FAILED
            assert _counted(recorded) == {"failed": 1}
        restarts = recorded.spans("service.restart")
        assert [(span.attributes or {})["wasi_sockets.service.restart"] for span in restarts] == [1, 2, 3, 4]
        key = tuple(sorted((*OURS, ("wasi_sockets.service.name", "api"))))
        assert recorded.values("wasi_sockets.service.restarts")[key] == 4
        starts = [recorded.span("service.start"), *restarts]
        parents = {span.parent.span_id for span in recorded.spans("guest.call") if span.parent is not None}
        assert parents == {span.context.span_id for span in starts}


async def test_a_pull_that_fails_says_why(tmp_path_factory: pytest.TempPathFactory) -> None:
    with recording() as recorded:
        with pytest.raises(PullError):
            await pull("127.0.0.1:1/shop/api:1", policy="never", cache=tmp_path_factory.mktemp("images"))
        span = recorded.span("component.pull")
    attributes = span.attributes or {}
    assert attributes["wasi_sockets.image"] == "127.0.0.1:1/shop/api:1"
    assert attributes["server.address"] == "127.0.0.1:1"
    assert attributes["error.type"] == "not-cached"
