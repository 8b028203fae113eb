"""What state.wat keeps: handles, stream states, pollables and polling, run as a core module with a host in Python."""

from __future__ import annotations

from itertools import pairwise

import pytest
import wasmtime

from tests.interposer.private_half import (
    DROP,
    INPUT,
    METHOD,
    OTHER,
    OUTPUT,
    Host,
    ShimTrap,
    Thing,
    handle,
)

STREAM, SECOND = handle(1), handle(2)


def host(**things: Thing) -> Host:
    """A host with things behind handles 1, 2..., in the order given."""
    return Host({handle(index): thing for index, thing in enumerate(things.values(), 1)})


# ---------------------------------------------------------------- pollables


def test_pollables_have_handles_of_their_own() -> None:
    host = Host()
    made = [host.guest("subscribe_instant", 0) for _ in range(600)]
    assert len(set(made)) == 600
    assert all(each & 0xE000_0000 == 0x6000_0000 for each in made)


def test_a_dropped_pollable_is_gone_and_its_index_comes_back_with_another_generation() -> None:
    host = Host()
    first = host.guest("subscribe_instant", 0)
    host.guest("drop_pollable", first)
    with pytest.raises(ShimTrap, match="unknown handle"):
        host.guest("drop_pollable", first)
    second = host.guest("subscribe_instant", 0)
    assert second & 0xFFFFF == first & 0xFFFFF
    assert second != first
    with pytest.raises(ShimTrap, match="unknown handle"):
        host.guest("ready", first)
    assert host.guest("ready", second) == 1


def test_generations_stay_within_their_bits() -> None:
    host = Host()
    for _ in range(1_100):
        made = host.guest("subscribe_instant", 0)
        assert made & 0xE000_0000 == 0x6000_0000
        host.guest("drop_pollable", made)


@pytest.mark.parametrize(
    "forged", [0x6000_0001, 0x6010_0000, 0x600F_FFFF, 0x4000_0000, 0xE000_0000 - (1 << 32)]
)
def test_forged_pollables(forged: int) -> None:
    host = Host()
    host.guest("subscribe_instant", 0)
    for function in ("ready", "drop_pollable", "block"):
        with pytest.raises(ShimTrap, match="unknown handle"):
            host.guest(function, forged)


def test_a_stream_handle_is_no_pollable_and_the_other_way_round() -> None:
    shim = host(stream=Thing(INPUT, 5))
    shim.guest("available", STREAM)
    pollable = shim.guest("subscribe_input", STREAM)
    with pytest.raises(ShimTrap, match="unknown handle"):
        shim.guest("ready", STREAM)
    with pytest.raises(ShimTrap, match="unknown handle"):
        shim.guest("available", pollable)


def test_a_stock_pollable_without_a_stock_function() -> None:
    with pytest.raises(ShimTrap, match="unknown handle"):
        Host().guest("ready", 3)


# ---------------------------------------------------------------- streams and their children


def test_an_unknown_handle_always_reaches_python() -> None:
    shim = host(stream=Thing(INPUT, 5))
    for forged in (handle(9), handle(1, 1), handle(0xFFFFE)):
        for function in ("available", "permit", "flush", "subscribe_input", "subscribe_other"):
            shim.asked.clear()
            with pytest.raises(ShimTrap, match="unknown handle to Python"):
                shim.guest(function, forged)
            assert [(name, code & 0xFFFF_FFFF) for name, code in shim.asked] == [("attach", forged)]


def test_a_handle_of_another_kind() -> None:
    shim = host(stream=Thing(INPUT, 5), other=Thing(OTHER))
    for function in ("permit", "flush", "subscribe_output", "subscribe_other"):
        with pytest.raises(ShimTrap, match="unknown handle"):
            shim.guest(function, STREAM)
    with pytest.raises(ShimTrap, match="unknown handle"):
        shim.guest("available", SECOND)


def test_a_method_of_another_resource() -> None:
    shim = host(other=Thing(OTHER))
    for _ in range(2):  # with and without the handle in the cache
        with pytest.raises(ShimTrap, match="of another type"):
            shim.guest("subscribe_other", handle(1), METHOD + 1)
        shim.guest("subscribe_other", handle(1))


