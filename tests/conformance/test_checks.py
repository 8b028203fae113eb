"""Every check on this library's host, in both transports, and what the list of checks covers."""

from __future__ import annotations

import re

import pytest

from wasi_sockets.conformance import assemble, checks, run_virtual
from wasi_sockets.conformance.check import Check
from wasi_sockets.conformance.differences import VIRTUAL_47
from wasi_sockets.conformance.interfaces import FUNCTIONS
from wasi_sockets.engine.bindings_versions import instances_can_be_reopened
from wasi_sockets.network import Network
from wasi_sockets.wasi import Host
from wasi_sockets.wasi.p2 import functions

# The programs of wasmtime that these checks follow.
UPSTREAM = [
    *(
        "tcp_bind",
        "tcp_connect",
        "tcp_listen",
        "tcp_states",
        "tcp_sockopts",
        "tcp_streams",
        "tcp_sample_application",
    ),
    *("tcp_busy_poll", "udp_bind", "udp_connect", "udp_states", "udp_sockopts", "udp_stream"),
    *(
        "udp_sample_application",
        "udp_send_to_closed_receiver",
        "udp_send_too_much",
        "ip_name_lookup",
        "cli_no_tcp",
    ),
    *(
        "cli_no_udp",
        "cli_no_ip_name_lookup",
        "stream_pollable_traps",
        "stream_pollable_correct",
        "pollable_traps",
    ),
    "pollable_correct",
]


@pytest.mark.parametrize("direct_memory", [True, False], ids=["direct", "copy"])
async def test_every_check_passes_here(direct_memory: bool) -> None:
    results = [result async for result in run_virtual(checks(), direct_memory=direct_memory)]
    known = {} if instances_can_be_reopened() else VIRTUAL_47
    assert [result for result in results if result.status != "pass" and result.name not in known] == []
    assert {result.name for result in results if result.status == "expected-difference"} == set(known)
    assert len(results) >= 300
    assert {result.name for result in results} == {check.name for check in checks()}


def test_every_upstream_program_has_checks() -> None:
    sources = " ".join(check.source for check in checks())
    missing = [name for name in UPSTREAM if f"p2_{name}" not in sources]
    assert missing == []


def test_every_function_of_the_sockets_interfaces_is_called() -> None:
    text = assemble(checks()).wat
    ours = {key for key in functions(Host(Network())) if key[0].startswith("wasi:sockets/")}
    checked = {
        (function.interface, function.name)
        for short, function in FUNCTIONS.items()
        if re.search(rf"\(call \${re.escape(short)}[ )]", text)
    }
    besides = ("[resource-drop]", "[early]", "[take-back]")
    missing = {key for key in ours if not key[1].startswith(besides)} - checked
    assert missing == set()


@pytest.mark.parametrize("check", checks(), ids=lambda check: check.name)
def test_a_check_says_what_it_is(check: Check) -> None:
    assert re.fullmatch(r"[a-z0-9-]+(/[a-z0-9-]+)+", check.name)
    assert check.about.endswith(".")
    assert check.source
    assembled = assemble([check])
    assert assembled.steps[0]
    assert (assembled.steps[0][-1].kind == "trap") == (check.traps is not None)


def test_filters_are_beginnings_or_patterns() -> None:
    assert {check.area for check in checks(["tcp-bind"])} == {"tcp-bind"}
    assert all(check.needs_ipv6 for check in checks(["*/ipv6"]))
    assert [check.name for check in checks(["denied/tcp"])] == ["denied/tcp"]
    assert checks(["no such check"]) == []
    assert len(checks(["denied", "names"])) == len(checks(["denied"])) + len(checks(["names"]))


def test_a_component_needs_a_check() -> None:
    with pytest.raises(ValueError, match="at least one"):
        assemble([])


def test_a_component_imports_only_what_its_check_calls() -> None:
    text = assemble(checks(["tcp-bind/broadcast"])).wat
    assert "wasi:sockets/tcp@" in text
    assert "wasi:sockets/udp@" not in text
    assert "ip-name-lookup" not in text
    assert "start-connect" not in text
