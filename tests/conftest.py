"""Fixtures that every room's tests may use: the guest components."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.text_format import binary

ROOT = Path(__file__).resolve().parent.parent
BUILT = ROOT / "build" / "guests"
TEXTS = ROOT / "tests" / "guests" / "wat"


# Compiled guests are kept from one run of the tests to the next: CPython's takes ten seconds. Set here and not in a
# fixture, since programs that the tests start must find it too.
os.environ.setdefault("WASI_SOCKETS_CACHE", str(ROOT / "build" / "cache"))


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
