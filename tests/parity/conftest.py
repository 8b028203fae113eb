"""A network for each test."""

from __future__ import annotations

import pytest

import wasi_sockets


@pytest.fixture
def network() -> wasi_sockets.Network:
    return wasi_sockets.Network()
