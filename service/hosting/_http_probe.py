"""A GET over a stream, for probes; needs h11, which the extra `workloads` brings."""

from __future__ import annotations

import h11
import trio

__all__ = ["status_of_get"]


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
            return event.status_code
        elif isinstance(event, h11.ConnectionClosed):
            raise ValueError("it closed the connection without an answer")
