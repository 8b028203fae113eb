"""500 generated sequences, the table of meant differences, and the sequences that once found a bug.

`make differential` runs 20,000.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.differential.comparison import WORLDS, compare, explain_failure, verdict
from tests.differential.differences import DIFFERENCES, Difference
from tests.differential.generation import tcp_sequence, udp_sequence
from tests.differential.operations import (
    Abort,
    Accept,
    Address,
    Bind,
    Close,
    Connect,
    Listen,
    Open,
    Operation,
    PortOf,
    Receive,
    RemoteAddress,
    Send,
    SendTo,
    Shutdown,
)

# Shrinking is `explain_failure`'s: what it leaves is smaller than what leaving out draws would.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


@st.composite
def tcp_sequences(draw: st.DrawFn) -> list[Operation]:
    return tcp_sequence(lambda choices: draw(st.sampled_from(choices)))


@st.composite
def udp_sequences(draw: st.DrawFn) -> list[Operation]:
    return udp_sequence(lambda choices: draw(st.sampled_from(choices)))


def check(sequence: list[Operation]) -> None:
    for world in WORLDS:
        if verdict(sequence, world).difference:
            pytest.fail(explain_failure(sequence, world), pytrace=False)


@given(tcp_sequences())
@settings(max_examples=300, deadline=None, phases=PHASES, suppress_health_check=list(HealthCheck))
def test_tcp_does_what_the_kernel_does(sequence: list[Operation]) -> None:
    check(sequence)


@given(udp_sequences())
@settings(max_examples=200, deadline=None, phases=PHASES, suppress_health_check=list(HealthCheck))
def test_udp_does_what_the_kernel_does(sequence: list[Operation]) -> None:
    check(sequence)


@pytest.mark.parametrize("entry", DIFFERENCES, ids=lambda entry: entry.name)
def test_every_meant_difference_is_met(entry: Difference) -> None:
    report = verdict(entry.example, entry.world)
    assert not report.difference
    assert report.explained[entry.name]


def at(port: int | PortOf, ip: str = "127.0.0.1") -> Address:
    return Address(ip, port)


PAIR: list[Operation] = [
    Open(0),
    Bind(0, at(0)),
    Listen(0, 5),
    Open(1),
    Connect(1, at(PortOf(0))),
    Accept(0, 2),
]
FOUND: dict[str, list[Operation]] = {
    "the wildcard as a destination is the socket's own address": [
        Open(0),
        Bind(0, at(0, "127.0.0.2")),
        Listen(0),
        Open(1),
        Bind(1, at(0, "127.0.0.2")),
        Connect(1, at(PortOf(0), "0.0.0.0")),
        RemoteAddress(1),
    ],
    "the wildcard as a destination is not another address": [
        Open(0),
        Bind(0, at(0)),
        Listen(0),
        Open(1),
        Bind(1, at(0, "127.0.0.2")),
        Connect(1, at(PortOf(0), "0.0.0.0")),
    ],
    "a close with unread data after the end was sent breaks the pipe": [
        *PAIR,
        Send(2, 1),
        Shutdown(1, "send"),
        Close(1),
        Send(2, 1000),
        Receive(2),
    ],
    "a reset behind a queue is seen when the queue is dropped": [
        *PAIR,
        Send(1, 10),
        Send(2, 10),
        Close(1),
        Shutdown(2, "receive"),
        Receive(2, 500),
    ],
    "an error comes before a datagram that was there before": [
        Open(1, "udp"),
        Bind(1, at(0)),
        Open(2, "udp"),
        Bind(2, at(0)),
        SendTo(1, 1000, at(PortOf(2))),
        Close(1),
        Connect(2, at(PortOf(1))),
        Send(2, 0),
        Receive(2),
        Receive(2),
    ],
    "an abort after the end was sent leaves the end": [
        *PAIR,
        Send(2, 10),
        Shutdown(2, "send"),
        Abort(2),
        Receive(1),
        Receive(1),
        Send(1, 1),
    ],
}


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_once_stays_right(name: str, world: str) -> None:
    report = verdict(FOUND[name], world)
    assert not report.difference
    assert report.operations


# The comparison itself.


def test_generated_sequences_reach_every_operation_and_outcome() -> None:
    chance = random.Random(1)
    done: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    for _ in range(60):
        for sequence in (tcp_sequence(chance.choice), udp_sequence(chance.choice)):
            report = verdict(sequence, "wasi")
            done += report.operations
            outcomes += report.outcomes
    assert set(done) == {each.__name__ for each in Operation.__args__}
    assert {"data", "drained", "datagram", "end", "would-block", "value"} <= set(outcomes)
    assert {"ECONNRESET", "EPIPE", "ECONNREFUSED", "EADDRINUSE", "ENOTCONN", "EMSGSIZE"} <= set(outcomes)


@pytest.mark.leaves_pieces
@pytest.mark.parametrize(
    ("sequence", "method", "result"),
    [
        ([*PAIR, Send(1, 10), Receive(2, 4)], "wasi_sockets.network.Pipe.read", lambda pipe, size: b"1234"),
        (
            [Open(0, "udp"), Bind(0, at(0)), SendTo(0, 3, at(PortOf(0))), Receive(0)],
            "wasi_sockets.network.UdpEndpoint.ready",
            lambda endpoint: False,
        ),
        ([*PAIR, Shutdown(1, "send"), Receive(2)], "wasi_sockets.network.Pipe.end", lambda pipe: None),
        (
            [Open(0), Bind(0, at(0)), Close(0)],
            "wasi_sockets.network.PortReservation.abort",
            lambda port: None,
        ),
    ],
)
def test_a_bug_would_be_noticed(
    monkeypatch: pytest.MonkeyPatch, sequence: list[Operation], method: str, result: object
) -> None:
    assert not compare(sequence, "core").difference
    monkeypatch.setattr(method, result)
    assert compare(sequence, "core").difference


def test_a_failure_is_told_as_a_sequence_to_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wasi_sockets.network.UdpEndpoint.ready", lambda endpoint: False)
    monkeypatch.setattr("tests.differential.comparison.PATIENCE", 0.01)
    sequence: list[Operation] = [
        *PAIR,
        Open(5, "udp"),
        Bind(5, at(0)),
        Open(4),
        SendTo(5, 3, at(PortOf(5))),
        Receive(5),
    ]
    told, _, kept = explain_failure(sequence, "core").partition("\n")
    assert told.startswith("core, after SendTo(")
    assert eval(kept, {each.__name__: each for each in (Open, Bind, SendTo, Address, PortOf)}) == [
        Open(5, "udp"),
        Bind(5, at(0)),
        SendTo(5, 3, at(PortOf(5))),
    ]
