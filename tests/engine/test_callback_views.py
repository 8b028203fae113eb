"""The views of native memory that callbacks remember."""

from __future__ import annotations

import ctypes

from wasi_sockets.engine import bindings_callbacks
from wasi_sockets.engine.bindings_callbacks import _view


def test_a_view_reads_and_writes_what_lies_at_its_address() -> None:
    words = (ctypes.c_uint64 * 2)(8, 41)
    views: dict[int, memoryview] = {}
    view = _view(views, ctypes.c_uint64 * 2, ctypes.addressof(words))
    assert list(view) == [8, 41]
    view[1] = 2**64 - 1
    assert words[1] == 2**64 - 1
    assert views == {ctypes.addressof(words): view}


def test_no_more_views_are_kept_than_there_is_room_for() -> None:
    words = (ctypes.c_uint64 * 1000)()
    views: dict[int, memoryview] = {}
    for index in range(998):
        view = _view(views, ctypes.c_uint64 * 2, ctypes.addressof(words) + 8 * index)
        view[0] = index
        assert 0 < len(views) <= bindings_callbacks._MAXIMUM_VIEWS
    assert list(words[:998]) == list(range(998))
