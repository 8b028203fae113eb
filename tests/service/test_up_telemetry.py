"""One request through a workload that `up` runs, as a receiver sees it: component, service, forward, real server."""

from __future__ import annotations

import os
import signal
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.otlp_receivers import grpc_receiver
from tests.service.test_telemetry import attributes

RELAY = """
async def relay(network, task_status):
    async def handle(stream):
        async with await network.connect_tcp("127.0.0.1", 9000) as onward:
            async for data in stream:
                await onward.send_all(data)
                await stream.send_all(await onward.receive_some())

    await network.serve_tcp(handle, 8080, task_status=task_status)
"""

WORKLOAD = """
name: shop
namespace: prod
services:
  relay: {{task: "relays:relay", ports: [8080]}}
components:
  client: {{component: {client}, after: [relay]}}
forward: ["9000=127.0.0.1:{port}"]
"""


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)


@pytest.fixture
def real_port() -> Iterator[int]:
    """Where a real server echoes."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_one_request_is_one_trace(
    environment: dict[str, str], guest_file: Callable[[str], Path], tmp_path: Path, real_port: int
) -> None:
    (tmp_path / "relays.py").write_text(RELAY)
    (tmp_path / "shop.yaml").write_text(WORKLOAD.format(client=guest_file("c-echo-0.2.12"), port=real_port))
    with grpc_receiver() as received:
        variables = {name: each for name, each in environment.items() if not name.startswith("OTEL_")}
        variables |= {
            "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint,
            "WASI_SOCKETS_CONTROL": str(tmp_path / "control"),
            "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
        }
        with subprocess.Popen(
            [sys.executable, "-m", "service", "up", "--json", "shop.yaml"],
            env=variables,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        ) as running:
            assert running.stdout is not None
            for line in running.stdout:
                if '"completed"' in line:
                    break
            running.send_signal(signal.SIGTERM)
            running.stdout.read()
            running.wait(timeout=30)

    spans = {span.span_id: span for span in received.spans}
    (call,) = (span for span in received.spans if span.name == "guest.call")
    outside = next(
        span
        for span in received.spans
        if span.name == "socket.connect" and attributes(span).get("server.port") == real_port
    )
    assert path_to(outside, call, spans) == [
        "guest.call",
        "socket.connect",
        "socket.connection",
        "socket.connect",
        "socket.bridge",
        "socket.connect",
    ]
    assert attributes(call)["component.name"] == "client"
    assert spans[call.parent_span_id].name == "service.start"
    for span in received.spans:
        assert attributes(span)["workload.namespace"] == "prod", span
    states = [record for record in received.records if record.event_name == "wasi_sockets.service.state"]
    assert {str(attributes(record)["wasi_sockets.service.name"]) for record in states} == {"relay", "client"}
    (line,) = (record for record in received.records if record.event_name == "wasi_sockets.guest.output")
    assert line.body.string_value == "echoed 32 bytes in 1 round trips"
    assert line.trace_id == call.trace_id
    (opened,) = received.metrics["wasi_sockets.connection.opened"].sum.data_points
    assert attributes(opened) == {"workload.name": "shop", "workload.namespace": "prod"}
    assert opened.as_int == 2


def path_to(span: Any, above: Any, spans: dict[bytes, Any]) -> list[str]:
    """The names of the spans from `above` down to `span`."""
    names = [span.name]
    while span is not above:
        span = spans[span.parent_span_id]
        names.insert(0, span.name)
    return names
