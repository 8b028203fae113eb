"""A GET over a stream, for probes; needs h11, which the extra `workloads` brings."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import h11
import trio

__all__ = ["status_of_get"]

_MOST_OF_A_BODY: Final = 64 * 1024
_BODY_SECONDS: Final = 0.5


async def status_of_get(stream: trio.abc.Stream, host: str, path: str) -> int:
    """The status that a GET is answered with. The stream is the caller's to close.

    Raises:
        ValueError: the answer is no HTTP, or there is none.
    """
    connection = h11.Connection(h11.CLIENT)
    headers = [("Host", host), ("User-Agent", "wasi-sockets-probe"), ("Connection", "close")]
    request = connection.send(h11.Request(method="GET", target=path, headers=headers))
    await stream.send_all((request or b"") + (connection.send(h11.EndOfMessage()) or b""))
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            raise ValueError(f"no HTTP: {error}") from error
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some()))
        elif isinstance(event, h11.Response):
            await _read_on(connection, stream)
            return event.status_code
        elif isinstance(event, h11.ConnectionClosed):
            raise ValueError("it closed the connection without an answer")


async def _read_on(connection: h11.Connection, stream: trio.abc.Stream) -> None:
    """Take the body, within bounds: a server that writes it apart from the head should not meet a closed connection."""
    left = _MOST_OF_A_BODY
    with suppress(h11.RemoteProtocolError, trio.BrokenResourceError), trio.move_on_after(_BODY_SECONDS):
        while left > 0:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(bytes(await stream.receive_some()))
            elif isinstance(event, h11.Data):
                left -= len(event.data)
            else:
                return
