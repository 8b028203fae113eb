"""What every room's tests may use, the guest components, and what every test has to keep: nothing is left behind,
and together they reach every row of the state tables.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.leftovers import LEAVES_PIECES, leaves_pieces, watched
from tests.state_rows import StateRows, is_whole_suite
from tests.text_format import binary

ROOT = Path(__file__).resolve().parent.parent
BUILT = ROOT / "build" / "guests"
TEXTS = ROOT / "tests" / "guests" / "wat"


# Compiled guests are kept from one run of the tests to the next: CPython's takes ten seconds. Set here and not in a
# fixture, since programs that the tests start must find it too.
os.environ.setdefault("WASI_SOCKETS_CACHE", str(ROOT / "build" / "cache"))

# A shell starts what runs in its background with SIGINT ignored, and children inherit that: tests of Ctrl-C, here and
# in programs that the tests start, would wait forever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _guest_file(name: str) -> Path:
    record = BUILT / f"{name}.json"
    try:
        outcome = json.loads(record.read_text())
    except FileNotFoundError:
        pytest.fail(f"the guest {name} has not been built: run `make guests`")
    if outcome["status"] == "unavailable":
        pytest.skip(f"the guest {name} could not be built here: {outcome['reason']}")
    return BUILT / f"{name}.wasm"


@pytest.fixture(scope="session")
def guest_file() -> Callable[[str], Path]:
    """Gives the path of a built guest, as in `guest_file("python")`; skips when its toolchain is not to be had."""
    return _guest_file


@pytest.fixture(scope="session")
def wat_guest() -> Callable[[str], bytes]:
    """Gives the binary of a guest written as text, as in `wat_guest("echo")`."""
    return lambda name: binary((TEXTS / f"{name}.wat").read_text())


_STATE_ROWS = StateRows()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", f"{LEAVES_PIECES}: leaves sockets that only closing their network ends"
    )


@pytest.fixture(autouse=True, scope="session")
def _state_rows_are_noted() -> Iterator[None]:
    with _STATE_ROWS.noted():
        yield


@pytest.fixture(autouse=True)
def _nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    with watched() as leftovers:
        yield
    if leaves_pieces(request.node):
        leftovers.close()
    found = leftovers.found()
    if found:
        pytest.fail(f"left behind, {len(found)} in all: {', '.join(found[:5])}", pytrace=False)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if exitstatus == pytest.ExitCode.OK and is_whole_suite(session.config) and _STATE_ROWS.missing():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    missing = _STATE_ROWS.missing()
    if is_whole_suite(config) and missing:
        terminalreporter.section("Rows of the state tables that no test reached", red=True)
        for row in missing:
            terminalreporter.line(row)
