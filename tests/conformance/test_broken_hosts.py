"""A host that breaks a rule fails the check of that rule, and a run that proves nothing passes none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from wasi_sockets.conformance import assemble, checks, run_virtual
from wasi_sockets.conformance.verdict import Ended, judge
from wasi_sockets.network import TcpConnection
from wasi_sockets.sockets import ErrorCode, TcpSocket, datagrams
from wasi_sockets.sockets import tcp as tcp_module
from wasi_sockets.wasi.p2 import ip_name_lookup
from wasi_sockets.wasi.p2 import tcp as tcp_p2
from wasi_sockets.wasi.p2.byte_streams import PipeInputStream, PipeOutputStream


async def failures(*filters: str) -> set[str]:
    return {result.name async for result in run_virtual(checks(filters), limit=5) if result.status == "fail"}


def both(*names: str) -> set[str]:
    return {f"{name}/{family}" for name in names for family in ("ipv4", "ipv6")}


TCP = "wasi:sockets/tcp"
IS_LISTENING = (TCP, "[method]tcp-socket.is-listening")

# What is broken, how, which checks are run, and which of them must fail.
SABOTAGE: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str, set[str]]] = {
    "shutdown does nothing": (
        lambda patch: patch.setattr(TcpSocket, "shutdown", lambda self, *, receive, send: None),
        "tcp-streams/local-shutdown",
        both("tcp-streams/local-shutdown-send", "tcp-streams/local-shutdown-receive"),
    ),
    "0 is taken for an option": (
        lambda patch: patch.setattr(tcp_module, "accepted_value", lambda option, value: value),
        "tcp-options/zero",
        both("tcp-options/zero"),
    ),
    "any address is taken": (
        lambda patch: patch.setattr(tcp_module, "is_bindable", lambda address, family: True),
        "tcp-bind/wrong-family",
        both("tcp-bind/wrong-family"),
    ),
    "is-listening is never true": (
        lambda patch: patch.setitem(tcp_p2.FUNCTIONS, IS_LISTENING, lambda socket: False),
        "tcp-states/listening",
        both("tcp-states/listening"),
    ),
    "names are not looked at": (
        lambda patch: patch.setattr(
            ip_name_lookup, "resolve_addresses", lambda *_: ErrorCode.NAME_UNRESOLVABLE
        ),
        "names/invalid",
        {check.name for check in checks(["names/invalid"])},
    ),
    "streams are no children of their socket": (
        lambda patch: patch.setattr(tcp_p2, "tcp_streams", _streams_without_parent),
        "traps/accepted-socket",
        {"traps/accepted-socket-before-streams"},
    ),
    "check-send permits anything": (
        lambda patch: patch.setattr(datagrams, "MAX_DATAGRAMS", 10**6),
        "traps/udp-send-too-much",
        {"traps/udp-send-too-much"},
    ),
}


def _streams_without_parent(
    socket: TcpSocket, connection: TcpConnection
) -> tuple[PipeInputStream, PipeOutputStream]:
    return PipeInputStream(connection.receive_pipe, None), PipeOutputStream(connection.send_pipe, None)


@pytest.mark.parametrize("name", SABOTAGE)
async def test_a_sabotaged_function_fails_its_check(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    sabotage, area, expected = SABOTAGE[name]
    assert await failures(area) == set()
    sabotage(monkeypatch)
    assert await failures(area) >= expected


async def test_an_exception_of_the_host_fails_the_check_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(socket: TcpSocket) -> bool:
        raise ZeroDivisionError("oops")

    monkeypatch.setitem(tcp_p2.FUNCTIONS, IS_LISTENING, fail)
    results = {result.name: result async for result in run_virtual(checks(["tcp-states/unbound"]))}
    assert results["tcp-states/unbound/ipv4"].status == "fail"
    assert "ZeroDivisionError: oops" in results["tcp-states/unbound/ipv4"].detail
    assert results["tcp-states/unbound-options/ipv4"].status == "pass"


async def test_the_failing_step_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TcpSocket, "local_address", lambda self: ErrorCode.NOT_SUPPORTED)
    (result,) = [result async for result in run_virtual(checks(["tcp-states/bound/ipv4"]))]
    assert result.detail == "tcp-socket-1.local-address: expected ok, got not-supported"


PLAIN, TRAPPING = checks(["tcp-bind/broadcast"])[0], checks(["traps/empty-poll"])[0]
STEPS = len(assemble([PLAIN]).steps[0])


@pytest.mark.parametrize(
    ("ended", "part"),
    [
        (Ended(0, ""), "said nothing"),
        (Ended(0, "PASS 1 0\n"), "exit code was 0"),
        (Ended(1, f"PASS {STEPS} 0\n"), "exit code was 1"),
        (Ended(None, "", "no such import"), "no such import"),
        (Ended(0, "FAIL 1 0\n"), "expected invalid-argument, got ok"),
        (Ended(1, "FAIL 999 0\n"), "said nothing"),
        (Ended(None, "", too_late=True), "did not end in time"),
        (Ended(0, "something else\n"), "said nothing"),
    ],
)
def test_only_a_full_run_passes(ended: Ended, part: str) -> None:
    result = judge(PLAIN, assemble([PLAIN]).steps[0], ended, "host")
    assert result.status == "fail"
    assert part in result.detail


@pytest.mark.parametrize(
    ("ended", "status"),
    [
        (Ended(None, "TRAP 0 0\n", "empty poll list"), "pass"),
        (Ended(None, "TRAP 0 0\n", "something else"), "fail"),
        (Ended(134, "TRAP 0 0\n", "", has_words=False), "pass"),
        (Ended(0, "TRAP 0 0\n", "empty poll list"), "fail"),
        (Ended(1, "TRAP 0 0\nFAIL 0 0\n"), "fail"),
        (Ended(None, "", "empty poll list"), "fail"),
        (Ended(0, "PASS 1 0\n"), "fail"),
    ],
)
def test_a_trap_must_be_the_right_one(ended: Ended, status: str) -> None:
    assert judge(TRAPPING, assemble([TRAPPING]).steps[0], ended, "host").status == status


def test_a_known_difference_is_one_only_while_it_shows() -> None:
    steps = assemble([PLAIN]).steps[0]
    known = {PLAIN.name: "it is older"}
    failed = judge(PLAIN, steps, Ended(1, "FAIL 1 0\n"), "host", known)
    assert failed.status == "expected-difference"
    assert failed.detail.startswith("it is older (")
    passed = judge(PLAIN, steps, Ended(0, f"PASS {len(steps)} 0\n"), "host", known)
    assert (passed.status, passed.detail) == ("pass", "passes, although: it is older")
