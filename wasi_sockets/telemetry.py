"""How spans, metrics and log events are told to OpenTelemetry; which there are is in `telemetry_table.py`.

Nothing else in this library imports `opentelemetry`, and this only its API: which SDK records, and where that sends, is
up to the program. As long as nobody records, `tracing`, `metering` and `active` are False, and whoever has something
to tell looks at them first, so that telling nothing costs nothing. They are looked at anew (`refresh`) where networks,
guests and compiled components are made: a program sets its providers before it makes these.
"""

from __future__ import annotations

import contextvars
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from opentelemetry import context, metrics, propagate, trace
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode

from wasi_sockets.telemetry_errors import error_type
from wasi_sockets.telemetry_sources import Attributes, Measurement, Source, Sources, Value
from wasi_sockets.telemetry_table import EVENTS, METRICS, POINT_ATTRIBUTES, SPANS

__all__ = [
    "VERSION",
    "Attributes",
    "Measurement",
    "OutputLines",
    "Source",
    "Span",
    "Value",
    "attach",
    "attach_nothing",
    "count",
    "current_span",
    "end",
    "enter_component",
    "error_type",
    "event",
    "fail",
    "leave_component",
    "log",
    "observe",
    "point_attributes",
    "record",
    "refresh",
    "remote_parent",
    "retire",
    "span",
    "start",
    "use",
    "within",
    "within_workload",
    "workload_attributes",
    "workload_scope",
]

_SCOPE: Final = "wasi_sockets"
_SCHEMA: Final = "https://opentelemetry.io/schemas/1.37.0"


def _version() -> str:
    try:
        return version("wasi-sockets")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0"


VERSION: Final = _version()
"""This library's."""


# ------------------------------------------------------------ who records

tracing = False
"""Whether anybody records spans."""

metering = False
"""Whether anybody collects metrics."""

active = False
"""Whether anybody does either."""

_NOTHING: Final = trace.INVALID_SPAN
_KINDS: Final = {"internal": SpanKind.INTERNAL, "client": SpanKind.CLIENT, "server": SpanKind.SERVER}

_tracer: trace.Tracer = trace.NoOpTracer()
_instruments: dict[str, Any] = {}
_global_instruments: dict[str, Any] = {}
_chosen = False

_logger: Final = logging.getLogger("wasi_sockets.telemetry")
_complained = False


def refresh() -> None:
    """Look whether the program's providers record by now. Cheap, but not for each connection."""
    global _tracer, _instruments, tracing, metering, active
    if _chosen:
        return
    if not tracing:
        provider = trace.get_tracer_provider()
        if not isinstance(provider, trace.ProxyTracerProvider):
            _tracer, tracing = _recorder(provider)
    if not metering:
        meters = metrics.get_meter_provider()
        if not _global_instruments:
            # Made with what stands in until a provider is set, they become that one's.
            _global_instruments.update(_make_instruments(meters))
        _instruments = _global_instruments
        metering = _is_real(meters)
    active = tracing or metering


def use(
    tracer_provider: trace.TracerProvider | None = None, meter_provider: metrics.MeterProvider | None = None
) -> None:
    """Tell these providers, and no longer the global ones; without any, the global ones again.

    Networks, guests and components that were made before may go on as they were.
    """
    global _tracer, _instruments, _chosen, _complained, tracing, metering, active
    _complained = False
    _chosen = tracer_provider is not None or meter_provider is not None
    _tracer, tracing = (trace.NoOpTracer(), False) if tracer_provider is None else _recorder(tracer_provider)
    _instruments = {} if meter_provider is None else _make_instruments(meter_provider)
    metering = meter_provider is not None
    active = tracing or metering
    refresh()


def _recorder(provider: trace.TracerProvider) -> tuple[trace.Tracer, bool]:
    tracer = provider.get_tracer(_SCOPE, VERSION, _SCHEMA)
    return tracer, not isinstance(tracer, trace.NoOpTracer)  # which a disabled SDK gives


def _is_real(provider: metrics.MeterProvider) -> bool:
    # The stand-in that the API has until one is set has no public name. A disabled SDK gives meters that do nothing.
    if isinstance(provider, metrics.NoOpMeterProvider) or type(provider).__module__.startswith(
        "opentelemetry.metrics"
    ):
        return False
    return not isinstance(provider.get_meter(_SCOPE, VERSION, _SCHEMA), metrics.NoOpMeter)


def _not_told(error: Exception) -> None:
    """A sampler, processor or instrument of the program's raised: nothing that this library does may fail of it."""
    global _complained
    if not _complained:
        _complained = True
        _logger.warning("OpenTelemetry could not be told, said once: %r", error, exc_info=error)


# ------------------------------------------------------------ whose it is

