"""`wasi-sockets up`: workloads from files, until they have ended or are told to stop."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from typing import Final

import trio

from service._console_log import warnings_told
from service._exits import CANNOT_RUN, FAILED, NOT_FOUND, CommandError
from service._host_command import HostCommand
from service._telemetry import console_level, telemetry_from_environment
from service._terminal import escaped, say
from service._watching import Watched
from service._workload_input import STANDARD_INPUT, name_of, read_input
from service.files import WorkloadFileError
from service.hosting import ENDED, Host, State, Workload, WorkloadError
from service.spec import ComponentCode, WorkloadSpec

__all__ = ["read", "up"]

_FAILED_WORK: Final = 1


def up(options: argparse.Namespace) -> int:
    """Runs the workloads of the files.

    Returns:
        The exit code for this process.

    Raises:
        CommandError: for whatever the user can put right.
    """
    specs = [spec for file in options.files for spec in read(file)]
    with warnings_told(console_level(options.log_level)), telemetry_from_environment():
        return trio.run(_Command(options, specs).run)


def read(file: str) -> Sequence[WorkloadSpec]:
    """The workloads of a file, its notes said.

    Raises:
        CommandError: it is not there, or says something that cannot be meant.
    """
    name = name_of(file)
    try:
        loaded = read_input(file)
    except FileNotFoundError as error:
        raise CommandError(f"{name}: no such file", NOT_FOUND) from error
    except OSError as error:
        raise CommandError(f"{name}: {error.strerror}", CANNOT_RUN) from error
    except ModuleNotFoundError as error:
        raise CommandError(str(error), FAILED) from error
    except WorkloadFileError as error:
        for problem in error.problems:
            say(escaped(str(problem)))
        raise CommandError(f"{name}: nothing of it can be run like this", CANNOT_RUN) from error
    for note in loaded.notes:
        say(escaped(str(note)))
    return loaded.workloads


class _Command(HostCommand):
    def __init__(self, options: argparse.Namespace, specs: Sequence[WorkloadSpec]) -> None:
        host = Host(
            cache=not options.no_cache,
            output=self.show,
            secrets=dict(options.pull_secret),
            stop_within=options.grace,
        )
        super().__init__(host, grace=options.grace, as_json=options.json)
        self.options = options
        self.specs = specs
        self.workloads: dict[str, Workload] = {}
        self.starting_again = False
        self.not_started: set[str] = set()
        self.changed = trio.Event()
        self.nursery: trio.Nursery | None = None

    async def life(self, nursery: trio.Nursery) -> int:
        self.nursery = nursery
        # Before anything runs: what changes from then on must not pass for what was there already.
        watched = Watched(self.watched_files(self.specs))
        await nursery.start(self.look_again_at_events)
        for spec in self.specs:
            if not self.signal:
                await self.start(spec)
        if self.options.watch:
            nursery.start_soon(self.watch, watched)
        return await self.until_over()

    async def start(self, spec: WorkloadSpec) -> None:
        try:
            self.workloads[spec.id] = workload = await self.host.start(spec)
        except WorkloadError as error:
            raise CommandError(str(error), FAILED) from error
        if self.nursery is not None:
            self.nursery.start_soon(self.look_again_after, workload)
        for real, port in workload.status().published.items():
            await self.console.say(f"{spec.id}: {real} leads to port {port}")

    async def until_over(self) -> int:
        """Wait until nothing runs any more, nor will by itself."""
        while not self.is_over():
            self.changed = trio.Event()
            await self.changed.wait()
        states = [each.state for workload in self.workloads.values() for each in workload.status().services]
        return _FAILED_WORK if State.FAILED in states else 0

    def look_again(self) -> None:
        """Something has changed, and all may be over."""
        self.changed.set()

    async def look_again_at_events(self, task_status: trio.TaskStatus[None]) -> None:
        with self.host.events.follow() as events:
            task_status.started()
            async for _ in events:
                self.look_again()

    async def look_again_after(self, workload: Workload) -> None:
        await workload.until_over()  # which is later than the last event of its services
        self.look_again()

    async def stopping(self) -> None:
        self.look_again()
        await super().stopping()

    def is_over(self) -> bool:
        if self.options.watch and not self.signal:
            # What has ended may change on disk, and then starts again.
            waits = self.starting_again or self.not_started
            return not waits and all(each.over for each in self.workloads.values())
        services = [each for workload in self.workloads.values() for each in workload.status().services]
        if self.options.until_done:
            work = [each for each in services if each.kind == "run"]
            if work and all(each.state in ENDED for each in work):
                return True
        return all(each.state in ENDED for each in services)

    # ------------------------------------------------------------ --watch
    async def watch(self, watched: Watched) -> None:
        while not self.signal:
            for changed in await watched.changes():
                if changed in self.workload_files():
                    await self.read_again(changed)
                else:
                    await self.restart_users_of(changed)
            watched.files = self.watched_files([each.spec for each in self.workloads.values()])

    def watched_files(self, specs: Iterable[WorkloadSpec]) -> set[str]:
        files = self.workload_files()
        for spec in specs:
            files.update(path for _, path in _component_files(spec))
        return files

    def workload_files(self) -> set[str]:
        return {os.path.abspath(each) for each in self.options.files if each != STANDARD_INPUT}

    async def restart_users_of(self, changed: str) -> None:
        for workload in list(self.workloads.values()):
            for name, path in _component_files(workload.spec):
                if path != changed or workload.over:
                    continue
                try:
                    await workload.load_anew(name)  # a compiler may have failed, or be at it still
                except WorkloadError as error:
                    await self.console.say(f"{error}\n    what ran before goes on")
                    continue
                try:
                    workload.restart(name)
                except WorkloadError as error:
                    await self.console.say(f"{changed} changed on disk: {error}")
                else:
                    await self.console.say(f"{workload.id}: {name} changed on disk")

    async def read_again(self, changed: str) -> None:
        try:
            specs = {spec.id: spec for spec in await trio.to_thread.run_sync(read, changed)}
        except CommandError as error:
            await self.console.say(f"{error}\n    what ran before goes on")
            return
        for name, spec in specs.items():
            before = self.workloads.get(name)
            if before is not None and before.spec == spec and name not in self.not_started:
                continue
            await self.console.say(f"{name}: the file changed; it starts again")
            self.starting_again = True
            try:
                if before is not None:
                    await before.stop(self.options.grace)
                if self.signal:
                    return  # everything was told to stop meanwhile
                await self.start(spec)
                self.not_started.discard(name)
            except CommandError as error:
                self.not_started.add(name)  # until its file changes again, if only to what it was before
                await self.console.say(str(error))
            finally:
                self.starting_again = False
                self.look_again()


def _component_files(spec: WorkloadSpec) -> list[tuple[str, str]]:
    """Services and components with the files that they are loaded from."""
    named = [(each.name, each.code) for each in spec.services]
    named += [(each.name, each.code) for each in spec.components]
    return [
        (name, os.path.abspath(code.source))
        for name, code in named
        if isinstance(code, ComponentCode) and isinstance(code.source, str | os.PathLike)
    ]
