"""What OpenTelemetry is told of a service: spans of its starts, restarts and stops, its state, and log records."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Final

from service.hosting._states import ENDED, State
from wasi_sockets import telemetry

__all__ = ["Telling"]

_logger: Final = logging.getLogger("wasi_sockets.service")

_NOT_WELL: Final = frozenset({State.FAILED, State.BACKING_OFF, State.DEGRADED})


class Telling:
    """One service. Made in the scope of its workload; `moved` may be called in any.

    Args:
        service: its name.
    """

    def __init__(self, service: str) -> None:
        self._service: Final = service
        self._workload: Final = {**telemetry.workload_attributes(), "component.name": service}
        with self.scope():
            self._point: Final = telemetry.point_attributes()
        self._state: State | None = None
        self._span: telemetry.Span | None = None
        self._restarts = -1
        telemetry.observe(self)

    def scope(self) -> AbstractContextManager[None]:
        """What the service does is told as its own in the block."""
        return telemetry.within_workload(self._workload)

    def start_scope(self) -> AbstractContextManager[None]:
        """What is begun in the block is part of the start that is under way."""
        return telemetry.within(self._span or telemetry.current_span())

    def measurements(self) -> Iterable[telemetry.Measurement]:
        """Its state, for as long as it has one."""
        if self._state is not None:
            yield (
                "wasi_sockets.service.count",
                1,
                {**self._point, "wasi_sockets.service.state": str(self._state)},
            )

    def moved(self, state: State, reason: str) -> None:
        """It is in this state now, or has another reason to be."""
        attributes: dict[str, telemetry.Value] = {"wasi_sockets.service.name": self._service}
        changed, self._state = state is not self._state, state
        with self.scope():
            if changed and state is State.STARTING:
                self._restarts += 1
                self._end("restarted")
                if self._restarts:
                    telemetry.count("wasi_sockets.service.restarts", {**self._point, **attributes})
                    restarts = {**attributes, "wasi_sockets.service.restart": self._restarts}
                    self._span = telemetry.start("service.restart", restarts)
                else:
                    self._span = telemetry.start("service.start", attributes)
            elif changed and state is State.STOPPING:
                self._end("stopped")
                self._span = telemetry.start("service.stop", attributes)
            elif changed:
                self._end("failed" if state in _NOT_WELL else None)
            level = logging.WARNING if state in _NOT_WELL else logging.INFO
            said = f": {reason}" if reason else ""
            told = {**attributes, "wasi_sockets.service.state": str(state)}
            telemetry.log(
                _logger,
                level,
                "wasi_sockets.service.state",
                "%s/%s: %s%s",
                self._workload.get("workload.name", ""),
                self._service,
                state,
                said,
                attributes=told,
            )

    def over(self) -> None:
        """Nothing more comes of it."""
        self._end(None if self._state in ENDED else "stopped")
        self._state = None

    def _end(self, error: str | None) -> None:
        span, self._span = self._span, None
        if span is not None:
            telemetry.end(span, error)
