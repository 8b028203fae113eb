"""The Kubernetes API as the operator uses it: JSON objects, and watches of them."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlencode

from service.kubernetes.credentials import ApiServer
from service.kubernetes.paths import read_target
from service.kubernetes.upstream import Response, Upstream, body_of

__all__ = ["Api", "ApiError", "Object", "parsed"]

Object = dict[str, Any]

_MERGE: Final = "application/merge-patch+json"
_LONGEST_LINE: Final = 4 << 20


class ApiError(Exception):
    """The API server refuses.

    Attributes:
        code: HTTP's, 0 where an event said it without one.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code: Final = code


class Api:
    """One API server.

    Args:
        server: which, and with what credentials.
    """

    def __init__(self, server: ApiServer) -> None:
        self._upstream: Final = Upstream(server)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._upstream.aclose()

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Object:
        """An object, or a list of them.

        Raises:
            ApiError: the API server refuses.
            ApiServerUnavailable: there is no answer.
            BrokenAnswer: it broke off.
        """
        return await self._call("GET", _target(path, query))

    async def create(self, path: str, new: Object) -> Object:
        """Add an object to a collection; raises as `get`."""
        return await self._call("POST", path, new)

    async def replace(self, path: str, changed: Object) -> Object:
        """Put an object in the place of another of the same resourceVersion; raises as `get`."""
        return await self._call("PUT", path, changed)

    async def merge(self, path: str, changes: Object) -> Object:
        """Change parts of an object; raises as `get`."""
        return await self._call("PATCH", path, changes, _MERGE)

    async def watch(self, path: str, query: Mapping[str, str]) -> AsyncIterator[tuple[str, Object]]:
        """What becomes of the objects of a collection, as (ADDED, MODIFIED, DELETED or BOOKMARK, object).

        Ends when the API server ends it, which it does from time to time.

        Raises:
            ApiError: the API server refuses; code 410 when the resourceVersion is too old.
        """
        target = _target(path, {**query, "watch": "1", "allowWatchBookmarks": "true"})
        async with self._answer("GET", target, None, "") as pieces:
            rest = b""
            async for piece in pieces:
                *lines, rest = (rest + piece).split(b"\n")
                if len(rest) > _LONGEST_LINE:
                    raise ApiError(0, f"an event longer than {_LONGEST_LINE} bytes")
                for line in filter(None, lines):
                    event = parsed(line)
                    if event["type"] == "ERROR":
                        status = event["object"]
                        raise ApiError(status.get("code", 0), status.get("message", "the watch failed"))
                    yield event["type"], event["object"]

    async def _call(
        self, method: str, target: str, body: Object | None = None, kind: str = "application/json"
    ) -> Object:
        async with self._answer(method, target, body, kind) as pieces:
            return parsed(b"".join([piece async for piece in pieces]))

    @asynccontextmanager
    async def _answer(
        self, method: str, target: str, body: Object | None, kind: str
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        fields = [(b"accept", b"application/json"), (b"user-agent", b"wasi-sockets-operator")]
        content: _Once | None = None
        if body is not None:
            data = json.dumps(body).encode()
            fields += [(b"content-type", kind.encode()), (b"content-length", str(len(data)).encode())]
            content = _Once(data)
        response = await self._upstream.send(method, read_target(method, target), fields, content)
        async with body_of(response) as pieces:
            if response.status >= 400:
                raise ApiError(response.status, await _reason(response, pieces))
            yield pieces


_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[][{}]', re.DOTALL)
_DEEPEST: Final = 64


def parsed(text: bytes) -> Object:
    """A JSON object. Of one too deep for Python's parser the deepest parts are null: it may be one of a list's items,
    and whoever wrote it must not keep the others from being read.

    Raises:
        ValueError: it is none.
    """
    try:
        document: Object = json.loads(text)
    except RecursionError:
        document = json.loads(_shallow(text))
    return document


def _shallow(text: bytes) -> bytes:
    kept: list[bytes] = []
    depth = since = 0
    for token in _TOKEN.finditer(text):
        if token[0] in (b"{", b"["):
            depth += 1
            if depth == _DEEPEST + 1:
                kept += text[since : token.start()], b"null"
        elif token[0] in (b"}", b"]"):
            depth -= 1
            if depth == _DEEPEST:
                since = token.end()
    kept.append(text[since:])
    return b"".join(kept)


class _Once(AsyncIterator[bytes]):
    """One piece. No generator: whoever is cancelled while sending would leave that to the GC."""

    def __init__(self, data: bytes) -> None:
        self._left: Final = [data]

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


async def _reason(response: Response, pieces: AsyncIterator[bytes]) -> str:
    text = b"".join([piece async for piece in pieces])
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text[:200].decode("utf-8", "replace").strip()


def _target(path: str, query: Mapping[str, str] | None) -> str:
    return f"{path}?{urlencode(query)}" if query else path
