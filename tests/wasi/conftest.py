from __future__ import annotations

import pytest
from p2_guest import Guest

from wasi_sockets.network import Network
from wasi_sockets.wasi import Host


@pytest.fixture
def guest() -> Guest:
    return Guest(Host(Network()))
