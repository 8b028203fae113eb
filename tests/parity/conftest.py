"""A network for each test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import wasi_sockets
from tests.guest_runs import interposed_component, stock_component


@pytest.fixture
def network() -> wasi_sockets.Network:
    return wasi_sockets.Network()


@pytest.fixture(scope="session")
def guest_file(guest_file: Callable[[str], Path]) -> Callable[[str], Path]:
    """As for all tests, and compiled already, so that no time limit includes that."""

    def compiled(name: str) -> Path:
        path = guest_file(name)
        interposed_component(path)
        stock_component(path)
        return path

    return compiled
