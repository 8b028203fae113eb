"""Seeing whether a service is ready, from inside its workload's network."""

from __future__ import annotations

import trio

from service.spec import Probe
from wasi_sockets import Network

__all__ = ["until_not_ready", "until_ready"]

_HOST = "localhost"


async def until_ready(network: Network, probe: Probe, ports: tuple[int, ...]) -> None:
    """Wait until the probe succeeds. A checkpoint."""
    if probe.kind == "listen":
        await network.until_listening(*ports)
        return
    while await _problem(network, probe) is not None:  # a probe asks; nobody tells
        await _until_it_listens_or(network, probe)


async def until_not_ready(network: Network, probe: Probe, ports: tuple[int, ...]) -> str:
    """Wait until the probe has failed as often in a row as it may. A checkpoint.

    Returns:
        What is wrong.
    """
    if probe.kind == "listen":
        await network.until_not_listening(*ports)
        missing = [str(port) for port in ports if not network.listens(port)]
        return (
            f"nobody listens at port {', '.join(missing)}" if missing else "it stopped listening for a moment"
        )
    failures = 0
    while True:
        await trio.sleep(probe.period)
        problem = await _problem(network, probe)
        failures = 0 if problem is None else failures + 1
        if problem is not None and failures >= probe.failures:
            return problem


async def _until_it_listens_or(network: Network, probe: Probe) -> None:
    """Wait for the probe's period, or until somebody listens at its port, whichever comes first."""
    with trio.move_on_after(probe.period):
        if network.listens(probe.port):
            await trio.sleep_forever()
        await network.until_listening(probe.port)


async def _problem(network: Network, probe: Probe) -> str | None:
    """Try once; None if it succeeded."""
    what = f"the {probe.kind} probe of port {probe.port}"
    if not network.listens(probe.port):  # a connect would be held, where connects are
        await trio.lowlevel.checkpoint()
        return f"{what}: nobody listens"
    with trio.move_on_after(probe.timeout):
        try:
            async with await network.connect_tcp(_HOST, probe.port) as stream:
                if probe.kind == "tcp":
                    return None
                from service.hosting._http_probe import status_of_get

                status = await status_of_get(stream, f"{_HOST}:{probe.port}", probe.path)
                return None if 200 <= status < 400 else f"{what}: GET {probe.path} answered {status}"
        except (OSError, trio.BrokenResourceError) as error:
            return f"{what}: {error or type(error).__name__}"
        except ValueError as error:
            return f"{what}: {error}"
    return f"{what}: no answer within {probe.timeout:g} s"
