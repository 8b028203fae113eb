"""The mapping as a whole: its keys, and that it is what the interposer's table asks for."""

from __future__ import annotations

import inspect
import re

import pytest

from wasi_sockets.interposer import table
from wasi_sockets.network import Network
from wasi_sockets.wasi import Host
from wasi_sockets.wasi.p2 import functions


@pytest.fixture
def mapping() -> dict[tuple[str, str], object]:
    return dict(functions(Host(Network())))


def test_keys_are_an_interface_without_version_and_a_name(mapping: dict[tuple[str, str], object]) -> None:
    label = "[a-z][a-z0-9]*(-[a-z0-9]+)*"
    for (interface, name), function in mapping.items():
        assert re.fullmatch(rf"wasi:{label}/{label}", interface)
        assert re.fullmatch(
            rf"{label}|\[(method|early|take-back)\]{label}\.{label}|\[resource-drop\]{label}", name
        )
        assert callable(function)


def test_the_tables_functions_are_all_here_and_no_others(mapping: dict[tuple[str, str], object]) -> None:
    wanted = {
        (interface, name)
        for interface, rows in table.FUNCTIONS.items()
        for name, row in rows.items()
        if row.python
    }
    early = {("wasi:sockets/tcp", f"[{what}]tcp-socket.start-connect") for what in ("early", "take-back")}
    assert {key for key in mapping if not key[1].startswith("[resource-drop]")} == wanted | early


def test_the_tables_drops_are_all_here_and_no_others(mapping: dict[tuple[str, str], object]) -> None:
    wanted = {
        (interface, f"[resource-drop]{resource}")
        for interface, resource in table.DROPS
        if resource != "pollable"  # pollables belong to the shim
    }
    assert {key for key in mapping if key[1].startswith("[resource-drop]")} == wanted


def test_exactly_the_functions_that_may_suspend_are_coroutines(
    mapping: dict[tuple[str, str], object],
) -> None:
    suspending = {
        (interface, name)
        for interface, rows in table.FUNCTIONS.items()
        for name, row in rows.items()
        if row.python and row.suspends
    }
    assert {key for key, function in mapping.items() if inspect.iscoroutinefunction(function)} == suspending
