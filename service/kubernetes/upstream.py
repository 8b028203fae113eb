"""Requests to the API server: connections by real sockets and TLS, credentials, and what is tried again."""

# ruff: noqa: ASYNC109 - the parameters are httpcore's.

from __future__ import annotations

import logging
import select
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final
from urllib.parse import urlsplit

import trio

from service.kubernetes.credentials import ApiServer
from service.kubernetes.headers import Field
from service.kubernetes.paths import ApiRequest
from wasi_sockets.network.bridges.kernel import KernelStream, connect_host
from wasi_sockets.network.bridges.tls import TlsStream

try:
    import httpcore
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"the Kubernetes gateway needs httpcore ({error.name} is missing): pip install 'wasi-sockets[kubernetes]'",
        name=error.name,
    ) from error

__all__ = ["ApiServerUnavailable", "BrokenAnswer", "Response", "Upstream", "body_of"]

Response = httpcore.Response

_logger: Final = logging.getLogger("wasi_sockets.kubernetes")

_CONNECT_SECONDS: Final = 10.0
_WRITE_SECONDS: Final = 60.0
# The API server itself gives a request 60 seconds (--request-timeout), unless it is a watch.
_ANSWER_SECONDS: Final = 65.0

_IDLE_CONNECTIONS: Final = 8
_IDLE_SECONDS: Final = 30.0

#: Nothing has been changed by these, however far they came (RFC 9110, section 9.2.1).
_SAFE: Final = frozenset({"GET", "HEAD"})

_FAILURES: Final = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError)


