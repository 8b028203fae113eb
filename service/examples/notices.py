"""The Python service of workload.yaml: an ASGI application that keeps what it is told."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

__all__ = ["app"]

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_notices: Final[list[str]] = []


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """A POST leaves a notice; whatever else is asked is answered with all of them, as JSON."""
    if scope["type"] == "lifespan":
        while True:
            event = await receive()
            await send({"type": event["type"] + ".complete"})
            if event["type"] == "lifespan.shutdown":
                return
    body = await _body(receive)
    if scope["method"] == "POST":
        _notices.append(body.decode("utf-8", "replace"))
    answer = json.dumps(_notices).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


async def _body(receive: Receive) -> bytes:
    pieces = []
    while True:
        event = await receive()
        pieces.append(event.get("body", b""))
        if not event.get("more_body"):
            return b"".join(pieces)
