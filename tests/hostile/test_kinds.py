"""A handle of one resource is of no use to the methods of another."""

from __future__ import annotations

import pytest

import wasi_sockets
from tests.hostile.attack import connect, handles_at, start
from tests.hostile.raw_guest import FUNCTIONS
from wasi_sockets.engine import Guest
from wasi_sockets.errors import GuestTrap

RESULT = 2048
METHODS = [function for function in FUNCTIONS if function.resource]


async def handle_of(guest: Guest, resource: str) -> int:
    """A new handle of some resource."""
    if resource == "network":
        return int(await guest.call("instance-network"))
    if resource == "tcp-socket":
        return (await connect(guest))[0]
    if resource == "input-stream":
        return (await connect(guest))[1]
    if resource == "output-stream":
        return (await connect(guest))[2]
    if resource == "pollable":
        return int(await guest.call("subscribe-duration", 0))
    if resource == "udp-socket":
        await guest.call("create-udp-socket", 0, RESULT)
        return (await handles_at(guest, 1))[0]
    if resource == "resolve-address-stream":
        network = await guest.call("instance-network")
        await guest.call("store", 1024, int.from_bytes(b"::1\0", "little"))
        await guest.call("resolve-addresses", network, 1024, 3, RESULT)
        return (await handles_at(guest, 1))[0]
    raise LookupError(resource)


OTHERS = {
    "network": "udp-socket",
    "tcp-socket": "network",
    "input-stream": "output-stream",
    "output-stream": "input-stream",
    "pollable": "input-stream",
    "udp-socket": "tcp-socket",
    "incoming-datagram-stream": "udp-socket",
    "outgoing-datagram-stream": "resolve-address-stream",
    "resolve-address-stream": "tcp-socket",
    "error": "network",
}


@pytest.mark.parametrize("name", [function.name for function in METHODS])
@pytest.mark.parametrize("direct_memory", [True, False], ids=["direct", "copy"])
async def test_a_handle_of_another_resource_traps(name: str, direct_memory: bool) -> None:
    function = next(each for each in METHODS if each.name == name)
    network = wasi_sockets.Network()
    async with network.listen_tcp(7), start(network, direct_memory=direct_memory) as guest:
        wrong = await handle_of(guest, OTHERS[function.resource])
        rest = [RESULT if position else 0 for position in range(len(function.parameters) - 1)]
        with pytest.raises(GuestTrap, match=r"unknown handle|splice between"):
            await guest.call(name, wrong, *rest)


NO_SHORT_WAY = ("error", "incoming-datagram-stream", "outgoing-datagram-stream")
WAITING = ("blocking-read", "blocking-skip", "splice")
SOUND = [
    each.name
    for each in METHODS
    if each.resource not in NO_SHORT_WAY and not any(part in each.name for part in WAITING)
]


@pytest.mark.parametrize("name", SOUND)
async def test_a_sound_handle_does_not_trap(name: str) -> None:
    """What makes the test above mean something: only the handle was wrong."""
    function = next(each for each in METHODS if each.name == name)
    network = wasi_sockets.Network()
    async with network.listen_tcp(7), start(network) as guest:
        handle = await handle_of(guest, function.resource)
        rest = [0] * (len(function.parameters) - 1)
        if function.pointer_result:
            rest[-1] = RESULT
        if name.endswith(("start-bind", "start-connect")):
            rest[0] = await guest.call("instance-network")
        if name == "drop-tcp-socket":  # the connected one has its streams
            await guest.call("create-tcp-socket", 0, RESULT)
            (handle,) = await handles_at(guest, 1)
        await guest.call(name, handle, *rest)
