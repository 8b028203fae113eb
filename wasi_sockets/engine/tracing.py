"""What is told of guests: their calls, how long they keep the loop, what they call.

A guest that is made while nobody records is a plain `Guest`: its hot paths then hold nothing of this.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final

import trio
from wasmtime import ExitTrap, WasmtimeError

from wasi_sockets import telemetry
from wasi_sockets.engine import bindings
from wasi_sockets.engine.driver import Guest
from wasi_sockets.engine.engines import engine_states
from wasi_sockets.engine.host_calls import counts
from wasi_sockets.engine.memory import PAGE
from wasi_sockets.errors import GuestTrap

__all__ = ["TracedGuest"]

_SLOW: Final = 0.001


class TracedGuest(Guest):
    """A guest with spans around its calls.

    Args:
        arguments: as for `Guest`.
        workload: whose it is, for its spans and those of what it does.
    """

    def __init__(self, *arguments: Any, workload: telemetry.Attributes) -> None:
        super().__init__(*arguments)
        self._workload: Final = workload

    @trio.lowlevel.enable_ki_protection
    async def call(self, name: str, *arguments: Any) -> Any:
        """As `Guest.call`, with a span."""
        interface, function = _names(name, arguments)
        said = {"wasi_sockets.interface": interface} if interface else {}
        began = time.perf_counter()
        error: BaseException | None = None
        with telemetry.within_workload(self._workload):
            span = telemetry.start("guest.call", {**said, "wasi_sockets.function": function})
            try:
                with telemetry.within(span):
                    return await super().call(name, *arguments)
            except ExitTrap as ended:
                span.set_attribute("process.exit.code", ended.code)
                error = ended if ended.code else None
                raise
            except BaseException as raised:
                error = raised
                raise
            finally:
                telemetry.end(span, error)
                if telemetry.metering:
                    _count_call(time.perf_counter() - began, error)

    @trio.lowlevel.enable_ki_protection
    async def _start(self, linker: Any) -> None:
        with telemetry.within_workload(self._workload), telemetry.span("guest.instantiate"):
            await super()._start(linker)

    def _poll(self, address: int) -> bool:
        began = time.perf_counter()
        try:
            return bindings.poll(address)
        finally:
            seconds = time.perf_counter() - began
            _guests.polls += 1
            _guests.poll_time += seconds
            if seconds >= _SLOW:  # a histogram takes longer than most polls
                attributes = telemetry.point_attributes()
                telemetry.record("wasi_sockets.guest.poll.duration", seconds, attributes)

    def _yielded(self) -> None:
        telemetry.count("wasi_sockets.guest.yields", telemetry.point_attributes())


def _names(name: str, arguments: tuple[Any, ...]) -> tuple[str, str]:
    """Interface, empty for none, and function of a call."""
    if arguments and isinstance(arguments[0], str) and ":" in name:
        return name.partition("@")[0], arguments[0]
    return "", name


def _count_call(seconds: float, error: BaseException | None) -> None:
    attributes = telemetry.point_attributes()
    trapped = isinstance(error, GuestTrap) or (
        isinstance(error, WasmtimeError) and not isinstance(error, ExitTrap)
    )
    if trapped:
        telemetry.count("wasi_sockets.guest.traps", attributes)
    if error is not None:
        attributes["error.type"] = telemetry.error_type(error)
    telemetry.record("wasi_sockets.guest.call.duration", seconds, attributes)


class _Guests:
    """All guests of the process.

    Attributes:
        polls: times that those with telemetry were let run.
        poll_time: how long, in seconds.
    """

    def __init__(self) -> None:
        self.polls = 0
        self.poll_time = 0.0

    def measurements(self) -> Iterable[telemetry.Measurement]:
        """What is read of them when metrics are collected, in whatever thread."""
        guests = [guest for state in engine_states() for guest in list(state.stores.values())]
        yield "wasi_sockets.guest.active", len(guests), {}
        yield "wasi_sockets.guest.polls", self.polls, {}
        yield "wasi_sockets.guest.poll.time", self.poll_time, {}
        yield "wasi_sockets.guest.memory", sum(guest.memory_pages for guest in guests) * PAGE, {}
        for (interface, function), calls in list(counts.items()):
            attributes = {"wasi_sockets.interface": interface, "wasi_sockets.function": function}
            yield "wasi_sockets.host.calls", calls, attributes


_guests: Final = _Guests()
telemetry.observe(_guests)
