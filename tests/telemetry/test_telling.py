"""telemetry.py: who records, whose it is, spans, metrics and log events."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress

import pytest
from opentelemetry.sdk.trace import TracerProvider

from tests.recording import Recording
from wasi_sockets import telemetry
from wasi_sockets.telemetry_table import ATTRIBUTES, EVENTS, METRICS, SPANS


def test_every_row_uses_known_attributes_once() -> None:
    for row in (*SPANS.values(), *METRICS.values(), *EVENTS.values()):
        assert len(set(row.attributes)) == len(row.attributes), row.name
        assert set(row.attributes) <= ATTRIBUTES.keys(), row.name
    used = {each for row in (*SPANS.values(), *METRICS.values(), *EVENTS.values()) for each in row.attributes}
    assert used == ATTRIBUTES.keys()


def test_metrics_have_no_unit_in_their_name_and_no_addresses() -> None:
    for row in METRICS.values():
        assert row.name.startswith("wasi_sockets.")
        assert row.unit in ("s", "By") or (row.unit[0] == "{" and row.unit[-1] == "}")
        assert not any("address" in each or "port" in each or each.endswith(".id") for each in row.attributes)
        assert row.instrument != "histogram" or row.buckets


def test_nothing_is_told_while_nobody_records() -> None:
    assert not telemetry.active
    with telemetry.span("service.start") as span:
        assert not span.is_recording()
    telemetry.count("wasi_sockets.guest.traps")
    telemetry.record("wasi_sockets.connection.duration", 1.0)


def test_a_provider_that_is_disabled_records_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    try:
        telemetry.use(TracerProvider())
        assert not telemetry.tracing
    finally:
        telemetry.use()


def test_global_providers_are_found_when_they_are_set_later() -> None:
    program = """
import wasi_sockets
from wasi_sockets import telemetry
wasi_sockets.Network("before")
telemetry.refresh()
assert not telemetry.active
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
reader = InMemoryMetricReader()
trace.set_tracer_provider(TracerProvider())
metrics.set_meter_provider(MeterProvider([reader]))
telemetry.refresh()
assert telemetry.tracing and telemetry.metering
with telemetry.span("service.start") as span:
    assert span.is_recording()
telemetry.count("wasi_sockets.guest.traps")
metrics = [m for r in reader.get_metrics_data().resource_metrics for s in r.scope_metrics for m in s.metrics]
assert [m.data.data_points[0].value for m in metrics if m.name == "wasi_sockets.guest.traps"] == [1]
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_spans_say_whose_they_are(recorded: Recording) -> None:
    with telemetry.workload_scope(id="7", name="shop", namespace="prod"):
        with telemetry.workload_scope(component="cart"), telemetry.span("guest.call"):
            pass
        with telemetry.span("service.start"):
            pass
    with telemetry.span("service.stop"):
        pass
    workload = {"workload.id": "7", "workload.name": "shop", "workload.namespace": "prod"}
    assert recorded.span("guest.call").attributes == {**workload, "component.name": "cart"}
    assert recorded.span("service.start").attributes == workload
    assert recorded.span("service.stop").attributes == {}


def test_a_span_has_the_scope_of_the_library(recorded: Recording) -> None:
    with telemetry.span("service.start"):
        pass
    scope = recorded.span("service.start").instrumentation_scope
    assert scope is not None
    assert (scope.name, scope.version) == ("wasi_sockets", telemetry.VERSION)
    assert scope.schema_url is not None
    assert scope.schema_url.startswith("https://opentelemetry.io/schemas/")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConnectionRefusedError("no"), "connection_refused"),
        (ConnectionResetError("no"), "connection_reset"),
        (PermissionError("no"), "access_denied"),
        (TimeoutError("late"), "timed_out"),
        (LookupError("which"), "LookupError"),
    ],
)
def test_what_a_block_raises_is_its_error_type(recorded: Recording, error: Exception, told: str) -> None:
    with suppress(type(error)), telemetry.span("guest.call"):
        raise error
    span = recorded.span("guest.call")
    assert (span.attributes or {})["error.type"] == told
    assert span.status.status_code.name == "ERROR"
    assert span.status.description == str(error)


def test_what_ends_a_program_is_no_failure_of_a_span(recorded: Recording) -> None:
    with suppress(KeyboardInterrupt), telemetry.span("guest.call"):
        raise KeyboardInterrupt
    assert recorded.span("guest.call").status.status_code.name == "UNSET"


