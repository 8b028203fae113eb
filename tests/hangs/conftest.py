"""What the tests of guests that misbehave share."""

from __future__ import annotations

import pytest

import wasi_sockets


@pytest.fixture
def network() -> wasi_sockets.Network:
    return wasi_sockets.Network()