_workload: contextvars.ContextVar[dict[str, Value]] = contextvars.ContextVar("wasi_sockets_workload")
_NO_WORKLOAD: Final[dict[str, Value]] = {}


def workload_attributes() -> dict[str, Value]:
    """What `workload_scope` says here, for spans and records."""
    return _workload.get(_NO_WORKLOAD)


def point_attributes() -> dict[str, Value]:
    """Likewise for metrics, which have no place for what changes at each start."""
    return {key: value for key, value in workload_attributes().items() if key in POINT_ATTRIBUTES}


@contextmanager
def within_workload(attributes: Attributes) -> Iterator[None]:
    """The block is of the workload whose `workload_attributes` these are."""
    token = _workload.set(dict(attributes))
    try:
        yield
    finally:
        _workload.reset(token)


def leave_component() -> None:
    """What follows is no longer the component's, only its workload's: for `contextvars.Context.run`."""
    workload = workload_attributes()
    if "component.name" in workload:
        _workload.set({key: value for key, value in workload.items() if key != "component.name"})


def enter_component(name: Value) -> None:
    """What follows is this component's: for `contextvars.Context.run`."""
    _workload.set({**workload_attributes(), "component.name": name})


@contextmanager
def workload_scope(
    *,
    id: str | None = None,
    name: str | None = None,
    namespace: str | None = None,
    component: str | None = None,
) -> Iterator[None]:
    """Spans, records and networks made in the block, and in tasks started there, are of this workload.

    It follows connections to the services that handle them. What is not given stays as outside the block.
    """
    given = {
        "workload.id": id,
        "workload.name": name,
        "workload.namespace": namespace,
        "component.name": component,
    }
    token = _workload.set(
        {**workload_attributes(), **{key: each for key, each in given.items() if each is not None}}
    )
    try:
        yield
    finally:
        _workload.reset(token)


# ------------------------------------------------------------ spans


def start(
    name: str,
    attributes: Attributes | None = None,
    *,
    title: str | None = None,
    parent: context.Context | None = None,
    links: Iterable[Span] = (),
) -> Span:
    """Start a span of the table; see `end`. It is not the current one: see `span` and `attach`.

    Args:
        name: in `SPANS`.
        attributes: what is known already.
        title: what it is called instead, where conventions say so.
        parent: from `remote_parent`; the current span by default.
        links: other spans that it has to do with.
    """
    if not tracing:
        return _NOTHING
    given = {**workload_attributes(), **attributes} if attributes else workload_attributes()
    linked = [Link(each.get_span_context()) for each in links]
    try:
        return _tracer.start_span(title or name, parent, _KINDS[SPANS[name].kind], given, linked)
    except Exception as error:
        _not_told(error)
        return _NOTHING


def end(ended: Span, error: BaseException | str | None = None) -> None:
    """End a span, with what went wrong: an exception, or a value of error.type."""
    if error is not None:
        fail(ended, error)
    try:
        ended.end()
    except Exception as raised:
        _not_told(raised)


@contextmanager
def span(
    name: str,
    attributes: Attributes | None = None,
    *,
    title: str | None = None,
    parent: context.Context | None = None,
    links: Iterable[Span] = (),
) -> Iterator[Span]:
    """A span of the table around a block, current in it; what the block raises is its error.type. As `start`."""
    if not tracing:
        yield _NOTHING
        return
    started = start(name, attributes, title=title, parent=parent, links=links)
    token = context.attach(trace.set_span_in_context(started))
    error: BaseException | None = None
    try:
        yield started
    except BaseException as raised:
        error = raised
        raise
    finally:
        context.detach(token)
        end(started, error)


def fail(failed: Span, error: BaseException | str) -> None:
    """Say of a span what went wrong: an exception, or a value of error.type."""
    if failed.is_recording():
        failed.set_attribute("error.type", error if isinstance(error, str) else error_type(error))
        if isinstance(error, str | Exception):  # else it was cancelled, which is nobody's failure
            failed.set_status(Status(StatusCode.ERROR, _text_of(error)))


def _text_of(error: Exception | str) -> str:
    try:
        return str(error)
    except Exception:  # of a service, whose own code makes the text
        return "its text cannot be had"


@contextmanager
def within(current: Span) -> Iterator[None]:
    """Make a span the current one in the block, which does not end it."""
    token = context.attach(trace.set_span_in_context(current))
    try:
        yield
    finally:
        context.detach(token)


def attach(current: Span) -> None:
    """Make a span the current one, for good: for `contextvars.Context.run`."""
    context.attach(trace.set_span_in_context(current))


def attach_nothing() -> None:
    """Let what follows be a trace of its own: for `contextvars.Context.run`, or a task's beginning."""
    context.attach(context.Context())


