"""OpenTelemetry for the commands: the SDK, set up from the standard ``OTEL_*`` variables alone, and who hears what.

Logging has two feeds with levels of their own: the console's (`WASI_SOCKETS_LOG`, ``--log-level``), and OpenTelemetry's
(`OTEL_LOG_LEVEL`). The logger lets through what one of them wants, and each handler keeps to its own level.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from service._exits import FAILED, USAGE, CommandError
from service._telemetry_sending import Failures, send_what_is_left
from service._terminal import escaped, say

__all__ = ["LEVELS", "console_level", "feed", "telemetry_from_environment"]

LEVELS: Final = ("debug", "info", "warning", "error")
"""For ``--log-level`` and `WASI_SOCKETS_LOG`."""

#: The standard's levels that `logging` calls otherwise.
_STANDARD_LEVELS: Final = {"trace": "debug", "warn": "warning", "fatal": "critical"}

_logger: Final = logging.getLogger("wasi_sockets")
_feeds: Final[list[logging.Handler]] = []


def console_level(option: str | None) -> int:
    """The console's level: the option's, else that of `WASI_SOCKETS_LOG`, else warnings.

    Raises:
        CommandError: there is no such level.
    """
    name = option or os.environ.get("WASI_SOCKETS_LOG") or "warning"
    if name.lower() not in LEVELS:
        raise CommandError(f"WASI_SOCKETS_LOG={name}: it is one of {', '.join(LEVELS)}", USAGE)
    return int(logging.getLevelName(name.upper()))


@contextmanager
def feed(handler: logging.Handler) -> Iterator[None]:
    """Let a handler hear what the library logs, from its own level on, whatever the levels of others."""
    before = _logger.level
    _feeds.append(handler)
    _logger.addHandler(handler)
    _logger.setLevel(min(each.level for each in _feeds))
    try:
        yield
    finally:
        _feeds.remove(handler)
        _logger.removeHandler(handler)
        _logger.setLevel(min((each.level for each in _feeds), default=before))


def _wanted() -> bool:
    asked = any(name.startswith("OTEL_") and value for name, value in os.environ.items())
    return asked and os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true"


@contextmanager
def telemetry_from_environment() -> Iterator[None]:
    """Set up OpenTelemetry's SDK when `OTEL_*` variables ask for it, and send what is left at the end of the block.

    Without them, or with `OTEL_SDK_DISABLED=true`, the SDK is not even imported. A process can do this once; providers
    that somebody has set before are left as they are.

    Raises:
        CommandError: the variables say something that the SDK does not take.
    """
    if not _wanted():
        yield
        return
    from wasi_sockets import telemetry  # here, since the command's options are made without loading an engine

    try:
        from opentelemetry.distro import OpenTelemetryConfigurator, OpenTelemetryDistro
        from opentelemetry.instrumentation.logging.handler import LoggingHandler
    except ImportError as error:
        say(
            f"the OTEL_* variables ask for telemetry, which needs the extra otel ({escaped(str(error))}):"
            " pip install 'wasi-sockets[otel]'"
        )
        yield
        return
    handler_level = _telemetry_level()
    _name_the_process()
    OpenTelemetryDistro().configure()  # exporters are OTLP ones unless the variables say otherwise
    try:
        set_up: Any = OpenTelemetryConfigurator  # which has no types
        set_up().configure(resource_attributes=_resource(telemetry.VERSION))
    except Exception as error:
        raise CommandError(f"OpenTelemetry cannot be set up: {error}", FAILED) from error
    telemetry.refresh()
    # For as long as the process lives: the SDK also does something when that exits.
    failures = Failures()
    logging.getLogger("opentelemetry").addHandler(failures)
    try:
        with feed(LoggingHandler(handler_level)):
            yield
    finally:
        send_what_is_left(failures)


def _telemetry_level() -> int:
    name = os.environ.get("OTEL_LOG_LEVEL") or "info"
    level = logging.getLevelName(_STANDARD_LEVELS.get(name.lower(), name).upper())
    if not isinstance(level, int):
        raise CommandError(f"OTEL_LOG_LEVEL={name}: there is no such level", USAGE)
    return level


def _name_the_process() -> None:
    if "service.name=" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        os.environ.setdefault("OTEL_SERVICE_NAME", "wasi-sockets")


def _resource(version: str) -> dict[str, str]:
    """What a process says of itself, as far as the variables do not."""
    own = {"service.version": version, "service.instance.id": str(uuid.uuid4())}
    given = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return {name: value for name, value in own.items() if f"{name}=" not in given}
