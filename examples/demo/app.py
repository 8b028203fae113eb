"""The server of the demo: a plain ASGI application, which knows nothing of WebAssembly."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from kernel_sockets import internet_sockets

__all__ = ["app", "seen"]

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Seen:
    """What the application noticed while it answered.

    Attributes:
        requests: how many it answered.
        kernel_sockets: the most internet sockets that the process had during any of them; None where the system
            does not tell.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.kernel_sockets: int | None = 0


seen = Seen()


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Answers every GET with the path that was asked for and who asked."""
    if scope["type"] == "lifespan":
        while True:
            event = await receive()
            await send({"type": event["type"] + ".complete"})
            if event["type"] == "lifespan.shutdown":
                return
    seen.requests += 1
    now = internet_sockets()
    seen.kernel_sockets = (
        None if now is None or seen.kernel_sockets is None else max(seen.kernel_sockets, now)
    )
    host, port = scope["client"]
    text = f"hello {host}:{port}, this is {scope['path']}".encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})