def test_a_method_that_was_lowered_twice() -> None:
    shim = host(other=Thing(OTHER, methods=(METHOD, METHOD + 1)))
    first = shim.guest("subscribe_other", handle(1))
    second = shim.guest("subscribe_other", handle(1), METHOD + 1)
    shim.took()
    assert shim.guest("subscribe_other", handle(1), METHOD + 1) not in (first, second)
    assert shim.took() == []
    for pollable in (first, second):
        shim.guest("drop_pollable", pollable)
    with pytest.raises(ShimTrap, match="resource has children"):
        shim.guest("drop_owned", handle(1), DROP)


def test_a_resource_with_children_cannot_be_dropped() -> None:
    shim = host(stream=Thing(INPUT), other=Thing(OTHER))
    for owned, subscribe in ((STREAM, "subscribe_input"), (SECOND, "subscribe_other")):
        first, second = shim.guest(subscribe, owned), shim.guest(subscribe, owned)
        shim.guest("drop_pollable", first)
        with pytest.raises(ShimTrap, match="resource has children"):
            shim.guest("drop_owned", owned, DROP)
        assert owned in shim.things
        shim.guest("drop_pollable", second)
        shim.guest("drop_owned", owned, DROP)
        assert owned not in shim.things


def test_a_dropped_stream_is_not_remembered() -> None:
    shim = host(stream=Thing(INPUT, 5))
    assert shim.guest("available", STREAM) == 5
    shim.guest("drop_owned", STREAM, DROP)
    with pytest.raises(ShimTrap, match="unknown handle to Python"):
        shim.guest("available", STREAM)
    shim.things[handle(1, 1)] = Thing(OUTPUT, 9)
    assert shim.guest("permit", handle(1, 1)) == 9


def test_dropping_what_is_a_pollable_as_a_stream_is_left_to_python() -> None:
    shim = Host()
    pollable = shim.guest("subscribe_instant", 0)
    with pytest.raises(KeyError):
        shim.guest("drop_owned", pollable, DROP)
    assert shim.guest("ready", pollable) == 1


# ---------------------------------------------------------------- what is known without asking


def test_bytes_that_are_there_are_asked_for_once() -> None:
    shim = host(stream=Thing(INPUT, 5))
    assert [shim.guest("available", STREAM) for _ in range(3)] == [5, 5, 5]
    assert shim.took() == ["attach"]
    shim.guest("set_available", STREAM, 2)
    assert shim.guest("available", STREAM) == 2
    assert shim.took() == []


def test_a_reader_that_only_spins_reaches_python_each_time_but_the_first() -> None:
    shim = host(stream=Thing(INPUT, 0))
    assert [shim.guest("available", STREAM) for _ in range(4)] == [0, 0, 0, 0]
    assert shim.took() == ["attach", "avail", "avail", "avail"]
    shim.things[STREAM].level = 3
    assert shim.guest("available", STREAM) == 3


def test_known_to_be_empty_holds_for_one_turn_only() -> None:
    shim = host(stream=Thing(INPUT, 0))
    shim.guest("available", STREAM)
    shim.guest("set_available", STREAM, 0)
    shim.guest("tick")
    shim.took()
    shim.guest("available", STREAM)
    assert shim.took() == ["avail"]


def test_closed_streams_are_asked_for_once() -> None:
    shim = host(stream=Thing(INPUT, -1))
    assert [shim.guest("available", STREAM) for _ in range(3)] == [-1, -1, -1]
    assert shim.took() == ["attach"]


def test_forgetting_asks_again() -> None:
    shim = host(stream=Thing(INPUT, 5), out=Thing(OUTPUT, 7))
    shim.guest("available", STREAM)
    shim.guest("permit", SECOND)
    shim.things[STREAM].level, shim.things[SECOND].level = -1, 3
    shim.guest("forget")
    assert shim.guest("available", STREAM) == -1
    assert shim.guest("permit", SECOND) == 3
    assert shim.took() == ["attach", "attach", "avail", "permit"]


def test_a_failed_stream_gives_its_error_once_and_is_closed_then() -> None:
    shim = host(stream=Thing(INPUT, -2))
    assert shim.guest("available", STREAM) == -2
    assert shim.guest("failure", STREAM) == handle(77)
    assert shim.guest("available", STREAM) == -1


