"""The table, the library of trampolines and the Python functions agree, each way."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from tests.interposer.wasi_text import ALL_FUNCTIONS, INTERFACES, core_import
from wasi_sockets.interposer.items import TRAPS
from wasi_sockets.interposer.library import forms, state_exports, state_text
from wasi_sockets.interposer.plan import MEMORY_FAST_PATHS, REALM_FAST_PATHS
from wasi_sockets.interposer.table import DROP_POLLABLE, DROPS, FUNCTIONS, STOCK_DROPS, Style
from wasi_sockets.interposer.trampoline import guest_signature
from wasi_sockets.network import Network
from wasi_sockets.wasi import Host
from wasi_sockets.wasi.p2 import functions

ROWS = [(interface, name, row) for interface, rows in FUNCTIONS.items() for name, row in rows.items()]


def text(name: str) -> str:
    return (resources.files("wasi_sockets.interposer") / name).read_text("utf-8")


def test_every_form_is_used_and_every_form_that_is_used_exists() -> None:
    assert set(forms()) == {row.form for _, _, row in ROWS if row.form} | set(DROPS.values())


@pytest.mark.parametrize(("interface", "name", "row"), [each for each in ROWS if each[2].form])
def test_forms_have_the_signatures_of_their_functions(interface: str, name: str, row: object) -> None:
    form = forms()[FUNCTIONS[interface][name].form]
    assert guest_signature(form.parameters, form.results) == core_import(interface, name)


def test_drops_take_a_handle() -> None:
    for form in set(DROPS.values()):
        assert (forms()[form].parameters, forms()[form].results, forms()[form].memory) == (
            ("i32",),
            (),
            False,
        )


def test_stock_keys_are_those_that_the_forms_call() -> None:
    for _, name, row in ROWS:
        if not row.form:
            continue
        called = _stock_calls(row.form)
        assert called == set(row.stock), name
    for (interface, resource), form in DROPS.items():
        assert ("self" in _stock_calls(form)) == ((interface, resource) in STOCK_DROPS)


def _stock_calls(form: str) -> set[str]:
    """Keys of the stock functions that a form calls, itself or through others that are made per item."""
    bodies = dict(
        re.findall(r"^\(func \$(\w+)%I%(.*?)(?=^\(|\Z)", text("plain.wat") + text("memory.wat"), re.S | re.M)
    )
    found: set[str] = set()
    todo, seen = [form], set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        for called in re.findall(r"call \$(\w+)%I%", bodies[name]):
            if called.startswith("stock_") and called not in bodies:
                found.add(called.removeprefix("stock_"))
            else:
                todo.append(called)
    return found


def test_stock_functions_belong_to_the_interface_of_their_row() -> None:
    for interface, name, row in ROWS:
        for function in row.stock.values():
            assert not function or function == DROP_POLLABLE or function in FUNCTIONS[interface], (
                name,
                function,
            )


def test_rows_are_functions_of_wasi() -> None:
    # What the guests of these tests declare was taken from the WIT files of the releases.
    assert {(interface, name) for interface, name, _ in ROWS} <= set(ALL_FUNCTIONS)
    for interface, resource in DROPS:
        assert f'(export "{resource}" (type ${resource} (sub resource)))' in INTERFACES[interface].types


def test_every_function_of_the_replaced_interfaces_has_a_row() -> None:
    for interface, name in ALL_FUNCTIONS:
        if interface.startswith(("wasi:io/", "wasi:sockets/")):
            assert name in FUNCTIONS[interface]


def test_rows_and_python_functions() -> None:
    besides = ("[resource-drop]", "[early]", "[take-back]")  # the last two look ahead for `start-connect`
    written = {key for key in functions(Host(Network())) if not key[1].startswith(besides)}
    wanted = {(interface, name) for interface, name, row in ROWS if row.python}
    assert written == wanted


def test_python_drops_are_drops_of_the_table() -> None:
    written = {key for key in functions(Host(Network())) if key[1].startswith("[resource-drop]")}
    assert written <= {(interface, f"[resource-drop]{resource}") for interface, resource in DROPS}


def test_only_what_python_answers_suspends_or_forgets() -> None:
    for _, name, row in ROWS:
        if row.style is Style.SHIM and not row.python:
            assert not row.suspends, name
            assert not row.forgets, name
        assert row.style is not Style.SHIM or row.form, name


def test_streams_that_wait_for_finish_connect_are_no_secret_of_any_method_of_their_socket() -> None:
    rows = FUNCTIONS["wasi:sockets/tcp"]
    told = {name for name, row in rows.items() if row.returns_streams or "return_streams" in _body(row.form)}
    assert told == rows.keys() - {"[method]tcp-socket.finish-connect", "[method]tcp-socket.subscribe"}
    assert not any(row.returns_streams for interface, _, row in ROWS if interface != "wasi:sockets/tcp")


def _body(form: str) -> str:
    found = re.search(rf"^\(func \${form}%I%(.*?)(?=^\(|\Z)", text("memory.wat"), re.S | re.M)
    return found[1] if form and found else ""


def test_fast_paths_in_the_text_are_those_of_the_plan() -> None:
    names = set(re.findall(r"%([a-z][\w-]*)%", text("state.wat").split("(module", 1)[1]))
    assert names == set(REALM_FAST_PATHS)
    names = set(re.findall(r"%([a-z][\w-]*)%", text("memory.wat").split("(global $located", 1)[1]))
    assert names == set(MEMORY_FAST_PATHS)


def test_trap_reasons_in_the_text_are_in_the_list() -> None:
    used = {
        int(number)
        for name in ("state.wat", "plain.wat", "memory.wat")
        for number in re.findall(r"call \$trap \(i32\.const (\d+)\)", text(name))
    }
    assert used == set(range(1, len(TRAPS)))


def test_the_private_half_exports_what_the_library_calls() -> None:
    called = set(re.findall(r"call \$(\w+)\b", text("plain.wat") + text("memory.wat")))
    assert "%" not in state_text(dict.fromkeys(REALM_FAST_PATHS, 0))
    assert set(state_exports()) - {"scratch"} <= called
