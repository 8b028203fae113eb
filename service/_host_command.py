"""What the commands that run workloads have in common: signals, the console, and the control socket."""

from __future__ import annotations

import json
import signal
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, TextIO

import outcome
import trio

from service._exits import SIGNALLED
from service._terminal import escaped, say
from service.control import ControlDirectoryError, event_as_json, line_as_json, serve_control
from service.hosting import Event, Host, OutputLine, State

__all__ = ["HostCommand"]

_TOLD_WITHIN: Final = 2.0
_QUIET: Final = frozenset({State.STARTING, State.STOPPING})
"""States that say nothing new to somebody who looks at a console."""


class HostCommand(ABC):
    """A host that runs until its life is over, or until a signal: then connections may finish first.

    Args:
        host: made with `show` as its output.
        grace: seconds for finishing.
        as_json: print events and output as JSON.

    Attributes:
        host: as given.
        signal: the one that ends it; 0 while there was none.
        console: standard output and error.
    """

    def __init__(self, host: Host, *, grace: float, as_json: bool) -> None:
        self.host: Final = host
        self.signal = 0
        self.console: Final = Console(as_json=as_json)
        self._grace: Final = grace

    async def show(self, lines: Sequence[OutputLine]) -> None:
        """Output of the host."""
        await self.console.lines(lines)

    @abstractmethod
    async def life(self, nursery: trio.Nursery) -> int:
        """What is done inside the host's block. Returns the exit code."""

    async def run(self) -> int:
        """Live, and tell what happens. Returns the exit code for this process."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._obey_signals, nursery)
            async with trio.open_nursery() as telling:
                await telling.start(self._tell_events)
                ended = await outcome.acapture(self._live, nursery)
                # The events end with the host; but not everybody reads what is written for them.
                telling.cancel_scope.deadline = trio.current_time() + _TOLD_WITHIN
            nursery.cancel_scope.cancel()
        if self.signal == signal.SIGINT:
            return SIGNALLED + self.signal
        return ended.unwrap()

    async def _live(self, nursery: trio.Nursery) -> int:
        async with self.host:
            await nursery.start(self._serve_control)
            return await self.life(nursery)

    async def _serve_control(self, task_status: trio.TaskStatus[object]) -> None:
        try:
            await serve_control(self.host, task_status=task_status)
        except (OSError, ControlDirectoryError) as error:
            # The workloads matter more than being able to look at them.
            await self.console.say(f"'ps', 'logs' and the like will not work: {error}")
            task_status.started()

    async def _obey_signals(self, nursery: trio.Nursery, task_status: trio.TaskStatus[None]) -> None:
        if threading.current_thread() is not threading.main_thread():
            task_status.started()
            return
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
            task_status.started()
            async for number in received:
                if self.signal:
                    break
                self.signal = number
                nursery.start_soon(self._stop)
        # A third one finds Python's own handler, in case that what is killed does not end.
        for workload in self.host.workloads.values():
            workload.kill()

    async def _stop(self) -> None:
        await self.console.say("stopping; once more to end everything at once")
        await self.stopping()
        await self.host.stop(self._grace)

    async def stopping(self) -> None:
        """Called before the host's workloads are told to stop."""
        await trio.lowlevel.checkpoint()

    async def _tell_events(self, task_status: trio.TaskStatus[None]) -> None:
        with self.host.events.follow() as events:
            task_status.started()
            async for event in events:
                await self.console.event(event)


class Console:
    """Standard output and error, without the loop waiting for whoever reads them."""

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json
        self._limiter = trio.CapacityLimiter(1)  # one at a time, so that the order stays

    async def lines(self, lines: Sequence[OutputLine]) -> None:
        if self._json:
            await self._write(sys.stdout, [json.dumps(line_as_json(line)) for line in lines])
            return
        for stream, file in (("stdout", sys.stdout), ("stderr", sys.stderr), ("host", sys.stderr)):
            mark = "#" if stream == "host" else "|"
            texts = [
                escaped(f"{_short(each.workload)}/{each.service} {mark} {each.text}")
                for each in lines
                if each.stream == stream
            ]
            await self._write(file, texts)

    async def event(self, event: Event) -> None:
        if self._json:
            await self._write(sys.stdout, [json.dumps(event_as_json(event))])
        elif event.state not in _QUIET or event.reason:
            why = f": {event.reason}" if event.reason else ""
            await self.say(f"{_short(event.workload)}/{event.service}: {event.state}{why}")

    async def say(self, message: str) -> None:
        await trio.to_thread.run_sync(say, message, abandon_on_cancel=True, limiter=self._limiter)

    async def _write(self, file: TextIO | None, texts: Sequence[str]) -> None:
        if file is None or not texts:
            return
        text = "".join(f"{each}\n" for each in texts)
        await trio.to_thread.run_sync(_write, file, text, abandon_on_cancel=True, limiter=self._limiter)


def _short(workload: str) -> str:
    return workload.removeprefix("default/")


def _write(file: TextIO, text: str) -> None:
    with suppress(OSError, ValueError):  # nobody reads it any more; the workloads go on
        file.write(text)
        file.flush()
