"""What every test has to keep, and what they have to reach together, would be noticed when they did not."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.leftovers import LEAVES_PIECES, leaves_pieces, watched
from tests.state_rows import StateRows, is_whole_suite
from wasi_sockets.engine.handles import HandleTable
from wasi_sockets.network import Network, SocketAddress
from wasi_sockets.sockets import AddressFamily, SocketContext, TcpSocket, UdpSocket, tcp_states, udp_states

TESTS = Path(__file__).parent


def test_a_socket_a_port_and_a_handle_that_are_left_are_found() -> None:
    with watched() as leftovers:
        network = Network()
        table = HandleTable()
    assert leftovers.found() == []
    reservation = network.reserve("tcp", SocketAddress(ip_address("127.0.0.1"), 7))
    assert leftovers.found() == ["socket <PortReservation 127.0.0.1:7>", "port 7"]
    reservation.take()
    assert leftovers.found() == ["port 7"]
    reservation.free()
    handle = table.add("wasi:sockets/tcp.tcp-socket", object())
    assert leftovers.found() == ["handle of wasi:sockets/tcp.tcp-socket"]
    table.remove("wasi:sockets/tcp.tcp-socket", handle)
    assert leftovers.found() == []


def test_closing_what_is_left_forgives_sockets_but_not_a_port_that_nobody_gives_back() -> None:
    with watched() as leftovers:
        network = Network()
    network.listen_tcp(80)
    reservation = network.reserve("udp", SocketAddress(ip_address("::1"), 53))
    reservation.take()
    leftovers.close()
    assert leftovers.found() == ["port 53"]
    reservation.free()


def test_of_many_networks_each_is_looked_at_and_the_first_are_closed() -> None:
    with watched() as leftovers:
        networks = [Network() for _ in range(200)]
    for network in networks:
        network.listen_tcp(80)
    assert len(leftovers.found()) == 400
    leftovers.close()
    assert leftovers.found() == []
    for network in networks:
        network.close()


def test_outside_the_block_nothing_is_watched() -> None:
    make = Network.__init__
    with watched() as leftovers:
        assert Network.__init__ is not make
    assert Network.__init__ is make
    network = Network()
    network.reserve("tcp", SocketAddress(ip_address("127.0.0.1"), 7))
    assert leftovers.found() == []
    network.close()


@pytest.mark.parametrize(
    ("place", "markers", "leaves"),
    [
        ("tests/network/test_tcp.py::test", [], True),
        ("tests/engine/test_calls.py::test", [], False),
        ("tests/engine/test_calls.py::test", [LEAVES_PIECES], True),
    ],
)
def test_only_tests_of_pieces_may_leave_some(place: str, markers: list[str], leaves: bool) -> None:
    marks: dict[str, object] = dict.fromkeys(markers, "mark")
    item: Any = SimpleNamespace(nodeid=place, get_closest_marker=marks.get)
    assert leaves_pieces(item) is leaves


def test_rows_count_as_reached_when_a_socket_looks_them_up() -> None:
    rows = StateRows()
    everything = rows.missing()
    cells = len(tcp_states.State) * len(tcp_states.Operation) + len(udp_states.State) * len(
        udp_states.Operation
    )
    assert len(everything) == len(set(everything)) == cells + len(udp_states.DESTINATIONS)
    context = SocketContext(Network(), None)
    with rows.noted():
        assert rows.missing() == everything
        TcpSocket(context, AddressFamily.IPV4).start_listen()
        udp = UdpSocket(context, AddressFamily.IPV4)
        udp.start_bind(SocketAddress(ip_address("127.0.0.1"), 0))
        udp.finish_bind()
        streams = udp.stream(None)
        assert isinstance(streams, tuple)
        streams[1].check_send()
        streams[1].send([(b"", None)])
    udp.close()
    TcpSocket(context, AddressFamily.IPV4).accept()
    assert set(everything) - set(rows.missing()) == {
        "tcp_states.CELLS: UNBOUND, START_LISTEN",
        "udp_states.CELLS: UNBOUND, START_BIND",
        "udp_states.CELLS: BIND_IN_PROGRESS, FINISH_BIND",
        "udp_states.CELLS: BOUND, STREAM_NONE",
        "udp_states.DESTINATIONS: BOUND, ABSENT",
    }


@pytest.mark.parametrize(
    ("arguments", "options", "whole"),
    [
        ([str(TESTS)], {}, True),
        (["."], {}, True),
        (["tests"], {}, True),
        (["tests/sockets"], {}, False),
        (["tests/test_gates.py"], {}, False),
        (["tests"], {"keyword": "tcp"}, False),
        (["tests"], {"markexpr": "not slow"}, False),
        (["tests"], {"ignore": ["tests/sockets"]}, False),
        (["tests"], {"deselect": ["tests/sockets"]}, False),
        (["tests"], {"lf": True}, False),
    ],
)
def test_only_a_run_of_everything_has_to_reach_every_row(
    arguments: list[str], options: dict[str, object], whole: bool
) -> None:
    unset = dict.fromkeys(("keyword", "markexpr", "collectonly", "ignore", "ignore_glob", "deselect"))
    config: Any = SimpleNamespace(
        args=arguments,
        invocation_params=SimpleNamespace(dir=TESTS.parent),
        option=SimpleNamespace(**{**unset, **options}),
    )
    assert is_whole_suite(config) is whole
