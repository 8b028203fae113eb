"""What a guest writes, as log records."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

import wasi_sockets
from tests.recording import Recording
from wasi_sockets import Network, telemetry


async def test_lines_of_a_guest_are_records_of_its_workload(
    recorded: Recording, guest_file: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    written: list[bytes] = []
    traces: list[int] = []

    async def take(data: bytes) -> None:
        written.append(data)

    class Noting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            traces.append(telemetry.current_span().get_span_context().span_id)

    noting = Noting()
    logging.getLogger("wasi_sockets.guest").addHandler(noting)
    try:
        with (
            caplog.at_level(logging.INFO, "wasi_sockets.guest"),
            telemetry.workload_scope(name="shop", component="printer"),
        ):
            await wasi_sockets.run(
                guest_file("python"), ["stderr"], network=Network(), stdin=None, stdout=take, stderr=take
            )
    finally:
        logging.getLogger("wasi_sockets.guest").removeHandler(noting)
    records = [record for record in caplog.records if record.name == "wasi_sockets.guest"]
    said = {(record.__dict__["log.iostream"], record.getMessage()) for record in records}
    assert said == {("stdout", "out 1"), ("stdout", "out 2"), ("stderr", "err 1"), ("stderr", "err 2")}
    for record in records:
        assert record.__dict__["event.name"] == "wasi_sockets.guest.output"
        assert record.__dict__["workload.name"] == "shop"
        assert record.__dict__["component.name"] == "printer"
    assert sorted(b"".join(written).decode().split("\n")) == ["", "err 1", "err 2", "out 1", "out 2"]
    assert set(traces) == {recorded.span("guest.call").context.span_id}