def test_a_send_gives_the_permit() -> None:
    shim = host(out=Thing(OUTPUT, 10))
    assert shim.guest("permit", STREAM) == 10
    assert shim.guest("sent", STREAM, 4) == 4
    assert shim.guest("permit", STREAM) == 4
    assert shim.guest("sent", STREAM, 0) == 0
    assert shim.took() == ["attach"]
    shim.things[STREAM].level = 6
    assert [shim.guest("permit", STREAM), shim.guest("permit", STREAM)] == [0, 6]
    assert shim.guest("sent", STREAM, 0xFFFF_FFFF) == -1
    assert shim.guest("permit", STREAM) == -1


def connected(level: int, permit: int) -> Host:
    """The two streams of a new connection, noted as the trampolines of sockets do."""
    shim = host(stream=Thing(INPUT, level), out=Thing(OUTPUT, permit))
    shim.guest("prime", STREAM, INPUT, 0, SECOND)
    shim.guest("prime", SECOND, OUTPUT, permit, STREAM)
    return shim


def test_what_has_just_come_is_known_without_asking() -> None:
    shim = connected(0, 10)
    assert shim.guest("permit", SECOND) == 10
    assert shim.took() == []
    assert shim.guest("available", STREAM) == 0
    assert shim.took() == ["avail"]


def test_a_new_tcp_socket_can_be_subscribed_to_without_asking() -> None:
    shim = host(stream=Thing(OTHER, 1))
    shim.guest("prime", STREAM, OTHER, 0, -2)
    pollable = shim.guest("subscribe_tcp", STREAM, METHOD)
    assert shim.took() == []
    with pytest.raises(ShimTrap, match="children"):
        shim.guest("drop_owned", STREAM, DROP)
    assert pollable & 0x6000_0000 == 0x6000_0000


def test_another_resource_is_no_tcp_socket() -> None:
    shim = host(stream=Thing(OTHER, 1, methods=(METHOD + 1,)))
    shim.guest("subscribe_other", STREAM, METHOD + 1)
    with pytest.raises(ShimTrap, match="another type"):
        shim.guest("subscribe_tcp", STREAM, METHOD)


def test_a_send_tells_that_the_peer_has_nothing_to_say() -> None:
    shim = connected(0, 10)
    shim.guest("sent", SECOND, 5)
    assert shim.guest("available", STREAM) == 0
    assert shim.took() == []
    assert shim.guest("available", STREAM) == 0
    assert shim.took() == ["avail"]


def test_a_send_that_is_answered_at_once_has_the_peer_asked() -> None:
    shim = connected(0, 10)
    shim.things[STREAM].level = 8
    shim.guest("sent", SECOND, 1 << 32 | 5)
    assert shim.guest("available", STREAM) == 8


def test_a_peer_that_is_another_handle_by_now_is_left_alone() -> None:
    shim = connected(0, 10)
    shim.guest("drop_owned", STREAM, DROP)
    shim.things[handle(1, 1)] = Thing(INPUT, 8)
    assert shim.guest("available", handle(1, 1)) == 8
    shim.guest("sent", SECOND, 5)
    assert shim.guest("available", handle(1, 1)) == 8


SOCKET = handle(9)


def test_the_streams_of_a_connection_are_dropped_with_their_socket() -> None:
    shim = connected(0, 10)
    shim.things[SOCKET] = Thing(OTHER)
    shim.guest("drop_owned", STREAM, DROP)
    shim.guest("drop_owned", SECOND, DROP)
    assert shim.took() == []
    shim.guest("drop_owned", SOCKET, DROP)
    assert shim.took() == ["drops"]
    assert shim.things == {}


def with_streams() -> Host:
    """A socket whose streams wait for finish-connect; this host packs one only."""
    shim = host(stream=Thing(INPUT, 0))
    shim.things[SOCKET] = Thing(OTHER, 1)
    shim.guest("prime", SOCKET, OTHER, 0, -2)
    shim.guest("put_streams", SOCKET, STREAM)
    return shim


def test_streams_that_wait_are_taken_once() -> None:
    shim = with_streams()
    assert shim.guest("take_streams", SOCKET) == STREAM
    assert shim.guest("take_streams", SOCKET) == 0
    shim.guest("return_streams", SOCKET)
    assert shim.took() == []


def test_streams_that_wait_are_taken_back_once() -> None:
    shim = with_streams()
    shim.guest("return_streams", SOCKET)
    shim.guest("return_streams", SOCKET)
    assert shim.asked == [("take-back", SOCKET, STREAM)]
    assert shim.guest("take_streams", SOCKET) == 0


