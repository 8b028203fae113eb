"""The Kubernetes API over plain HTTP/1.1: asyncio's streams and h11, a connection for each request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import h11

__all__ = ["APPLY", "MERGE", "Api", "ApiError", "Object"]

Object = dict[str, Any]

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"

_SECONDS = 30.0


class ApiError(Exception):
    """The API server answered with a failure, or broke off.

    Attributes:
        code: HTTP's; 0 when there was no answer.
        reason: of the `Status`.
    """

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(f"{code} {reason}: {message}" if reason else f"{code}: {message}")
        self.code = code
        self.reason = reason

    @classmethod
    def of(cls, status: Object) -> ApiError:
        """From a `Status` object."""
        return cls(int(status.get("code", 0)), str(status.get("reason", "")), str(status.get("message", "")))


class Api:
    """An API server behind a gateway.

    Attributes:
        headers: of every request, besides its own.
    """

    headers: tuple[tuple[str, str], ...] = ()

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port

    async def request(
        self, method: str, path: str, body: Object | None = None, content_type: str = "application/json"
    ) -> Object:
        """A request, and the object that answers it.

        Raises:
            ApiError: in place of whatever failed.
        """
        try:
            async with asyncio.timeout(_SECONDS):
                pieces = [piece async for piece in self._pieces(method, path, body, content_type)]
        except (OSError, TimeoutError, EOFError) as error:
            raise ApiError(0, type(error).__name__, str(error)) from error
        answer: Object = json.loads(b"".join(pieces))
        return answer

    async def watch(self, path: str) -> AsyncGenerator[Object, None]:
        """The events of a watch, until the API server ends it.

        Raises:
            ApiError: it could not begin, broke off, or ended with an ERROR event.
        """
        rest = b""
        try:
            async with aclosing(self._pieces("GET", path, None, "")) as pieces:
                async for piece in pieces:
                    *lines, rest = (rest + piece).split(b"\n")
                    for line in lines:
                        event: Object = json.loads(line)
                        if event["type"] == "ERROR":
                            raise ApiError.of(event["object"])
                        yield event
        except (OSError, EOFError) as error:
            raise ApiError(0, type(error).__name__, str(error)) from error

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A new connection."""
        return await asyncio.open_connection(self._host, self._port)

    async def _pieces(
        self, method: str, path: str, body: Object | None, content_type: str
    ) -> AsyncGenerator[bytes, None]:
        reader, writer = await self.connect()
        try:
            http = h11.Connection(h11.CLIENT)
            writer.write(_request(http, method, path, body, content_type, self.headers))
            await writer.drain()
            failed: h11.Response | None = None
            said = b""
            while True:
                event = http.next_event()
                if event is h11.NEED_DATA:
                    http.receive_data(await reader.read(65536))
                elif isinstance(event, h11.Response):
                    failed = event if event.status_code >= 400 else None
                elif isinstance(event, h11.Data):
                    if failed is None:
                        yield bytes(event.data)
                    else:
                        said += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    break
                else:
                    raise EOFError("the connection ended in the middle")
            if failed is not None:
                raise _failure(failed.status_code, said)
        except h11.RemoteProtocolError as error:
            raise EOFError(str(error)) from error
        except asyncio.CancelledError:
            # What is not sent yet must not be: whoever was cancelled may no longer act.
            writer.transport.abort()
            raise
        finally:
            writer.close()


def _request(
    http: h11.Connection,
    method: str,
    path: str,
    body: Object | None,
    content_type: str,
    more: tuple[tuple[str, str], ...],
) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    headers = [
        ("host", "kubernetes"),
        ("accept", "application/json"),
        ("user-agent", "static-site-controller"),
        *more,
    ]
    if body is not None:
        headers += [("content-type", content_type), ("content-length", str(len(content)))]
    head = h11.Request(method=method, target=path, headers=headers)
    data = [
        http.send(head),
        http.send(h11.Data(data=content)) if content else b"",
        http.send(h11.EndOfMessage()),
    ]
    return b"".join(each or b"" for each in data)


def _failure(code: int, said: bytes) -> ApiError:
    try:
        return ApiError.of(json.loads(said))
    except (ValueError, AttributeError):
        return ApiError(code, "", said[:200].decode(errors="replace").strip())
