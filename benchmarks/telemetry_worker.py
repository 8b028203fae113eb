"""Our host as of `virtual_worker.py`, with one of the ways to record, or none: see `telemetry.py`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.worker import answer_requests

_COLLECT_MILLISECONDS = 1000


def _record() -> None:
    """Record with the SDK: spans in batches, metrics every second, encoded as for OTLP and thrown away."""
    from opentelemetry import metrics, trace
    from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import (
        MetricExporter,
        MetricExportResult,
        PeriodicExportingMetricReader,
    )
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Spans(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            encode_spans(spans).SerializeToString()
            return SpanExportResult.SUCCESS

    class Metrics(MetricExporter):
        def export(self, data: Any, timeout_millis: float = 0, **options: Any) -> MetricExportResult:
            encode_metrics(data).SerializeToString()
            return MetricExportResult.SUCCESS

        def force_flush(self, timeout_millis: float = 0) -> bool:
            return True

        def shutdown(self, timeout_millis: float = 0, **options: Any) -> None:
            pass

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Spans()))
    trace.set_tracer_provider(provider)
    reader = PeriodicExportingMetricReader(Metrics(), export_interval_millis=_COLLECT_MILLISECONDS)
    metrics.set_meter_provider(MeterProvider([reader]))


def main() -> None:
    """Measure whatever is asked for on standard input."""
    guest, variant, library = sys.argv[1:]
    if library:
        sys.path.insert(0, library)
    if variant == "no-op":
        os.environ["OTEL_SDK_DISABLED"] = "true"
    if variant in ("no-op", "sdk"):
        _record()
    from benchmarks.virtual_worker import Virtual

    virtual = Virtual(Path(guest))

    def measure(transport: str, function: str, arguments: Sequence[Any]) -> int:
        # The processor time of all threads: what a batch processor does later counts, other processes do not.
        began = time.process_time_ns()
        virtual.measure(transport, function, arguments)
        return time.process_time_ns() - began

    answer_requests(measure, {"opentelemetry-api": version("opentelemetry-api")})


if __name__ == "__main__":
    main()