def test_streams_that_wait_are_taken_back_before_their_socket_is_dropped() -> None:
    shim = with_streams()
    shim.guest("drop_owned", SOCKET, DROP)
    assert shim.took() == ["take-back", "drop"]
    assert shim.things == {}


def test_a_socket_with_a_pollable_keeps_the_streams_that_wait() -> None:
    shim = with_streams()
    pollable = shim.guest("subscribe_tcp", SOCKET, METHOD)
    with pytest.raises(ShimTrap, match="children"):
        shim.guest("drop_owned", SOCKET, DROP)
    shim.guest("drop_pollable", pollable)
    assert shim.guest("take_streams", SOCKET) == STREAM


def test_streams_can_wait_at_a_socket_that_was_not_known() -> None:
    shim = host()
    shim.things[SOCKET] = Thing(OTHER)
    shim.guest("put_streams", SOCKET, STREAM)
    assert shim.guest("take_streams", SOCKET) == STREAM


@pytest.mark.parametrize("other", [STREAM, SOCKET + (1 << 20), 0, 5, 0x6000_0009, 0x5FFF_FFFF])
def test_no_streams_wait_at_other_handles(other: int) -> None:
    shim = with_streams()
    shim.guest("set_available", STREAM, 7)  # what a stream slot holds is nobody's streams
    shim.took()
    assert shim.guest("take_streams", other) == 0
    shim.guest("return_streams", other)
    assert shim.took() == []


def test_a_dropped_stream_that_is_used_is_unknown_to_python_too() -> None:
    shim = connected(5, 10)
    shim.guest("drop_owned", STREAM, DROP)
    with pytest.raises(ShimTrap, match="unknown handle"):
        shim.guest("available", STREAM)
    assert shim.took() == ["drops", "attach"]


def test_a_stream_cannot_be_dropped_twice_before_python_was_told() -> None:
    shim = connected(5, 10)
    shim.guest("drop_owned", STREAM, DROP)
    with pytest.raises(KeyError):  # what this host's table says
        shim.guest("drop_owned", STREAM, DROP)


def test_a_drop_as_another_kind_of_stream_is_told_at_once() -> None:
    shim = connected(5, 10)
    shim.guest("drop_owned", STREAM, DROP, OUTPUT)
    assert shim.took() == ["drop"]


def test_drops_that_wait_are_few() -> None:
    shim = host(stream=Thing(INPUT, 0))
    for number in range(20, 33):
        shim.things[handle(number)] = Thing(INPUT)
        shim.guest("prime", handle(number), INPUT, 0, STREAM)
        shim.guest("drop_owned", handle(number), DROP)
    assert shim.took() == ["drops", "drops"]
    assert len(shim.things) == 2
    shim.guest("send_drops")
    assert list(shim.things) == [STREAM]
    shim.took()
    shim.guest("send_drops")
    assert shim.took() == []


def test_waiting_for_a_stream() -> None:
    shim = host(stream=Thing(INPUT, 0), out=Thing(OUTPUT, 0))

    def arrive(_timeout: int) -> bool:
        shim.things[STREAM].level, shim.things[SECOND].level = 4, 6
        return True

    shim.on_wait = arrive
    shim.guest("available", STREAM)
    shim.guest("permit", SECOND)
    shim.guest("wait_readable", STREAM)
    shim.took()
    assert shim.guest("available", STREAM) == 4
    assert shim.took() == []  # waiting said how many
    shim.guest("wait_writable", SECOND)
    assert shim.guest("permit", SECOND) == 6


# ---------------------------------------------------------------- clocks


def test_clock_pollables() -> None:
    shim = Host()
    early, late = shim.guest("subscribe_duration", 500), shim.guest("subscribe_instant", 2_000)
    assert [shim.guest("ready", each) for each in (early, late)] == [0, 0]
    assert shim.poll([late, early]) == [1]
    assert shim.time == 1_500
    assert shim.poll([late]) == [0]
    assert shim.time == 2_000


def test_a_duration_beyond_all_time() -> None:
    shim = Host()
    never = shim.guest("subscribe_duration", -1)
    assert shim.guest("ready", never) == 0
    with pytest.raises(ShimTrap, match="for ever"):
        shim.poll([never])


