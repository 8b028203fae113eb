"""Telemetry of `run`, at a receiver that others made: `@elastic/mockotlpserver`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.real_parts.parts import OTLP_RECEIVER, RealPartMissing

ROOT = Path(__file__).resolve().parents[2]
RECEIVER = Path(__file__).parent / "receiver" / "receiver.js"


def received_from_a_run(guest: Path, protocol: str) -> tuple[list[dict[str, Any]], str]:
    """What arrived of a run of a guest with an echo service, and what the run printed."""
    try:
        modules = OTLP_RECEIVER.modules()
    except RealPartMissing as missing:
        pytest.skip(str(missing))
    with subprocess.Popen(
        ["node", str(RECEIVER)],
        env={**os.environ, "NODE_PATH": str(modules)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as receiver:
        assert receiver.stdout is not None
        assert receiver.stdin is not None
        places = json.loads(receiver.stdout.readline())
        ended = subprocess.run(
            [sys.executable, "-m", "service", "run", str(guest), "--service", "8080=echo"],
            cwd=ROOT,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
                "OTEL_EXPORTER_OTLP_ENDPOINT": places[protocol.partition("/")[0]],
                "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
                "OTEL_EXPORTER_OTLP_INSECURE": "true",
                "OTEL_SERVICE_NAME": "shop",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (ended.returncode, ended.stderr) == (0, "")
        receiver.stdin.close()
        return [json.loads(line) for line in receiver.stdout], ended.stdout


def scopes(arrived: list[dict[str, Any]], signal: str, resources: str, inner: str) -> list[dict[str, Any]]:
    """What arrived of one signal from the library."""
    return [
        item
        for message in arrived
        if signal in message
        for resource in message[signal][resources]
        if resource["resource"]["attributes"]["service.name"] == "shop"
        for scope in resource[resources.replace("resource", "scope")]
        if scope["scope"]["name"].startswith("wasi_sockets")
        for item in scope[inner]
    ]


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_traces_metrics_and_logs_arrive(guest_file: Callable[[str], Path], protocol: str) -> None:
    arrived, printed = received_from_a_run(guest_file("c-echo-0.2.12"), protocol)

    spans = {span["name"]: span for span in scopes(arrived, "traces", "resourceSpans", "spans")}
    assert spans.keys() == {
        "component.load",
        *({"component.rewrite", "component.compile"} & spans.keys()),  # unless it was cached
        "guest.instantiate",
        "guest.call",
        "socket.connect",
        "socket.connection",
    }
    call, connect, connection = (
        spans[name] for name in ("guest.call", "socket.connect", "socket.connection")
    )
    assert (connect["parentSpanId"], connection["parentSpanId"]) == (call["spanId"], connect["spanId"])
    assert connect["traceId"] == connection["traceId"] == call["traceId"]
    assert connect["attributes"]["server.port"] in (8080, "8080")

    metrics = {metric["name"] for metric in scopes(arrived, "metrics", "resourceMetrics", "metrics")}
    assert {"wasi_sockets.connection.opened", "wasi_sockets.guest.call.duration"} <= metrics

    (record,) = scopes(arrived, "logs", "resourceLogs", "logRecords")
    assert record["body"] == printed.strip()
    assert (record["traceId"], record["spanId"]) == (call["traceId"], call["spanId"])
    assert record["attributes"]["log.iostream"] == "stdout"
