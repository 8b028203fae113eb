"""What the tests of guests that misbehave share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import wasi_sockets
from tests.guest_runs import compiled_already


@pytest.fixture
def network() -> wasi_sockets.Network:
    return wasi_sockets.Network()


@pytest.fixture(scope="session")
def guest_file(guest_file: Callable[[str], Path]) -> Callable[[str], Path]:
    """As for all tests, and compiled already, so that no time limit includes that."""
    return compiled_already(guest_file)