@pytest.mark.parametrize("virtual", [False, True])
def test_whose_clock_it_is(virtual: bool) -> None:
    shim = Host(virtual=virtual)
    shim.give_clock()
    assert shim.guest("now") == 1_000
    assert shim.guest("now") == 1_000
    assert shim.took() == (["hello", "now", "now"] if virtual else ["hello"])


def test_python_is_asked_where_the_guest_has_no_stock_clock() -> None:
    shim = Host(virtual=False)
    assert shim.guest("now") == 1_000
    assert shim.took() == ["hello", "now"]


# ---------------------------------------------------------------- poll


def test_an_empty_list() -> None:
    with pytest.raises(ShimTrap, match="empty poll list"):
        Host().poll([])


def test_a_list_beyond_all_handles() -> None:
    for length in (0x10_0000, -1):
        with pytest.raises(ShimTrap, match="too many pollables"):
            Host().guest("poll_begin", length)


@pytest.mark.parametrize("count", [1, 2, 7, 8, 15, 16, 17, 62, 63, 64, 100, 1_000])
def test_poll_finds_exactly_those_that_are_ready(count: int) -> None:
    shim = Host({handle(index): Thing(OTHER) for index in range(count)})
    pollables = [shim.guest("subscribe_other", handle(index)) for index in range(count)]
    for ready in ([0], [count - 1], list(range(0, count, 3)), list(range(count))):
        for index in range(count):
            shim.things[handle(index)].level = int(index in ready)
        shim.asked.clear()
        assert shim.poll(pollables) == sorted(set(ready))
        watched = [code for each in shim.asked if each[0] == "watch" for code in each[1:] if code]
        assert len(watched) == (count if count > 1 else 0)


@pytest.mark.parametrize("count", [1, 3, 100])
def test_poll_waits_until_one_is_ready(count: int) -> None:
    shim = Host({handle(index): Thing(OTHER) for index in range(count)})
    pollables = [shim.guest("subscribe_other", handle(index)) for index in range(count)]

    def happen(timeout: int) -> bool:
        assert timeout == 0xFFFF_FFFF_FFFF_FFFF
        shim.things[handle(count - 1)].level = 1
        return True

    shim.on_wait = happen
    assert shim.poll(pollables) == [count - 1]


def test_what_is_known_to_be_ready_is_not_asked_for_but_the_rest_is() -> None:
    shim = host(a=Thing(INPUT, 5), b=Thing(OTHER, 1), c=Thing(OTHER, 0))
    pollables = [
        shim.guest("subscribe_input", STREAM),
        shim.guest("subscribe_other", SECOND),
        shim.guest("subscribe_other", handle(3)),
        shim.guest("subscribe_instant", 0),
    ]
    shim.took()
    assert sorted(shim.poll(pollables)) == [0, 1, 3]
    assert shim.took() == ["hello", "now", "watch", "wait-many"]
    assert shim.poll([pollables[0], pollables[0]]) == [0, 1]
    assert shim.took() == []


def test_one_unknown_among_ready_ones_is_looked_at_without_waiting() -> None:
    shim = host(a=Thing(INPUT, 5), b=Thing(OTHER, 0))
    pollables = [shim.guest("subscribe_input", STREAM), shim.guest("subscribe_other", SECOND)]
    shim.asked.clear()
    assert shim.poll(pollables) == [0]
    assert [each for each in shim.asked if each[0] == "wait"] == [("wait", OTHER << 32 | SECOND, 0)]


def test_a_poll_remembers_what_it_learnt_of_a_single_input_stream() -> None:
    shim = host(stream=Thing(INPUT, 0))
    pollable = shim.guest("subscribe_input", STREAM)
    shim.on_wait = lambda _timeout: shim.become(STREAM, 9)
    assert shim.poll([pollable]) == [0]
    shim.took()
    assert shim.guest("available", STREAM) == 9
    assert shim.took() == []


def test_a_closed_input_stream_is_ready() -> None:
    shim = host(stream=Thing(INPUT, 0), other=Thing(OTHER))
    pollables = [shim.guest("subscribe_input", STREAM), shim.guest("subscribe_other", SECOND)]
    shim.on_wait = lambda _timeout: shim.become(STREAM, -1)
    assert shim.poll(pollables) == [0]
    assert shim.poll(pollables[:1]) == [0]
    assert shim.guest("available", STREAM) == -1


