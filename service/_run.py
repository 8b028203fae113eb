"""`wasi-sockets run`: a guest, its services, and what becomes of the process when the guest ends."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import outcome
import trio
import wasmtime

import wasi_sockets
from service._bridges import drained, policy_of
from service._bridges import start as start_bridges
from service._console_log import warnings_told
from service._endings import ending
from service._exits import CANNOT_RUN, FAILED, NOT_FOUND, SIGNALLED, TIMED_OUT, CommandError
from service._last_resort import LastResort
from service._lost_output import GUEST_OUTPUT, GuestOutput, LostOutput
from service._services import GRACE, Service, patience, prepare, release
from service._telemetry import console_level, telemetry_from_environment
from service._terminal import Progress, say

__all__ = ["check_file", "load_errors", "run"]


def run(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Runs the guest that the options describe.

    Args:
        options: as the parser of `cli` makes them; `env` is a mapping by now.
        arguments: the guest's own.

    Returns:
        The exit code for this process.

    Raises:
        CommandError: for whatever the user can put right.
    """
    check_file(options.guest)
    services = prepare(options.service)
    with warnings_told(console_level(options.log_level)), telemetry_from_environment():
        return trio.run(_Command(options, arguments, services).run)


def check_file(path: str) -> None:
    """Raises CommandError for a guest that is not there or not a file."""
    if not os.path.exists(path):
        raise CommandError(f"{path}: no such file", NOT_FOUND)
    if os.path.isdir(path):
        raise CommandError(f"{path} is a directory, not a component", CANNOT_RUN)


class _Command:
    def __init__(
        self, options: argparse.Namespace, arguments: Sequence[str], services: list[Service]
    ) -> None:
        self.options = options
        self.arguments = arguments
        self.services = services
        self.lost_output = LostOutput(GUEST_OUTPUT)
        self.last_resort = LastResort(self.running, says_what_it_waits_for=True)

    async def run(self) -> int:
        with self.last_resort, self.last_resort.signals(patience(self.services)) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.obey, signals, nursery.cancel_scope)
                ended = await outcome.acapture(self.life)
                nursery.cancel_scope.cancel()
        if self.last_resort.signal:
            return self.lost_output.finish(SIGNALLED + self.last_resort.signal)
        return self.lost_output.finish(ended.unwrap())

    def running(self) -> list[str]:
        return [f"--service {each.option.text}" for each in self.services if each.serving]

    async def obey(self, signals: trio.MemoryReceiveChannel[int], running: trio.CancelScope) -> None:
        await signals.receive()
        running.cancel()  # a further one is for the last resort

    async def life(self) -> int:
        options = self.options
        engine = wasmtime.Engine(wasi_sockets.config())
        component = await self.load(engine)
        network = wasi_sockets.Network(component.name, policy=policy_of(options.allow))
        try:
            for service in self.services:
                service.listen(network)
        except BaseException:
            network.close()
            raise
        async with trio.open_nursery() as bridges:
            async with trio.open_nursery() as serving:
                ended = await outcome.acapture(self.guest_life, serving, bridges, engine, component, network)
                self.last_resort.leave_within(patience(self.services), _exit_code(ended))
                await release(self.services, serving)
            if bridges.child_tasks:
                await drained(network, GRACE)
            bridges.cancel_scope.cancel()
        return ended.unwrap()

    async def load(self, engine: wasmtime.Engine) -> wasi_sockets.GuestComponent:
        progress = Progress(self.options.guest)

        def load() -> wasi_sockets.GuestComponent:
            return wasi_sockets.load(
                engine, self.options.guest, cache=not self.options.no_cache, progress=progress.begin
            )

        async def compiling() -> wasi_sockets.GuestComponent:
            # Ctrl-C need not wait for the compiler: the process ends, and with it the thread.
            with load_errors(self.options.guest):
                return await trio.to_thread.run_sync(load, abandon_on_cancel=True)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(progress.show)
            loaded = await outcome.acapture(compiling)
            nursery.cancel_scope.cancel()
        return loaded.unwrap()

    async def guest_life(
        self,
        serving: trio.Nursery,
        bridges: trio.Nursery,
        engine: wasmtime.Engine,
        component: wasi_sockets.GuestComponent,
        network: wasi_sockets.Network,
    ) -> int:
        options = self.options
        for service in self.services:
            await serving.start(service.serve)
        await start_bridges(network, bridges, options.publish, options.forward)
        with trio.CancelScope() as limit:
            if options.timeout is not None:
                limit.deadline = trio.current_time() + options.timeout
            try:
                return await wasi_sockets.run(
                    component,
                    self.arguments,
                    network=network,
                    environment=options.env,
                    directories=dict(options.dir),
                    stdout=GuestOutput(self.lost_output),
                    name=component.name,
                    engine=engine,
                    http=options.http,
                    thread=options.thread,
                    direct_memory=not options.no_direct_memory,
                )
            except LookupError as error:
                raise CommandError(
                    f"{options.guest} exports no wasi:cli/run, so it is no command to run;"
                    " 'wasi-sockets inspect' shows what it exports",
                    CANNOT_RUN,
                ) from error
            except (wasmtime.WasmtimeError, wasi_sockets.GuestTrap, wasi_sockets.GuestLimitError) as error:
                code, message = ending(error, options.guest)
                say(message)
                return code
        say(f"{options.guest} was ended after {options.timeout:g} s (--timeout)")
        return TIMED_OUT


def _exit_code(ended: outcome.Value[int] | outcome.Error) -> int:
    if isinstance(ended, outcome.Error):
        return ended.error.code if isinstance(ended.error, CommandError) else FAILED
    return ended.value


@contextmanager
def load_errors(path: str) -> Iterator[None]:
    """Raises CommandError for what loading or inspecting a file raises."""
    try:
        yield
    except FileNotFoundError as error:
        raise CommandError(f"{path}: no such file", NOT_FOUND) from error
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}", CANNOT_RUN) from error
    except wasi_sockets.ComponentError as error:
        raise CommandError(f"{path}: {error}", CANNOT_RUN) from error
    except wasmtime.WasmtimeError as error:
        raise CommandError(f"{path}: wasmtime does not accept the component: {error}", CANNOT_RUN) from error