def test_spans_nest_and_events_go_to_the_current_one(recorded: Recording) -> None:
    with telemetry.span("service.start"):
        with telemetry.span("component.load"):
            telemetry.event("wasi_sockets.policy.denied", {"wasi_sockets.policy.use": "bind"})
        assert not recorded.spans("service.start")
    assert recorded.tree() == ["service.start", "  component.load"]
    (event,) = recorded.span("component.load").events
    assert event.name == "wasi_sockets.policy.denied"


def test_a_request_continues_the_trace_that_it_names() -> None:
    assert telemetry.remote_parent({"accept": "*/*"}) is None
    assert telemetry.remote_parent({"traceparent": "nonsense"}) is None
    assert telemetry.remote_parent({"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}) is not None


class Counts:
    """A source of one counter and one gauge."""

    def __init__(self, opened: int, active: int) -> None:
        self.opened = opened
        self.active = active

    def measurements(self) -> Iterable[telemetry.Measurement]:
        yield "wasi_sockets.connection.opened", self.opened, {"workload.name": "shop"}
        yield "wasi_sockets.connection.active", self.active, {"workload.name": "shop"}


def test_sources_add_up_and_counters_outlive_them(recorded: Recording) -> None:
    class Retiring(Counts):
        def __del__(self) -> None:
            telemetry.retire(self)

    key = (("workload.name", "shop"),)
    stays, goes = Retiring(2, 1), Retiring(3, 2)
    telemetry.observe(stays)
    telemetry.observe(goes)
    before = recorded.values("wasi_sockets.connection.opened")[key]
    assert recorded.values("wasi_sockets.connection.active")[key] == 3
    stays.opened += 10
    assert recorded.values("wasi_sockets.connection.opened")[key] == before + 10
    del goes
    gc.collect()
    assert recorded.values("wasi_sockets.connection.opened")[key] == before + 10
    assert recorded.values("wasi_sockets.connection.active")[key] == 1


def test_what_changes_while_it_is_collected_is_read_again(recorded: Recording) -> None:
    class Changing(Counts):
        tries = 0

        def measurements(self) -> Iterator[telemetry.Measurement]:
            self.tries += 1
            yield "wasi_sockets.listener.queue", 5, {}
            if self.tries == 1:
                raise RuntimeError("dictionary changed size during iteration")

    source = Changing(0, 0)
    telemetry.observe(source)
    assert recorded.values("wasi_sockets.listener.queue")[()] == 5
    assert source.tries == 2


def test_histograms_have_the_buckets_of_the_table(recorded: Recording) -> None:
    telemetry.record("wasi_sockets.connection.duration", 0.03)
    (point,) = recorded.points("wasi_sockets.connection.duration").values()
    assert tuple(point.explicit_bounds) == METRICS["wasi_sockets.connection.duration"].buckets  # type: ignore[union-attr]


def test_a_log_event_has_a_message_and_attributes(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("wasi_sockets.service")
    with caplog.at_level(logging.INFO, "wasi_sockets"), telemetry.workload_scope(name="shop"):
        telemetry.log(
            logger,
            logging.INFO,
            "wasi_sockets.service.state",
            "service %s is %s",
            "web",
            "running",
            attributes={"wasi_sockets.service.name": "web", "wasi_sockets.service.state": "running"},
        )
    (record,) = caplog.records
    assert record.getMessage() == "service web is running"
    assert record.filename == "test_telling.py"
    assert record.__dict__["event.name"] == "wasi_sockets.service.state"
    assert record.__dict__["workload.name"] == "shop"
    assert record.__dict__["wasi_sockets.service.state"] == "running"


def test_lines_of_output_are_records(caplog: pytest.LogCaptureFixture) -> None:
    lines = telemetry.OutputLines("stderr")
    with caplog.at_level(logging.INFO, "wasi_sockets.guest"):
        lines.write(b"one\r\ntw")
        lines.write(b"o\n\n\xff")
        lines.finish()
        lines.write(b"x" * 20_000)
        lines.finish()
    said = [record.getMessage() for record in caplog.records]
    assert said[:4] == ["one", "two", "", "\\xff"]
    assert "".join(said[4:]) == "x" * 20_000
    assert max(map(len, said)) <= 8192
    assert {record.__dict__["log.iostream"] for record in caplog.records} == {"stderr"}


def test_lines_of_output_are_not_kept_while_nobody_wants_them(caplog: pytest.LogCaptureFixture) -> None:
    lines = telemetry.OutputLines("stdout")
    with caplog.at_level(logging.WARNING, "wasi_sockets.guest"):
        lines.write(b"lost")
    with caplog.at_level(logging.INFO, "wasi_sockets.guest"):
        lines.write(b"kept\n")
    assert [record.getMessage() for record in caplog.records] == ["kept"]
