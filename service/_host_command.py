"""What the commands that run workloads have in common: signals, the console, and the control socket."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final, TextIO

import outcome
import trio

from service._exits import SIGNALLED
from service._last_resort import SLACK, TOLD_WITHIN, LastResort
from service._lost_output import HOST_OUTPUT, LostOutput
from service._service_names import service_name
from service._service_output import ServiceOutput
from service._terminal import beneath, escaped, say
from service.control import ControlDirectoryError, event_as_json, line_as_json, serve_control
from service.hosting import ENDED, Event, Host, OutputLine, State

__all__ = ["HostCommand"]

_REDRAW_SECONDS: Final = 0.2
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
        console: standard output and error.
    """

    def __init__(self, host: Host, *, grace: float, as_json: bool) -> None:
        self.host: Final = host
        self.console: Final = Console(as_json=as_json)
        self._printed: Final = ServiceOutput()
        self._grace: Final = grace
        self._last_resort: Final = LastResort(self._running)
        self._signalled: Final = trio.Event()

    async def show(self, lines: Sequence[OutputLine]) -> None:
        """Output of the host."""
        await self.console.lines(lines)

    @abstractmethod
    async def life(self, nursery: trio.Nursery) -> int:
        """What is done inside the host's block. Returns the exit code."""

    @property
    def signal(self) -> int:
        """The one that ends it; 0 while there was none."""
        return self._last_resort.signal

    async def run(self) -> int:
        """Live, and tell what happens. Returns the exit code for this process."""
        with self._last_resort:
            with self._printed:
                code = await self._run()
            return self.console.lost_output.finish(code)

    async def _run(self) -> int:
        async with trio.open_nursery() as nursery:
            await nursery.start(self._obey_signals, nursery)
            nursery.start_soon(self.console.progress, self.host)
            async with trio.open_nursery() as telling:
                await telling.start(self._tell_events)
                telling.start_soon(self._printed.tell, self.console.strays)
                ended = await outcome.acapture(self._live, nursery)
                self._printed.close()
                # The events end with the host. Whoever reads may take their time, until a signal says otherwise.
                nursery.start_soon(self._hurry_once_signalled, telling.cancel_scope)
            lost = self._printed.untold
            if lost:
                with trio.move_on_after(TOLD_WITHIN):
                    await self.console.say(f"{lost} lines of services are lost: they were not read in time")
            nursery.cancel_scope.cancel()
        if self.signal == signal.SIGINT:
            return SIGNALLED + self.signal
        return ended.unwrap()

    async def _hurry_once_signalled(self, telling: trio.CancelScope) -> None:
        await self._signalled.wait()
        telling.deadline = trio.current_time() + TOLD_WITHIN

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
        with self._last_resort.signals(self._grace + SLACK) as received:
            task_status.started()
            await received.receive()
            self._signalled.set()
            nursery.start_soon(self._stop)
            await received.receive()
            for workload in self.host.workloads.values():
                workload.kill()
            await trio.sleep_forever()  # further ones change nothing

    def _running(self) -> list[str]:
        # From the events: this is another thread, and trio may be stuck.
        last = {service_name(each.workload, each.service): each.state for each in self.host.events.last()}
        return [name for name, state in last.items() if state not in ENDED]

    async def _stop(self) -> None:
        with trio.move_on_after(TOLD_WITHIN):
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
    """Standard output and error, without the loop waiting for whoever reads them.

    Attributes:
        lost_output: what became of standard output.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.lost_output: Final = LostOutput(HOST_OUTPUT)
        self._json = as_json
        self._limiter = trio.CapacityLimiter(1)  # one at a time, so that the order stays
        self._starting: dict[tuple[str, str], tuple[str, float]] = {}
        self._line = ""  # what is shown of progress

    async def lines(self, lines: Sequence[OutputLine]) -> None:
        if self._json:
            await self._write(sys.stdout, [json.dumps(line_as_json(line)) for line in lines])
            return
        for stream, file in (("stdout", sys.stdout), ("stderr", sys.stderr), ("host", sys.stderr)):
            mark = "#" if stream == "host" else "|"
            texts = [
                escaped(f"{service_name(each.workload, each.service)} {mark} {each.text}")
                for each in lines
                if each.stream == stream
            ]
            await self._write(file, texts)

    async def strays(self, lines: Sequence[str]) -> None:
        """Lines that nobody is known to have written."""
        await self._write(sys.stderr, [escaped(each) for each in lines])

    async def event(self, event: Event) -> None:
        key = (event.workload, event.service)
        if event.state is State.STARTING:
            self._starting[key] = (event.reason, trio.current_time())
        else:
            self._starting.pop(key, None)
        if self._json:
            await self._write(sys.stdout, [json.dumps(event_as_json(event))])
        elif event.state not in _QUIET or event.reason:
            # Indented, or what a registry or a component says could pass for another line of this program.
            why = ": " + "\n    ".join(event.reason.splitlines()) if event.reason else ""
            await self.say(f"{service_name(event.workload, event.service)}: {event.state}{why}")

    async def say(self, message: str) -> None:
        await self._run(say, message)

    async def progress(self, host: Host) -> None:
        """One line on standard error that says what takes its time, on a terminal only, until cancelled."""
        if self._json or not _is_terminal(sys.stderr):
            return
        try:
            while True:
                await trio.sleep(_REDRAW_SECONDS)
                text = self._busy(host)
                if text != self._line:
                    await trio.to_thread.run_sync(
                        self._draw, text, abandon_on_cancel=True, limiter=self._limiter
                    )
        finally:
            self._draw("")

    def _busy(self, host: Host) -> str:
        """What the first service that is loaded does, and for how long."""
        if not self._starting:
            return ""
        for name, workload in host.workloads.items():
            for service in workload.status().services:
                told, since = self._starting.get((name, service.name), (service.reason, 0.0))
                if service.reason != told:  # events tell of states; what is done within one, only the status
                    seconds = trio.current_time() - since
                    return escaped(
                        f"wasi-sockets: {service_name(name, service.name)}: {service.reason} ({seconds:.0f} s)"
                    )
        return ""

    async def _write(self, file: TextIO | None, texts: Sequence[str]) -> None:
        if file is None or not texts:
            return
        await self._run(self._put, file, "".join(f"{each}\n" for each in texts))

    async def _run(self, write: Callable[..., None], *arguments: object) -> None:
        def run() -> None:
            self._draw("")
            write(*arguments)

        await trio.to_thread.run_sync(run, abandon_on_cancel=True, limiter=self._limiter)

    def _put(self, file: TextIO, text: str) -> None:
        failure = _failure(file, text)
        news = self.lost_output.news(failure) if failure is not None and file is sys.stdout else ""
        if news:
            say(news)

    def _draw(self, text: str) -> None:
        if text or self._line:
            _failure(sys.stderr, f"\r\x1b[K{text[: shutil.get_terminal_size().columns - 1]}")
        self._line = text


def _is_terminal(file: TextIO | None) -> bool:
    file = beneath(file)
    try:
        return file is not None and file.isatty()
    except ValueError:  # closed
        return False


def _failure(file: TextIO | None, text: str) -> Exception | None:
    """Write; why that was not possible, which the workloads do not care about."""
    file = beneath(file)
    if file is not None:
        try:
            file.write(text)
            file.flush()
        except (OSError, ValueError) as error:
            return error
    return None
