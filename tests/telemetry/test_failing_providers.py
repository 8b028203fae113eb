"""Providers of the program that raise: nothing but telemetry suffers."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
import trio.testing
from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import Sampler, SamplingResult

from wasi_sockets import Network, TcpStream, telemetry


class FailsAtStarts(SpanProcessor):
    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        raise LookupError("at a start")


class FailsAtEnds(SpanProcessor):
    def on_end(self, span: ReadableSpan) -> None:
        raise LookupError("at an end")


class FailsToSample(Sampler):
    def should_sample(self, *arguments: Any, **options: Any) -> SamplingResult:
        raise LookupError("at sampling")

    def get_description(self) -> str:
        return "fails"


class Broken(metrics.NoOpMeter):
    """Its histograms and counters fail."""

    def create_histogram(self, *arguments: Any, **options: Any) -> Any:
        return self

    def create_counter(self, *arguments: Any, **options: Any) -> Any:
        return self

    def record(self, *arguments: Any) -> None:
        raise LookupError("at a value")

    def add(self, *arguments: Any) -> None:
        raise LookupError("at a count")


class BrokenMeters(metrics.MeterProvider):
    def get_meter(self, *arguments: Any, **options: Any) -> metrics.Meter:
        return Broken("broken")


def spans(processor: SpanProcessor) -> TracerProvider:
    provider = TracerProvider()
    provider.add_span_processor(processor)
    return provider


async def echo(stream: TcpStream) -> None:
    async for data in stream:
        await stream.send_all(data)


@pytest.mark.parametrize(
    ("tracers", "meters"),
    [
        (spans(FailsAtStarts()), None),
        (spans(FailsAtEnds()), None),
        (TracerProvider(sampler=FailsToSample()), None),
        (None, BrokenMeters()),
    ],
    ids=["start", "end", "sampler", "meter"],
)
async def test_connections_do_not_care(
    tracers: trace.TracerProvider | None,
    meters: metrics.MeterProvider | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    telemetry.use(tracers, meters)
    try:
        network = Network()
        network.add_name("db", "127.0.0.1")
        with caplog.at_level(logging.WARNING, "wasi_sockets"):
            async with trio.open_nursery() as nursery:
                await nursery.start(network.serve_tcp, echo, 80)
                for _ in range(2):
                    async with await network.connect_tcp("db", 80) as stream:
                        await stream.send_all(b"hello")
                        assert await stream.receive_some() == b"hello"
                    await trio.testing.wait_all_tasks_blocked()
                telemetry.count("wasi_sockets.guest.traps")
                nursery.cancel_scope.cancel()
    finally:
        telemetry.use()
    (record,) = caplog.records
    assert record.name == "wasi_sockets.telemetry"
    assert "LookupError" in record.getMessage()


class Wordless(Exception):
    """Fails to say what it is."""

    def __str__(self) -> str:
        raise LookupError("at its text")


def test_an_error_without_a_text_is_told_and_stays_the_error() -> None:
    told: list[ReadableSpan] = []

    class Keeps(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            told.append(span)

    telemetry.use(spans(Keeps()))
    try:
        with pytest.raises(Wordless), telemetry.span("socket.bridge"):
            raise Wordless
    finally:
        telemetry.use()
    (span,) = told
    assert (span.attributes or {})["error.type"] == "Wordless"
    assert span.status.description == "its text cannot be had"
