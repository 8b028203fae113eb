"""Sending what is left of telemetry when a command ends, and saying what could not be sent, where and why."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections import defaultdict, deque
from typing import Any, Final
from urllib.parse import urlsplit

from service._terminal import escaped, say

__all__ = ["Failures", "send_what_is_left"]

_SENT_WITHIN: Final = 5.0
_LONGEST_MESSAGE: Final = 300
_REASONS: Final = 20

#: What the SDK's exporters log before they try again; both forms have the reason in them.
_TRIES_AGAIN: Final = re.compile(
    r"Transient error (?P<what>.*?) encountered while exporting .*?(Error details: (?P<details>.*))?",
    re.DOTALL,
)

#: In a URL, or in what gRPC makes of one.
_CREDENTIALS: Final = re.compile(r"(?<![^\s/])[^\s/@]+@")


class Failures(logging.Handler):
    """Says what the SDK could not do. That it will try again is not worth a line, and why is remembered."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.reasons: Final[deque[str]] = deque(maxlen=_REASONS)

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.levelno >= logging.ERROR:
            say(f"telemetry: {escaped(message)[:_LONGEST_MESSAGE]}")
        else:
            self.reasons.append(message)

    def reason(self, endpoint: str) -> str:
        """Why nothing could be sent there, as far as it is known; "" otherwise."""
        host = urlsplit(endpoint).hostname or ""
        for message in reversed(list(self.reasons)):
            found = _TRIES_AGAIN.fullmatch(message)
            if host and host in message and found is not None:
                reason = found["details"] or found["what"]
                return escaped(_CREDENTIALS.sub("", reason))[:_LONGEST_MESSAGE]
        return ""


def send_what_is_left(failures: Failures) -> None:
    """Shuts the providers down, and waits for that as long as somebody waits for a command to end."""
    from opentelemetry import _logs, metrics, trace

    providers: dict[str, Any] = {
        "traces": trace.get_tracer_provider(),
        "metrics": metrics.get_meter_provider(),
        "logs": _logs.get_logger_provider(),
    }
    raised: dict[str, str] = {}
    # The SDK tries for longer than that, and one signal after the other.
    threads = {
        name: threading.Thread(target=_shut_down, args=(name, provider, raised), daemon=True)
        for name, provider in providers.items()
    }
    for thread in threads.values():
        thread.start()
    until = time.monotonic() + _SENT_WITHIN
    late: defaultdict[str, list[str]] = defaultdict(list)
    for name, thread in threads.items():
        thread.join(max(0.0, until - time.monotonic()))
        if thread.is_alive():
            late[_endpoint(name)].append(name)
        elif name in raised:  # by an exporter of whatever kind
            say(f"the last {name} could not be sent: {escaped(raised[name])}")
    for endpoint, names in late.items():
        *others, last = names
        listed = f"{', '.join(others)} and {last}" if others else last
        where = f" to {escaped(endpoint)}" if endpoint else ""
        reason = failures.reason(endpoint)
        say(f"the last {listed} could not be sent{where} within {_SENT_WITHIN:g} s{reason and f': {reason}'}")


def _shut_down(name: str, provider: Any, raised: dict[str, str]) -> None:
    try:
        provider.shutdown()
    except Exception as error:
        raised[name] = str(error)


def _endpoint(name: str) -> str:
    """Where the OTLP exporter of a signal sends, by the same variables; "" when another one is wanted."""
    if "otlp" not in (os.environ.get(f"OTEL_{name.upper()}_EXPORTER") or "otlp"):
        return ""
    given = _variable(name, "ENDPOINT")
    if not given:
        return (
            "http://localhost:4317"
            if "grpc" in (_variable(name, "PROTOCOL") or "grpc")
            else "http://localhost:4318"
        )
    return _CREDENTIALS.sub("", given)


def _variable(name: str, what: str) -> str:
    prefix = "OTEL_EXPORTER_OTLP"
    return os.environ.get(f"{prefix}_{name.upper()}_{what}") or os.environ.get(f"{prefix}_{what}") or ""