def current_span() -> Span:
    """The current span."""
    return trace.get_current_span()


def remote_parent(headers: Mapping[str, str]) -> context.Context | None:
    """What a request says of the span that it was made in, such as by a `traceparent`; None without any."""
    remote = propagate.extract(headers, context.Context())
    return remote if trace.get_current_span(remote).get_span_context().is_valid else None


def event(name: str, attributes: Attributes) -> None:
    """Add an event of the table to the current span."""
    if tracing:
        trace.get_current_span().add_event(EVENTS[name].name, attributes)


# ------------------------------------------------------------ metrics


_sources: Final = Sources()


def observe(source: Source) -> None:
    """Collect the metrics of `source` for as long as it exists; those of several with the same attributes add up."""
    _sources.observe(source)


def retire(source: Source) -> None:
    """Keep what `source` has counted; for its `__del__`."""
    if metering and not sys.is_finalizing():
        _sources.retire(source)


def count(name: str, attributes: Attributes = _NO_WORKLOAD, amount: int = 1) -> None:
    """Add to a counter of the table that nothing else keeps."""
    if metering:
        try:
            _instruments[name].add(amount, attributes)
        except Exception as error:
            _not_told(error)


def record(name: str, value: float, attributes: Attributes = _NO_WORKLOAD) -> None:
    """Add a value to a histogram of the table."""
    if metering:
        try:
            _instruments[name].record(value, attributes)
        except Exception as error:
            _not_told(error)


def _observed(name: str) -> list[metrics.Observation]:
    return [metrics.Observation(value, dict(items)) for items, value in _sources.read(name).items()]


def _make_instruments(provider: metrics.MeterProvider) -> dict[str, Any]:
    """The instruments that are recorded with; those that are observed need nobody to hold them."""
    meter = provider.get_meter(_SCOPE, VERSION, _SCHEMA)
    made: dict[str, Any] = {}
    for row in METRICS.values():
        if row.source == "recorded":
            if row.instrument == "histogram":
                made[row.name] = meter.create_histogram(
                    row.name, row.unit, row.meaning, explicit_bucket_boundaries_advisory=row.buckets
                )
            else:
                made[row.name] = meter.create_counter(row.name, row.unit, row.meaning)
            continue
        callbacks = [lambda _, name=row.name: _observed(name)]
        if row.instrument == "counter":
            meter.create_observable_counter(row.name, callbacks, row.unit, row.meaning)
        else:
            meter.create_observable_up_down_counter(row.name, callbacks, row.unit, row.meaning)
    return made


# ------------------------------------------------------------ logs


def log(
    logger: logging.Logger,
    level: int,
    event_name: str,
    message: str,
    *arguments: object,
    attributes: Attributes = _NO_WORKLOAD,
) -> None:
    """Log an event of the table: a message for people, and its attributes and the workload's for machines.

    Args:
        logger: one below ``wasi_sockets``.
        level: as in `logging`.
        event_name: in `EVENTS`.
        message: with `arguments`, as in `logging`.
        arguments: for the message.
        attributes: of the event.
    """
    if logger.isEnabledFor(level):
        extra = {"event.name": EVENTS[event_name].name, **workload_attributes(), **attributes}
        logger.log(level, message, *arguments, extra=extra, stacklevel=2)


_output_logger: Final = logging.getLogger("wasi_sockets.guest")
_LONGEST_LINE: Final = 8192
"""Bytes of a line that become one record; the rest of a longer one becomes more."""


class OutputLines:
    """Makes log records of what a guest writes, one for each line, with the logger ``wasi_sockets.guest``.

    Args:
        stream: ``"stdout"`` or ``"stderr"``.
    """

    def __init__(self, stream: str) -> None:
        self._attributes: Final = {"log.iostream": stream}
        self._rest = b""

    @staticmethod
    def wanted() -> bool:
        """Whether anybody takes the records."""
        return _output_logger.isEnabledFor(logging.INFO)

    def write(self, data: bytes) -> None:
        """What the guest wrote; a record's trace is the current one."""
        if not self.wanted():
            return
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            self._tell(line)
        if len(self._rest) >= _LONGEST_LINE:
            self.finish()

    def finish(self) -> None:
        """The guest has ended: what stands in its last line is a record too."""
        rest, self._rest = self._rest, b""
        if rest:
            self._tell(rest)

    def _tell(self, line: bytes) -> None:
        for begin in range(0, len(line) or 1, _LONGEST_LINE):
            text = line[begin : begin + _LONGEST_LINE].decode("utf-8", "backslashreplace").rstrip("\r")
            log(
                _output_logger,
                logging.INFO,
                "wasi_sockets.guest.output",
                "%s",
                text,
                attributes=self._attributes,
            )
