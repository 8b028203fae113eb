"""A watch through a gateway, without a client that would hide what comes."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import h11

from wasi_sockets import Network

__all__ = ["watched"]


async def watched(network: Network, target: str) -> AsyncGenerator[dict[str, Any], None]:
    """The events of a watch."""
    http = h11.Connection(h11.CLIENT)
    lines = b""
    async with await network.connect_tcp("127.0.0.1", 8001) as stream:
        request = h11.Request(method="GET", target=target, headers=[("host", "gateway")])
        await stream.send_all((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Data):
                *whole, lines = (lines + bytes(event.data)).split(b"\n")
                for line in whole:
                    yield json.loads(line)
            elif isinstance(event, h11.EndOfMessage):
                return
