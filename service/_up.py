"""`wasi-sockets up`: workloads from files, until they have ended or are told to stop."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, TextIO

import outcome
import trio

from service._bridges import warnings_told
from service._exits import CANNOT_RUN, FAILED, NOT_FOUND, SIGNALLED, CommandError
from service._telemetry import console_level, telemetry_from_environment
from service._terminal import escaped, say
from service._watching import Watched
from service.control import ControlDirectoryError, event_as_json, line_as_json, serve_control
from service.files import WorkloadFileError, read_workloads
from service.hosting import ENDED, Event, Host, OutputLine, State, Workload, WorkloadError
from service.spec import ComponentCode, WorkloadSpec

__all__ = ["read", "up"]

_FAILED_WORK: Final = 1
_TOLD_WITHIN: Final = 2.0
_QUIET: Final = frozenset({State.STARTING, State.STOPPING})
"""States that say nothing new to somebody who looks at a console."""


def up(options: argparse.Namespace) -> int:
    """Runs the workloads of the files.

    Returns:
        The exit code for this process.

    Raises:
        CommandError: for whatever the user can put right.
    """
    specs = [spec for file in options.files for spec in read(file)]
    try:
        with warnings_told(console_level(options.log_level)), telemetry_from_environment():
            return trio.run(_Command(options, specs).run)
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is not None:
            raise KeyboardInterrupt from group
        raise


def read(file: str) -> Sequence[WorkloadSpec]:
    """The workloads of a file, its notes said.

    Raises:
        CommandError: it is not there, or says something that cannot be meant.
    """
    try:
        loaded = read_workloads(file)
    except FileNotFoundError as error:
        raise CommandError(f"{file}: no such file", NOT_FOUND) from error
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}", CANNOT_RUN) from error
    except ModuleNotFoundError as error:
        raise CommandError(str(error), FAILED) from error
    except WorkloadFileError as error:
        raise CommandError(str(error), CANNOT_RUN) from error
    for note in loaded.notes:
        say(str(note))
    return loaded.workloads


class _Command:
    def __init__(self, options: argparse.Namespace, specs: Sequence[WorkloadSpec]) -> None:
        self.options = options
        self.specs = specs
        self.console = _Console(as_json=options.json)
        self.host = Host(cache=not options.no_cache, output=self.console.lines, stop_within=options.grace)
        self.workloads: dict[str, Workload] = {}
        self.starting_again = False
        self.signal = 0

    async def run(self) -> int:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.obey_signals, nursery)
            async with trio.open_nursery() as telling:
                await telling.start(self.tell_events)
                ended = await outcome.acapture(self.life, nursery)
                # The events end with the host; but not everybody reads what is written for them.
                telling.cancel_scope.deadline = trio.current_time() + _TOLD_WITHIN
            nursery.cancel_scope.cancel()
        if self.signal == signal.SIGINT:
            return SIGNALLED + self.signal
        return ended.unwrap()

    async def life(self, nursery: trio.Nursery) -> int:
        async with self.host:
            await nursery.start(self.serve_control)
            for spec in self.specs:
                if not self.signal:
                    await self.start(spec)
            if self.options.watch:
                await nursery.start(self.watch)
            return await self.until_over()

    async def start(self, spec: WorkloadSpec) -> None:
        try:
            self.workloads[spec.id] = workload = await self.host.start(spec)
        except WorkloadError as error:
            raise CommandError(str(error), FAILED) from error
        for real, port in workload.status().published.items():
            await self.console.say(f"{spec.id}: {real} leads to port {port}")

    async def serve_control(self, task_status: trio.TaskStatus[object]) -> None:
        try:
            await serve_control(self.host, task_status=task_status)
        except (OSError, ControlDirectoryError) as error:
            # The workloads matter more than being able to look at them.
            await self.console.say(f"'ps', 'logs' and the like will not work: {error}")
            task_status.started()

    async def obey_signals(self, nursery: trio.Nursery, task_status: trio.TaskStatus[None]) -> None:
        if threading.current_thread() is not threading.main_thread():
            task_status.started()
            return
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
            task_status.started()
            async for number in received:
                if self.signal:
                    break
                self.signal = number
                nursery.start_soon(self.stop)
        # A third one finds Python's own handler, in case that what is killed does not end.
        for workload in self.workloads.values():
            workload.kill()

    async def stop(self) -> None:
        await self.console.say("stopping; once more to end everything at once")
        await self.host.stop(self.options.grace)

    async def tell_events(self, task_status: trio.TaskStatus[None]) -> None:
        with self.host.events.follow() as events:
            task_status.started()
            async for event in events:
                await self.console.event(event)

    async def until_over(self) -> int:
        """Wait until nothing runs any more, nor will by itself."""
        with self.host.events.follow() as events:
            while not self.is_over():
                await anext(events)
        states = [each.state for workload in self.workloads.values() for each in workload.status().services]
        return _FAILED_WORK if State.FAILED in states else 0

    def is_over(self) -> bool:
        if self.options.watch and not self.signal:
            # What has ended may change on disk, and then starts again.
            return not self.starting_again and all(each.over for each in self.workloads.values())
        services = [each for workload in self.workloads.values() for each in workload.status().services]
        if self.options.until_done:
            work = [each for each in services if each.kind == "run"]
            if work and all(each.state in ENDED for each in work):
                return True
        return all(each.state in ENDED for each in services)

    # ------------------------------------------------------------ --watch
    async def watch(self, task_status: trio.TaskStatus[None]) -> None:
        watched = Watched(self.watched_files())
        task_status.started()
        while not self.signal:
            for changed in await watched.changes():
                if changed in map(os.path.abspath, self.options.files):
                    await self.read_again(changed)
                else:
                    await self.restart_users_of(changed)
            watched.files = self.watched_files()

    def watched_files(self) -> set[str]:
        files = set(map(os.path.abspath, self.options.files))
        for workload in self.workloads.values():
            files.update(path for _, path in _component_files(workload.spec))
        return files

    async def restart_users_of(self, changed: str) -> None:
        for workload in self.workloads.values():
            for name, path in _component_files(workload.spec):
                if path == changed and not workload.over:
                    await self.console.say(f"{workload.id}: {name} changed on disk")
                    workload.restart(name, anew=True)

    async def read_again(self, changed: str) -> None:
        try:
            specs = {spec.id: spec for spec in await trio.to_thread.run_sync(read, changed)}
        except CommandError as error:
            await self.console.say(f"{error}\n    what ran before goes on")
            return
        for name, spec in specs.items():
            before = self.workloads.get(name)
            if before is not None and before.spec == spec:
                continue
            await self.console.say(f"{name}: the file changed; it starts again")
            self.starting_again = True
            try:
                if before is not None:
                    await before.stop(self.options.grace)
                await self.start(spec)
            except CommandError as error:
                await self.console.say(str(error))
            finally:
                self.starting_again = False


def _component_files(spec: WorkloadSpec) -> list[tuple[str, str]]:
    """Services and components with the files that they are loaded from."""
    named = [(each.name, each.code) for each in spec.services]
    named += [(each.name, each.code) for each in spec.components]
    return [
        (name, os.path.abspath(code.source))
        for name, code in named
        if isinstance(code, ComponentCode) and isinstance(code.source, str | os.PathLike)
    ]


class _Console:
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
