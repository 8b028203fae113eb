from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasi_sockets.sockets import TcpOption
from wasi_sockets.sockets.options import DEFAULTS, RULES, accepted_value, clamped_backlog

SECOND = 1_000_000_000
U64_MAX = 2**64 - 1
NUMBERS = [option for option in TcpOption if option is not TcpOption.KEEP_ALIVE_ENABLED]


def test_every_option_has_a_rule_and_a_default_above_zero() -> None:
    assert set(RULES) == set(DEFAULTS) == set(TcpOption)
    for option in NUMBERS:
        assert DEFAULTS[option] > 0
        assert accepted_value(option, DEFAULTS[option]) == DEFAULTS[option]


@pytest.mark.parametrize("option", NUMBERS)
def test_zero_is_refused(option: TcpOption) -> None:
    assert accepted_value(option, 0) is None


def test_a_switch_can_be_off() -> None:
    assert accepted_value(TcpOption.KEEP_ALIVE_ENABLED, False) == 0
    assert accepted_value(TcpOption.KEEP_ALIVE_ENABLED, True) == 1


@pytest.mark.parametrize(
    ("option", "given_value", "accepted"),
    [
        # p2_tcp_sockopts: small times read back in (0, 1 s], exact values exactly
        (TcpOption.KEEP_ALIVE_IDLE_TIME, 1, SECOND),
        (TcpOption.KEEP_ALIVE_IDLE_TIME, 42 * SECOND, 42 * SECOND),
        (TcpOption.KEEP_ALIVE_IDLE_TIME, 42 * SECOND + 1, 43 * SECOND),
        (TcpOption.KEEP_ALIVE_IDLE_TIME, U64_MAX, 32_767 * SECOND),
        (TcpOption.KEEP_ALIVE_INTERVAL, 1, SECOND),
        (TcpOption.KEEP_ALIVE_INTERVAL, 42 * SECOND, 42 * SECOND),
        (TcpOption.KEEP_ALIVE_INTERVAL, U64_MAX, 32_767 * SECOND),
        (TcpOption.KEEP_ALIVE_COUNT, 42, 42),
        (TcpOption.KEEP_ALIVE_COUNT, 2**32 - 1, 127),
        (TcpOption.HOP_LIMIT, 1, 1),
        (TcpOption.HOP_LIMIT, 255, 255),
        (TcpOption.RECEIVE_BUFFER_SIZE, 1, 1),
        (TcpOption.RECEIVE_BUFFER_SIZE, 0x10000, 0x10000),
        (TcpOption.SEND_BUFFER_SIZE, 0x10000, 0x10000),
        (TcpOption.SEND_BUFFER_SIZE, U64_MAX, 2**31 - 1),
    ],
)
def test_clamping_and_rounding(option: TcpOption, given_value: int, accepted: int) -> None:
    assert accepted_value(option, given_value) == accepted


@given(st.sampled_from(NUMBERS), st.integers(min_value=1, max_value=U64_MAX))
def test_whatever_is_accepted_is_stable_and_above_zero(option: TcpOption, value: int) -> None:
    accepted = accepted_value(option, value)
    assert accepted is not None
    assert accepted > 0
    assert accepted_value(option, accepted) == accepted


def test_the_backlog() -> None:
    assert clamped_backlog(0) is None
    assert clamped_backlog(1) == 1
    assert clamped_backlog(U64_MAX) == 4096
