"""What `make leaks` measures at length, by counting what can be counted."""

from __future__ import annotations

import ctypes
import gc
import sys
import weakref
from collections import Counter

import pytest
import trio.testing

from tools.leaks import ALLOWED_MAPPINGS, LOADS, held, workshop

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")

COUNTS = {"round trips": 2000, "connections": 300, "instances": 48}


def _ours() -> Counter[str]:
    """Objects of this project and of wasmtime, by type, but for the few views of memory that callbacks keep."""
    return Counter(
        f"{type(each).__module__}.{type(each).__qualname__}"
        for each in gc.get_objects()
        if str(type(each).__module__).partition(".")[0] in ("wasi_sockets", "wasmtime")
        and not isinstance(each, ctypes.Array)
    )


@pytest.mark.parametrize("load", LOADS)
async def test_a_load_leaves_nothing_behind(load: str) -> None:
    run, _ = LOADS[load]
    async with workshop() as here:
        for count in (COUNTS[load] // 2, COUNTS[load]):
            await run(here, count, lambda done: None)
            await trio.testing.wait_all_tasks_blocked()
            after = held(here)
            objects = _ours()
            if count < COUNTS[load]:
                before, objects_before = after, objects
    assert objects - objects_before == Counter()
    assert after.sockets == before.sockets == 1
    assert after.descriptors <= before.descriptors
    assert after.threads <= before.threads
    assert after.mappings <= before.mappings + ALLOWED_MAPPINGS


async def test_a_guest_is_gone_when_its_block_is() -> None:
    async with workshop() as here:
        async with here.guest() as guest:
            await guest.call("connections", 8080, 1)
            references = [weakref.ref(each) for each in (guest, guest._store)]
        del guest
        gc.collect()
        assert [reference() for reference in references] == [None] * 2