class ApiServerUnavailable(Exception):
    """There is no answer.

    Attributes:
        code: HTTP's for the guest: 502, 503 or 504.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code: Final = code


class BrokenAnswer(Exception):
    """The API server went away in the middle of its answer."""


class Upstream:
    """An API server, and the connections to it.

    Args:
        server: which.

    Attributes:
        attributes: of spans: the API server's.
    """

    def __init__(self, server: ApiServer) -> None:
        parts = urlsplit(server.url)
        self.attributes: Final[dict[str, str | int]] = {
            "url.scheme": parts.scheme,
            "server.address": parts.hostname or "",
            "server.port": parts.port or (443 if parts.scheme == "https" else 80),
        }
        self._server: Final = server
        self._prefix: Final = parts.path.rstrip("/")
        self._host: Final = parts.netloc.encode("ascii")
        self._parts: Final = parts
        self._pool: Final = httpcore.AsyncConnectionPool(
            ssl_context=server.tls,
            max_connections=None,
            max_keepalive_connections=_IDLE_CONNECTIONS,
            keepalive_expiry=_IDLE_SECONDS,
            network_backend=_KernelBackend(),
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()

    async def send(
        self, method: str, request: ApiRequest, fields: list[Field], body: AsyncIterable[bytes] | None
    ) -> Response:
        """Send a request with the gateway's credentials, and wait for the head of the answer.

        A request that changes nothing and has no body is tried once more after a connection failed, and any without
        a body when the token was rejected and there is a new one.

        Args:
            method: in capitals.
            request: as it was allowed.
            fields: as they may pass.
            body: None for none.

        Returns:
            the answer, whose body is still to come: see `body_of`, which must be used, as it closes the answer.

        Raises:
            ApiServerUnavailable: there is none.
        """
        again = body is None and method in _SAFE
        rejected: str | None = None
        while True:
            token = await self._token(rejected)
            try:
                response = await self._send(method, request, fields, body, token)
            except _FAILURES as error:
                if again and not isinstance(error, httpcore.TimeoutException):
                    again = False
                    continue
                raise self._unavailable(error) from error
            if response.status == 401 and body is None and token is not None and rejected is None:
                rejected = token
                if await self._renewed(token, response):
                    continue
            return response

    async def _renewed(self, token: str, response: Response) -> bool:
        """Whether there is another token than the one that this answer rejects; the answer is then closed."""
        closes = True
        try:
            closes = await self._token(token) != token
        finally:
            if closes:
                with trio.CancelScope(shield=True):
                    await response.aclose()
        return closes

    async def _send(
        self,
        method: str,
        request: ApiRequest,
        fields: list[Field],
        body: AsyncIterable[bytes] | None,
        token: str | None,
    ) -> Response:
        headers = [(b"host", self._host), *fields]
        if token is not None:
            headers.append((b"authorization", b"Bearer " + token.encode("ascii")))
        url = httpcore.URL(
            scheme=self._parts.scheme,
            host=self._parts.hostname or "",
            port=self._parts.port,
            target=f"{self._prefix}{request.target}",
        )
        answer_within = None if request.endless else _ANSWER_SECONDS
        limits = {"connect": _CONNECT_SECONDS, "write": _WRITE_SECONDS, "read": answer_within}
        extensions: dict[str, Any] = {"timeout": limits}
        if self._server.server_name:
            extensions["sni_hostname"] = self._server.server_name
        return await self._pool.handle_async_request(
            httpcore.Request(method, url, headers=headers, content=body, extensions=extensions)
        )

    async def _token(self, rejected: str | None) -> str | None:
        try:
            return await self._server.tokens.token(rejected=rejected)
        except (OSError, ValueError) as error:
            _logger.error("no credentials for the API server: %s", error)
            raise ApiServerUnavailable("the gateway has no credentials for the API server", 503) from None

    def _unavailable(self, error: Exception) -> ApiServerUnavailable:
        reason = str(error) or type(error).__name__
        _logger.warning("the API server at %s does not answer: %s", self._server.url, reason)
        if isinstance(error, httpcore.ConnectError | httpcore.ConnectTimeout):
            return ApiServerUnavailable(f"the API server cannot be reached: {reason}", 503)
        if isinstance(error, httpcore.TimeoutException):
            return ApiServerUnavailable("the API server did not answer in time", 504)
        return ApiServerUnavailable(f"the connection to the API server broke: {reason}", 502)


@asynccontextmanager
async def body_of(response: Response) -> AsyncIterator[AsyncIterator[bytes]]:
    """The pieces of an answer's body, as they come. The answer is closed after the block.

    Raises:
        BrokenAnswer: it ended too soon.
    """
    pieces = response.aiter_stream()
    try:
        yield pieces
    except _FAILURES as error:
        raise BrokenAnswer(str(error) or type(error).__name__) from error
    finally:
        with trio.CancelScope(shield=True):
            await response.aclose()
            # httpcore's generators stand one in another, so that closing the outermost would leave the others to the
            # garbage collector. On a closed connection all of them end.
            with suppress(*_FAILURES):
                async for _ in pieces:
                    pass


@contextmanager
def _translated(timeout: type[httpcore.TimeoutException], failure: type[Exception]) -> Iterator[None]:
    try:
        yield
    except trio.TooSlowError as error:
        raise timeout from error
    except TimeoutError as error:
        raise timeout(str(error)) from error
    except (OSError, trio.ClosedResourceError) as error:
        raise failure(str(error)) from error


class _KernelStream(httpcore.AsyncNetworkStream):
    """A real connection as httpcore sees it."""

    def __init__(self, connection: KernelStream, stream: KernelStream | TlsStream) -> None:
        self._connection: Final = connection
        self._stream: Final = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        # More than `max_bytes` may come; httpcore's HTTP/1.1 does not mind.
        with _translated(httpcore.ReadTimeout, httpcore.ReadError), trio.fail_after(_or_never(timeout)):
            return await self._stream.receive_some()

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if buffer:
            with _translated(httpcore.WriteTimeout, httpcore.WriteError), trio.fail_after(_or_never(timeout)):
                await self._stream.send_all(buffer)

    async def aclose(self) -> None:
        self._stream.close()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        stream = TlsStream(self._connection, ssl_context, server_hostname)
        try:
            with (
                _translated(httpcore.ConnectTimeout, httpcore.ConnectError),
                trio.fail_after(_or_never(timeout)),
            ):
                await stream.handshake()
        except BaseException:
            self._connection.close()
            raise
        return _KernelStream(self._connection, stream)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            # Of an idle connection: the API server has closed it.
            poll = select.poll()
            poll.register(self._connection.socket, select.POLLIN)
            return bool(poll.poll(0))
        return None


def _or_never(seconds: float | None) -> float:
    return float("inf") if seconds is None else seconds


class _KernelBackend(httpcore.AsyncNetworkBackend):
    """Connections by kernel sockets, also where a virtual network is installed in trio's place."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        with (
            _translated(httpcore.ConnectTimeout, httpcore.ConnectError),
            trio.fail_after(_or_never(timeout)),
        ):
            connection = await connect_host(host, port)
        return _KernelStream(connection, connection)

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)