@pytest.mark.parametrize("others", [0, 1, 5])
def test_the_nearest_deadline_ends_a_poll(others: int) -> None:
    shim = Host({handle(index): Thing(OTHER) for index in range(others)})
    pollables = [shim.guest("subscribe_other", handle(index)) for index in range(others)]
    pollables += [shim.guest("subscribe_instant", when) for when in (9_000, 4_000, 6_000)]
    assert shim.poll(pollables) == [others + 1]
    assert shim.time == 4_000


def test_poll_refuses_a_forged_handle_among_good_ones() -> None:
    shim = Host()
    good = shim.guest("subscribe_instant", 0)
    with pytest.raises(ShimTrap, match="unknown handle"):
        shim.poll([good, good + 1])


def test_lists_of_changing_length_do_not_disturb_the_slots() -> None:
    count = 300
    shim = Host({handle(index): Thing(INPUT, index + 1) for index in range(count)})
    pollables = [shim.guest("subscribe_input", handle(index)) for index in range(count)]
    for length in (1, 300, 17, 16, 33, 2, 64, 300, 1):
        assert shim.poll(pollables[:length]) == list(range(length))
    assert [shim.guest("available", handle(index)) for index in range(count)] == list(range(1, count + 1))


# ---------------------------------------------------------------- stock pollables


def test_stock_pollables_are_asked_less_and_less_often() -> None:
    shim = Host(stock={3: False, 4: False})
    shim.give_stock_pollables()
    slept: list[int] = []

    def sleep(timeout: int) -> bool:
        slept.append(timeout)
        if len(slept) == 80:
            shim.stock[4] = True
        shim.time += timeout
        return True

    shim.on_wait = sleep
    assert shim.poll([3, 4]) == [1]
    assert slept[0] == 50_000
    assert all(later == earlier + earlier // 8 for earlier, later in pairwise(slept) if later < 10_000_000)
    assert 10_000_000 <= slept[-1] <= 11_250_000
    assert slept == sorted(slept)


def test_a_stock_pollable_beside_a_virtual_one_and_a_deadline() -> None:
    shim = host(stream=Thing(INPUT, 0))
    shim.stock = {3: False}
    shim.give_stock_pollables()
    pollables = [3, shim.guest("subscribe_input", STREAM), shim.guest("subscribe_duration", 120_000)]
    assert shim.poll(pollables) == [2]
    assert shim.time == 121_000
    shim.stock[3] = True
    assert shim.poll(pollables[:2]) == [0]


def test_block_is_a_poll_of_one() -> None:
    shim = Host(stock={3: False})
    shim.give_stock_pollables()
    shim.on_wait = lambda _timeout: shim.stock.update({3: True}) or True
    shim.guest("block", 3)
    assert shim.took() == ["sleep"]


# ---------------------------------------------------------------- memory of its own


def test_the_landing_area_grows_and_keeps_what_is_in_it() -> None:
    shim = Host()
    first = shim.guest("scratch", 0, 0, 2, 100)
    shim.memory().write(shim.store, b"x" * 100, first)
    assert shim.guest("scratch", first, 100, 2, 1_000) == first
    second = shim.guest("scratch", first, 100, 2, 300_000)
    assert second != first
    assert second % 2 == 0
    assert bytes(shim.memory().read(shim.store, second, second + 100)) == b"x" * 100
    assert shim.memory().data_len(shim.store) >= second + 300_000
    assert shim.guest("scratch", 0, 0, 2, 5) == second


def test_the_landing_area_never_overlaps_a_slot() -> None:
    shim = host(stream=Thing(INPUT, 5))
    shim.guest("available", STREAM)
    sizes = [1, 1_024, 1_025, 5_000, 20_000, 20_001, 70_000]
    for size in sizes:
        at = shim.guest("scratch", 0, 0, 1, size)
        shim.memory().write(shim.store, b"\xff" * size, at)
        shim.asked.clear()
        assert shim.guest("available", STREAM) == 5
        assert shim.took() == []


@pytest.mark.parametrize("size", [0x4000_0001, 0x7FFF_FFFF, -1, -(1 << 31)])
def test_sizes_that_nobody_asks_for(size: int) -> None:
    with pytest.raises(wasmtime.Trap):
        Host().guest("scratch", 0, 0, 2, size)
