"""The common case in one call: run a command component on a network and get its exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import trio
import wasmtime
import wasmtime.component

from wasi_sockets._argument_checks import (
    check_descriptor,
    check_directory,
    check_kind,
    check_mapping,
    check_trio,
    strings_checked,
)
from wasi_sockets._component import GuestComponent, Stage, load
from wasi_sockets._guest import add_to_linker, instantiate
from wasi_sockets._http import HttpPolicy
from wasi_sockets.engine import config
from wasi_sockets.engine.bindings_versions import preopen_directory
from wasi_sockets.network import Network
from wasi_sockets.wasi import InputPipe, Limits, OutputPipe, receive_from, send_to

__all__ = ["run"]

_STANDARD_DESCRIPTORS = (0, 1, 2)


async def run(
    source: str | os.PathLike[str] | bytes | GuestComponent,
    arguments: Sequence[str] = (),
    *,
    network: Network,
    environment: Mapping[str, str] | None = None,
    directories: Mapping[str, str | os.PathLike[str]] | None = None,
    name: str | None = None,
    stdin: int | None = _STANDARD_DESCRIPTORS[0],
    stdout: int | None = _STANDARD_DESCRIPTORS[1],
    stderr: int | None = _STANDARD_DESCRIPTORS[2],
    engine: wasmtime.Engine | None = None,
    http: HttpPolicy = "deny",
    limits: Limits | None = None,
    thread: bool = False,
    direct_memory: bool = True,
    cache: bool | str | os.PathLike[str] = True,
    progress: Callable[[Stage], None] | None = None,
) -> int:
    """Runs a component that exports `wasi:cli/run` until it ends.

    Standard input, output and error are virtual streams between the guest and the descriptors, so that an unread
    pipe or a slow terminal makes only the guest wait.

    Args:
        source: a file, the component's bytes, or what `load` gave.
        arguments: what the guest sees after its own name.
        network: what its sockets reach.
        environment: its environment; nothing of this process's own.
        directories: guest path -> directory of this machine, opened for reading and writing.
        name: the guest's own name, its argument 0; the file's name by default.
        stdin: a file descriptor, or None for an empty input.
        stdout: a file descriptor, or None to throw the output away.
        stderr: likewise.
        engine: from `wasmtime.Engine(wasi_sockets.config())`; one of its own by default. Needed with a `source`
            from `load`, which belongs to an engine.
        http: as for `add_to_linker`.
        limits: as for `instantiate`.
        thread: as for `instantiate`.
        direct_memory: as for `instantiate`.
        cache: as for `load`.
        progress: as for `load`; called from another thread.

    Returns:
        The guest's exit code: what it exited with, 0 when `run` returned ok, 1 when it returned an error.

    Raises:
        OSError: the file or a directory cannot be opened.
        TypeError: an argument of the wrong kind.
        RuntimeError: trio does not run the caller.
        ComponentError: the component cannot be loaded.
        LookupError: it does not export `wasi:cli/run`.
        ValueError: a `source` from `load` without its engine.
        wasmtime.WasmtimeError: it trapped, or an import is missing.
    """
    check_trio("wasi_sockets.run")
    words = strings_checked("arguments", arguments)
    check_kind("network", network, Network)
    if environment is not None:
        check_mapping("environment", environment, str, "strings")
    if directories is not None:
        check_mapping("directories", directories, str | os.PathLike, "directories")
        for directory in directories.values():
            check_directory(directory)
    for stream, descriptor in (("stdin", stdin), ("stdout", stdout), ("stderr", stderr)):
        check_descriptor(stream, descriptor)
    if engine is not None:
        check_kind("engine", engine, wasmtime.Engine)
    if limits is not None:
        check_kind("limits", limits, Limits)
    if isinstance(source, GuestComponent):
        if engine is None:
            raise ValueError("a component from load() belongs to an engine: give that engine too")
        component = source
    else:
        engine = engine or wasmtime.Engine(config())
        component = await trio.to_thread.run_sync(
            _load, engine, source, cache, progress, abandon_on_cancel=True
        )
    linker = wasmtime.component.Linker(engine)
    linker.add_wasip2()
    add_to_linker(linker, http=http)
    store = wasmtime.Store(engine)
    own_name = name if name is not None else _name_of(source)
    store.set_wasi(
        _wasi_config([own_name, *words], environment or {}, directories or {}, stdin, stdout, stderr)
    )

    pipes = _Pipes(stdin, stdout, stderr)

    async def guest_life() -> int:
        try:
            async with instantiate(
                linker,
                store,
                component,
                network=network,
                stdin=pipes.stdin,
                stdout=pipes.stdout,
                stderr=pipes.stderr,
                limits=limits,
                thread=thread,
                direct_memory=direct_memory,
            ) as guest:
                return await _exit_code(guest)
        finally:
            pipes.finish()

    # What the guest raises goes to the caller as it is, not in a group: the pipes' tasks never raise.
    code = 0
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        pipes.start(nursery)
        try:
            code = await guest_life()
        except BaseException as error:
            failure = error
    if failure is not None:
        raise failure
    return code


def _load(
    engine: wasmtime.Engine,
    source: str | os.PathLike[str] | bytes,
    cache: bool | str | os.PathLike[str],
    progress: Callable[[Stage], None] | None,
) -> GuestComponent:
    return load(engine, source, cache=cache, progress=progress)


def _name_of(source: object) -> str:
    return os.path.basename(os.fspath(source)) if isinstance(source, str | os.PathLike) else "guest"


async def _exit_code(guest: Any) -> int:
    try:
        result = await guest.call("wasi:cli/run@0.2", "run")
    except wasmtime.ExitTrap as ended:
        return int(ended.code)
    # `result<_, _>` comes as None or as a variant, by wasmtime's rules for results without payloads.
    return 1 if getattr(result, "tag", "ok") == "err" else 0


def _wasi_config(
    argv: list[str],
    environment: Mapping[str, str],
    directories: Mapping[str, str | os.PathLike[str]],
    stdin: int | None,
    stdout: int | None,
    stderr: int | None,
) -> wasmtime.WasiConfig:
    wasi = wasmtime.WasiConfig()
    wasi.argv = argv
    wasi.env = list(environment.items())
    for guest_path, directory in directories.items():
        preopen_directory(wasi, directory, guest_path)
    # The guest never uses these streams, but stock WASI tells from them whether it has a terminal.
    for descriptor, number, inherit in (
        (stdin, 0, wasi.inherit_stdin),
        (stdout, 1, wasi.inherit_stdout),
        (stderr, 2, wasi.inherit_stderr),
    ):
        if descriptor == number and _is_terminal(descriptor):
            inherit()
    return wasi


def _is_terminal(descriptor: int) -> bool:
    with suppress(OSError):
        return os.isatty(descriptor)
    return False


class _Pipes:
    """The virtual standard streams of one guest, with the tasks that move their bytes."""

    def __init__(self, stdin: int | None, stdout: int | None, stderr: int | None) -> None:
        self.descriptors = (stdin, stdout, stderr)
        self.stdin = InputPipe()
        self.stdout = OutputPipe()
        # One pipe for one file: the order between what goes to the two is the guest's.
        self.stderr = self.stdout if _same_file(stdout, stderr) else OutputPipe()
        self.reading = trio.CancelScope()

    def start(self, nursery: trio.Nursery) -> None:
        stdin, stdout, stderr = self.descriptors
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError, OSError, ValueError):
                stream.flush()  # what this program wrote before comes before what the guest writes
        nursery.start_soon(self.feed, stdin)
        nursery.start_soon(self.stdout.drain, _discard if stdout is None else send_to(stdout))
        if self.stderr is not self.stdout:
            nursery.start_soon(self.stderr.drain, _discard if stderr is None else send_to(stderr))

    async def feed(self, descriptor: int | None) -> None:
        with self.reading:
            await self.stdin.feed(_nothing if descriptor is None else receive_from(descriptor))

    def finish(self) -> None:
        self.reading.cancel()
        self.stdout.finish()
        self.stderr.finish()


def _same_file(one: int | None, other: int | None) -> bool:
    if one is None or other is None:
        return False
    try:
        return one == other or os.path.samestat(os.fstat(one), os.fstat(other))
    except OSError:
        return False


async def _discard(_: bytes) -> None:
    await trio.lowlevel.checkpoint()


async def _nothing(_: int) -> bytes:
    await trio.lowlevel.checkpoint()
    return b""
