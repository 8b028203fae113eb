from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasi_sockets.engine.handles import HandleTable
from wasi_sockets.errors import GuestTrap

pytestmark = pytest.mark.leaves_pieces


class Node:
    def __init__(self, parent: Node | None = None) -> None:
        self.parent = parent


def test_a_handle_is_virtual_and_owned_by_python() -> None:
    handle = HandleTable().add("a.b", object())
    assert handle & 0x4000_0000
    assert not handle & 0x2000_0000
    assert handle < 1 << 31


def test_only_the_resource_type_it_was_made_for_is_answered() -> None:
    table = HandleTable()
    target = object()
    handle = table.add("wasi:sockets/tcp.tcp-socket", target)
    assert table.get("wasi:sockets/tcp.tcp-socket", handle) is target
    with pytest.raises(GuestTrap, match="udp-socket"):
        table.get("wasi:sockets/udp.udp-socket", handle)
    with pytest.raises(GuestTrap):
        table.remove("wasi:sockets/udp.udp-socket", handle)
    assert len(table) == 1


@given(st.integers(0, 0xFFFF_FFFF))
def test_a_forged_handle_traps_and_changes_nothing(forged: int) -> None:
    table = HandleTable()
    target = object()
    handle = table.add("a.b", target)
    if forged != handle:
        with pytest.raises(GuestTrap):
            table.get("a.b", forged)
        with pytest.raises(GuestTrap):
            table.remove("a.b", forged)
    assert table.get("a.b", handle) is target


def test_a_stale_handle_is_recognised_after_its_index_is_used_again() -> None:
    table = HandleTable()
    stale: set[int] = set()
    for _ in range(511):
        handle = table.add("a.b", object())
        assert handle not in stale
        table.remove("a.b", handle)
        stale.add(handle)
    table.add("a.b", object())
    for handle in stale:
        with pytest.raises(GuestTrap):
            table.get("a.b", handle)


def test_a_parent_cannot_be_dropped_before_its_children() -> None:
    table = HandleTable()
    parent = Node()
    handle = table.add("t.parent", parent)
    first, second = table.add("t.child", Node(parent)), table.add("t.child", Node(parent))
    table.remove("t.child", first)
    with pytest.raises(GuestTrap, match="resource has children"):
        table.remove("t.parent", handle)
    table.remove("t.child", second)
    assert table.remove("t.parent", handle) is parent
    assert len(table) == 0


def test_a_child_that_forgets_its_parent_still_counts_until_it_is_dropped() -> None:
    table = HandleTable()
    parent = Node()
    child = Node(parent)
    handle, child_handle = table.add("t.parent", parent), table.add("t.child", child)
    child.parent = None
    with pytest.raises(GuestTrap, match="resource has children"):
        table.remove("t.parent", handle)
    table.remove("t.child", child_handle)
    table.remove("t.parent", handle)


def test_the_limit_bounds_live_handles_only() -> None:
    table = HandleTable(limit=3)
    handles = [table.add("a.b", object()) for _ in range(3)]
    with pytest.raises(GuestTrap, match="no free keys"):
        table.add("a.b", object())
    table.remove("a.b", handles[1])
    table.add("a.b", object())
    with pytest.raises(ValueError, match="limit"):
        HandleTable(limit=1 << 20)
