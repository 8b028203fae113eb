"""Checks on the host of this library: each in a guest of its own, on a network of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

import trio
import wasmtime
import wasmtime.component

import wasi_sockets
from wasi_sockets.conformance.assembly import bundles
from wasi_sockets.conformance.check import Check
from wasi_sockets.conformance.differences import VIRTUAL_47
from wasi_sockets.conformance.verdict import Ended, Result, judge
from wasi_sockets.engine.bindings_versions import instances_can_be_reopened

__all__ = ["run_virtual"]


async def run_virtual(
    checks: Sequence[Check],
    *,
    name: str = "virtual",
    limit: float = 20,
    direct_memory: bool = True,
    started: Callable[[Check], None] | None = None,
) -> AsyncIterator[Result]:
    """Runs checks here and gives each result as it comes.

    Args:
        checks: what to run.
        name: of the host, for the results.
        limit: seconds for a single check.
        direct_memory: as for `wasi_sockets.instantiate`.
        started: called before each.
    """
    engine = wasmtime.Engine(wasi_sockets.config())
    linker = wasmtime.component.Linker(engine)
    linker.add_wasip2()
    wasi_sockets.add_to_linker(linker)
    differences = None if instances_can_be_reopened() else VIRTUAL_47
    for assembled in bundles(checks):
        wasm = assembled.wasm
        component = await trio.to_thread.run_sync(wasi_sockets.load, engine, wasm)
        for number, (check, steps) in enumerate(zip(assembled.checks, assembled.steps, strict=True)):
            if started is not None:
                started(check)
            ended = await _run(engine, linker, component, number, check, limit, direct_memory)
            yield judge(check, steps, ended, name, differences)


async def _run(
    engine: wasmtime.Engine,
    linker: wasmtime.component.Linker,
    component: wasi_sockets.GuestComponent,
    number: int,
    check: Check,
    limit: float,
    direct_memory: bool,
) -> Ended:
    store = wasmtime.Store(engine)
    config = wasmtime.WasiConfig()
    config.argv = ["check", str(number)]
    store.set_wasi(config)
    network = wasi_sockets.Network(check.name)
    stdout = wasi_sockets.OutputPipe()
    limits = wasi_sockets.Limits(
        tcp="tcp" not in check.denied,
        udp="udp" not in check.denied,
        name_lookup="ip-name-lookup" not in check.denied,
    )
    exit_code: int | None = None
    message = ""
    with trio.move_on_after(limit) as scope:
        try:
            async with wasi_sockets.instantiate(
                linker,
                store,
                component,
                network=network,
                stdout=stdout,
                limits=limits,
                direct_memory=direct_memory,
            ) as guest:
                result = await guest.call("wasi:cli/run@0.2", "run")
                exit_code = 1 if getattr(result, "tag", "ok") == "err" else 0
        except wasmtime.ExitTrap as ended:
            exit_code = ended.code
        except wasmtime.WasmtimeError as error:
            message = str(error)
        except (
            Exception
        ) as error:  # a check finds out about defects of the host: they are its result, not its end
            message = f"{type(error).__name__}: {error}"
    left = network.sockets()
    if left and not scope.cancelled_caught:
        return Ended(
            None, "", f"{len(left)} sockets were left in the network when the guest had ended: {left[0]}"
        )
    said = stdout.pipe.read(stdout.pipe.buffered).decode("utf-8", "replace")
    return Ended(exit_code, said, message, too_late=scope.cancelled_caught)
