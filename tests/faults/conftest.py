"""How long the suite runs, the host that its faults are on, and the figures at its end.

`make test` runs it short; `make test-faults` as long as a leak needs to be seen (WASI_SOCKETS_FAULT_ROUNDS).
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio
import wasmtime

import wasi_sockets
from service.hosting import Host, OutputLine, Workload
from service.spec import ComponentCode, ServiceSpec, WorkloadSpec
from tests.guest_runs import compiled_already

_FIGURES: list[str] = []

NEIGHBOUR_PORT = 80


@pytest.fixture(scope="session")
def rounds() -> int:
    """How often each fault happens."""
    return int(os.environ.get("WASI_SOCKETS_FAULT_ROUNDS", "2"))


@pytest.fixture(scope="session")
def engine() -> wasmtime.Engine:
    return wasmtime.Engine(wasi_sockets.config())


@pytest.fixture(scope="session")
def guest_file(guest_file: Callable[[str], Path]) -> Callable[[str], Path]:
    """As for all tests, and compiled already, so that no time limit includes that."""
    return compiled_already(guest_file)


@pytest.fixture(autouse=True)
def _failures_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "wasi_sockets.service")  # pytest keeps every record


@pytest.fixture
async def host(engine: wasmtime.Engine) -> AsyncIterator[Host]:
    with trio.fail_after(900):
        async with Host(engine=engine, stop_within=1) as host:
            # What is kept for those who look at a host has an end, but must not grow while memory is measured.
            for _ in range(10_000):
                host.lines.publish(OutputLine(0.0, "default/nobody", "api", "host", "x" * 80))
            yield host


@pytest.fixture
async def neighbour(host: Host, guest_file: Callable[[str], Path]) -> Workload:
    """A guest that serves on the same host, and has nothing to do with anything."""
    code = ComponentCode(guest_file("c-server-0.2.12"), arguments=(str(NEIGHBOUR_PORT), "1000000"))
    service = ServiceSpec(name="api", code=code, ports=(NEIGHBOUR_PORT,))
    workload = await host.start(WorkloadSpec(name="neighbour", services=(service,)))
    await workload.until_ready()
    return workload


@pytest.fixture(scope="session")
def report() -> Callable[[str], None]:
    """Takes lines for the end of the run."""
    return _FIGURES.append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _FIGURES:
        terminalreporter.section("Faults")
        for line in _FIGURES:
            terminalreporter.line(line)
