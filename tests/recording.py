"""What the library tells OpenTelemetry, recorded by a real SDK and checked against the table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from wasi_sockets import telemetry
from wasi_sockets.telemetry_table import ATTRIBUTES, EVENTS, METRICS, SPANS

__all__ = ["Recording", "recording"]


class Recording:
    """Spans and metrics since its beginning. Whatever it gives out is in the table."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self._reader])

    def spans(self, name: str | None = None) -> list[ReadableSpan]:
        """Those that have ended, of one name of the table, in the order of their starts."""
        ended = sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)
        for span in ended:
            if span.instrumentation_scope is None or span.instrumentation_scope.name != "wasi_sockets":
                continue
            titled = SPANS["http.call" if span.kind is SpanKind.CLIENT else "http.request"]
            row = SPANS.get(span.name, titled)
            assert set(span.attributes or ()) <= set(row.attributes), span.to_json()
            assert set(span.attributes or ()) <= ATTRIBUTES.keys(), span.to_json()
            for event in span.events:
                assert event.name in EVENTS, span.to_json()
                assert set(event.attributes or ()) <= set(EVENTS[event.name].attributes), span.to_json()
        return [span for span in ended if name in (None, span.name)]

    def span(self, name: str) -> ReadableSpan:
        """The only one of its name."""
        (only,) = self.spans(name)
        return only

    def tree(self) -> list[str]:
        """All spans by name, each indented below its parent, in the order of their starts."""
        spans = self.spans()
        known = {span.context.span_id for span in spans}
        lines: list[str] = []

        def add(parent: int | None, depth: int) -> None:
            for span in spans:
                above = span.parent.span_id if span.parent is not None else None
                if above == parent or (parent is None and above not in known):
                    lines.append("  " * depth + span.name)
                    add(span.context.span_id, depth + 1)

        add(None, 0)
        return lines

    def points(self, name: str) -> dict[tuple[tuple[str, object], ...], NumberDataPoint | HistogramDataPoint]:
        """The points of a metric by their attributes, as they are collected now."""
        data = self._reader.get_metrics_data()
        found = {}
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    row = METRICS[metric.name]
                    assert (metric.unit, metric.description) == (row.unit, row.meaning)
                    for point in metric.data.data_points:
                        assert set(point.attributes or ()) <= set(row.attributes), metric.to_json()
                        if metric.name == name:
                            found[tuple(sorted((point.attributes or {}).items()))] = point
        return found

    def values(self, name: str) -> dict[tuple[tuple[str, object], ...], float]:
        """The values of a metric that is no histogram, by attributes."""
        return {
            attributes: point.value
            for attributes, point in self.points(name).items()
            if isinstance(point, NumberDataPoint)
        }

    def close(self) -> None:
        """Record no more."""
        self.tracer_provider.shutdown()
        self.meter_provider.shutdown()


@contextmanager
def recording(*, traces: bool = True, meters: bool = True) -> Iterator[Recording]:
    """Record what is told in the block."""
    recorded = Recording()
    telemetry.use(recorded.tracer_provider if traces else None, recorded.meter_provider if meters else None)
    try:
        yield recorded
    finally:
        telemetry.use()
        recorded.close()
