"""Connects of a component that serves, in the example workload, as a receiver sees them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.otlp_receivers import grpc_receiver
from tests.service.test_telemetry import attributes

ROOT = Path(__file__).resolve().parents[2]


def test_what_a_component_connects_while_it_serves_is_linked(
    guest_file: Callable[[str], Path], tmp_path: Path
) -> None:
    """`api` is a component, and posts to `notices` while it handles requests of others."""
    guest_file("tasks")
    guest_file("c-tasks-0.2.12")
    with grpc_receiver() as received:
        variables = {name: each for name, each in os.environ.items() if not name.startswith("OTEL_")}
        variables |= {
            "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint,
            "WASI_SOCKETS_CONTROL": str(tmp_path / "control"),
        }
        subprocess.run(
            [sys.executable, "-m", "service", "up", "--until-done", "service/examples/workload.yaml"],
            env=variables,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=60,
        )
    spans = {span.span_id: span for span in received.spans}
    posts = [span for span in received.spans if span.name == "POST"]
    assert len(posts) == 3
    for post in posts:
        connection = spans[post.parent_span_id]
        connect = spans[connection.parent_span_id]
        (link,) = connect.links
        handled = spans[link.span_id]
        asked = spans[handled.parent_span_id]
        above = [span.name for span in (connect, handled, asked, spans[asked.parent_span_id])]
        assert above == ["socket.connect", "socket.connection", "socket.connect", "guest.call"]
        names = [attributes(span)["component.name"] for span in (post, connection, connect, handled)]
        assert names == ["notices", "notices", "api", "api"]
