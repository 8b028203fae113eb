"""Ports: who has which, and which are free."""

from __future__ import annotations

import errno
from ipaddress import ip_address

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from wasi_sockets.network import EPHEMERAL_PORTS, Network, PortReservation, SocketAddress


def at(ip: str, port: int) -> SocketAddress:
    return SocketAddress(ip_address(ip), port)


def reserve(network: Network, ip: str, port: int = 0) -> PortReservation:
    return network.reserve("tcp", at(ip, port))


ADDRESSES = ["127.0.0.1", "127.0.0.2", "127.255.0.7", "0.0.0.0", "::1", "::"]


class PortMachine(RuleBasedStateMachine):
    """Against a plain set of (address, port)."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Network()
        self.held: dict[tuple[str, int], PortReservation] = {}

    def conflicts(self, ip: str, port: int) -> bool:
        version = ip_address(ip).version
        return any(
            p == port
            and ip_address(other).version == version
            and (other == ip or other in ("0.0.0.0", "::") or ip in ("0.0.0.0", "::"))
            for other, p in self.held
        )

    @rule(ip=st.sampled_from(ADDRESSES), port=st.sampled_from([80, 81, 32768, 32769, 32771, 60999, 61000]))
    def take(self, ip: str, port: int) -> None:
        if self.conflicts(ip, port):
            with pytest.raises(OSError) as caught:  # noqa: PT011  # the number is looked at below
                reserve(self.network, ip, port)
            assert caught.value.errno == errno.EADDRINUSE
            assert str(caught.value).endswith(f"in use: {SocketAddress(ip_address(ip), port)}")
        else:
            self.held[ip, port] = reserve(self.network, ip, port)

    @rule(ip=st.sampled_from(ADDRESSES))
    def take_any(self, ip: str) -> None:
        reservation = reserve(self.network, ip)
        port = reservation.address.port
        assert port in EPHEMERAL_PORTS
        assert str(reservation.address.ip) == ip
        assert not self.conflicts(ip, port)
        self.held[ip, port] = reservation

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        if self.held:
            key = data.draw(st.sampled_from(sorted(self.held)))
            reservation = self.held.pop(key)
            reservation.release()
            reservation.release()

    @invariant()
    def what_is_listed_is_what_is_held(self) -> None:
        listed = {(str(s.local.ip), s.local.port) for s in self.network.sockets()}
        assert listed == set(self.held)


PortMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestPorts = PortMachine.TestCase


def test_every_ephemeral_port_is_given_out_once_then_none_and_each_is_free_again() -> None:
    network = Network()
    fixed = reserve(network, "127.0.0.2", 40000)
    held = [reserve(network, "127.0.0.1") for _ in range(len(EPHEMERAL_PORTS) - 1)]
    ports = {reservation.address.port for reservation in held}
    assert ports == set(EPHEMERAL_PORTS) - {40000}
    with pytest.raises(OSError, match="in use") as caught:
        reserve(network, "127.0.0.1")
    assert caught.value.errno == errno.EADDRINUSE
    with pytest.raises(OSError, match="ephemeral") as caught:
        network.start_connect(at("127.0.0.1", 80))
    assert caught.value.errno == errno.EADDRNOTAVAIL
    fixed.release()
    assert reserve(network, "0.0.0.0").address.port == 40000
    for reservation in held:
        reservation.release()
    assert {reserve(network, "127.0.0.1").address.port for _ in held} == ports


def test_the_port_that_was_free_longest_comes_first() -> None:
    network = Network()
    first = reserve(network, "127.0.0.1")
    first.release()
    following = {reserve(network, "127.0.0.1").address.port for _ in range(len(EPHEMERAL_PORTS) - 1)}
    assert first.address.port not in following
    assert reserve(network, "127.0.0.1").address.port == first.address.port


def test_a_port_used_at_one_address_stays_taken_until_all_have_left_it() -> None:
    network = Network()
    one, two = reserve(network, "127.0.0.1", 80), reserve(network, "127.0.0.2", 80)
    one.release()
    with pytest.raises(OSError, match="in use"):
        reserve(network, "0.0.0.0", 80)
    two.release()
    reserve(network, "0.0.0.0", 80)


def test_the_ip_versions_have_ports_of_their_own() -> None:
    network = Network()
    reserve(network, "0.0.0.0", 80)
    reserve(network, "::", 80)


@pytest.mark.parametrize("ip", ["192.0.2.0", "8.8.8.8", "2001:db8::", "::ffff:127.0.0.1", "255.255.255.255"])
def test_an_address_of_somebody_else_is_not_available(ip: str) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011  # the number is looked at below
        reserve(Network(), ip)
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_nonsense_is_refused() -> None:
    network = Network()
    with pytest.raises(ValueError, match="port"):
        reserve(network, "127.0.0.1", 65536)
    with pytest.raises(ValueError, match="port"):
        network.start_connect(at("127.0.0.1", -1))
    with pytest.raises(ValueError, match="protocol"):
        network.reserve("sctp", at("127.0.0.1", 1))  # type: ignore[arg-type]


def test_a_reservation_serves_once() -> None:
    network = Network()
    released = reserve(network, "127.0.0.1", 80)
    released.release()
    with pytest.raises(OSError, match="Invalid"):
        network.start_listen(released)
    listening = reserve(network, "127.0.0.1", 80)
    backlog = network.start_listen(listening)
    with pytest.raises(OSError, match="Invalid"):
        network.start_listen(listening)
    with pytest.raises(OSError, match="Invalid"):
        network.start_connect(at("127.0.0.1", 81), reservation=listening)
    listening.release()  # it is the listener's now
    assert network.start_connect(at("127.0.0.1", 80)).state == "connected"
    backlog.close()
    assert listening.released


def test_rebinding_right_after_close_works_while_connections_live_on() -> None:
    network = Network()
    for _ in range(3):
        backlog = network.start_listen(reserve(network, "127.0.0.1", 80))
        attempt = network.start_connect(at("127.0.0.1", 80))
        server = backlog.try_accept()
        backlog.close()
        assert server is not None
        assert attempt.connection is not None
        server.send_pipe.write(b"still here")
        assert attempt.connection.receive_pipe.read(100) == b"still here"


def test_refused_connects_leak_no_ports() -> None:
    network = Network()
    nobody = at("127.0.0.1", 9)
    for _ in range(100_000):
        assert network.start_connect(nobody).state == "refused"
    assert network.sockets() == []
    assert network.statistics().connections_refused == 100_000


def test_a_failed_connect_gives_the_callers_port_back_too() -> None:
    network = Network()
    reservation = reserve(network, "127.0.0.1", 1000)
    assert network.start_connect(at("127.0.0.1", 9), reservation=reservation).state == "refused"
    assert reservation.released
    reserve(network, "127.0.0.1", 1000)


def test_a_connect_that_cannot_start_leaves_the_callers_port_as_it_was() -> None:
    network = Network()
    reservation = reserve(network, "127.0.0.1", 1000)
    for remote, number in (("192.0.2.1", errno.ENETUNREACH), ("::1", errno.EAFNOSUPPORT)):
        with pytest.raises(OSError) as caught:  # noqa: PT011  # the number is looked at below
            network.start_connect(at(remote, 80), reservation=reservation)
        assert caught.value.errno == number
    network.start_listen(reservation)
