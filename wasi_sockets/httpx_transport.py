"""httpx on a virtual network: a transport for `httpx.AsyncClient`.

    async with httpx.AsyncClient(transport=NetworkTransport(network)) as client:
        response = await client.get("http://shop.svc.internal/")

Nothing else of the program changes, so that one client may be on a virtual network while others are on the real one.
Needs the extra `httpx`: `pip install 'wasi-sockets[httpx]'`.
"""

# ruff: noqa: ASYNC109 - the parameters are httpcore's.

from __future__ import annotations

import math
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, Final, TypeVar

import trio

from wasi_sockets.network import Network, TcpStream

try:
    import httpcore
    import httpx
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"the httpx transport needs httpx ({error.name} is missing): pip install 'wasi-sockets[httpx]'",
        name=error.name,
    ) from error

__all__ = ["NetworkBackend", "NetworkTransport"]

Self = TypeVar("Self", bound="NetworkTransport")

# httpx's exceptions have the names of those of httpcore that they stand for.
_EXCEPTIONS: Final[dict[type[Exception], type[httpx.TransportError]]] = {
    getattr(httpcore, name): getattr(httpx, name)
    for name in (
        "ConnectTimeout",
        "ReadTimeout",
        "WriteTimeout",
        "PoolTimeout",
        "ConnectError",
        "ReadError",
        "WriteError",
        "UnsupportedProtocol",
        "LocalProtocolError",
        "RemoteProtocolError",
    )
}


@contextmanager
def _translated(
    timeout: type[httpcore.TimeoutException], failure: type[httpcore.NetworkError]
) -> Iterator[None]:
    try:
        yield
    except trio.TooSlowError as error:
        raise timeout from error
    except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
        # Trio says what is wrong with a certificate in the cause only.
        raise failure(str(error) or str(error.__cause__ or "")) from error


def _deadline(seconds: float | None) -> AbstractContextManager[object]:
    return trio.fail_after(math.inf if seconds is None else seconds)


class _NetworkStream(httpcore.AsyncNetworkStream):
    """A connection as httpcore sees it."""

    def __init__(self, connection: TcpStream, stream: TcpStream | trio.SSLStream[Any]) -> None:
        self._connection: Final = connection
        self._stream: Final = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _translated(httpcore.ReadTimeout, httpcore.ReadError), _deadline(timeout):
            return bytes(await self._stream.receive_some(max_bytes))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if buffer:
            with _translated(httpcore.WriteTimeout, httpcore.WriteError), _deadline(timeout):
                await self._stream.send_all(buffer)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        stream = trio.SSLStream(
            self._stream, ssl_context, server_hostname=server_hostname, https_compatible=True
        )
        try:
            with _translated(httpcore.ConnectTimeout, httpcore.ConnectError), _deadline(timeout):
                await stream.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(self._stream)
            raise
        return _NetworkStream(self._connection, stream)

    def get_extra_info(self, info: str) -> Any:
        match info:
            case "client_addr":
                return self._connection.local_address.sockaddr()
            case "server_addr":
                return self._connection.remote_address.sockaddr()
            case "socket":
                return self._connection.socket
            case "is_readable":
                return self._connection.connection.receive_pipe.available() != 0
            case "ssl_object" if isinstance(self._stream, trio.SSLStream):
                return self._stream  # hands on what is asked of its `ssl.SSLObject`
        return None


class NetworkBackend(httpcore.AsyncNetworkBackend):
    """Opens httpcore's connections on a network. For programs that use httpcore itself.

    Args:
        network: where hosts are looked up and connected.
        owner: of the connections; see `Network.release`.
    """

    def __init__(self, network: Network, *, owner: object = None) -> None:
        self._network: Final = network
        self._owner: Final = owner

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to a host of the network. `local_address` and `socket_options` mean nothing here.

        Raises:
            httpcore.ConnectError: as `Network.connect_tcp` raises OSError, from that.
            httpcore.ConnectTimeout: after `timeout` seconds.
        """
        with _translated(httpcore.ConnectTimeout, httpcore.ConnectError), _deadline(timeout):
            connection = await self._network.connect_tcp(host, port, owner=self._owner)
        return _NetworkStream(connection, connection)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Raises httpcore.ConnectError: there are no Unix sockets in a network."""
        raise httpcore.ConnectError("a virtual network has no Unix sockets")

    async def sleep(self, seconds: float) -> None:
        """Wait between retries."""
        await trio.sleep(seconds)


class NetworkTransport(httpx.AsyncBaseTransport):
    """A transport of `httpx.AsyncClient` whose connections are on a network.

    Args:
        network: where hosts are looked up and connected.
        verify: checks the certificates of https servers; httpx's own defaults without one.
        http1: speak HTTP/1.1.
        http2: speak HTTP/2 where TLS agrees on it; needs the package `h2`.
        limits: of the connection pool, httpx's defaults without.
        retries: of connects that fail.
        owner: of the connections; see `Network.release`.
    """

    def __init__(
        self,
        network: Network,
        *,
        verify: ssl.SSLContext | None = None,
        http1: bool = True,
        http2: bool = False,
        limits: httpx.Limits | None = None,
        retries: int = 0,
        owner: object = None,
    ) -> None:
        if limits is None:
            limits = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=5.0)
        self._pool: Final = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context() if verify is None else verify,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            http1=http1,
            http2=http2,
            retries=retries,
            network_backend=NetworkBackend(network, owner=owner),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """As of `httpx.AsyncBaseTransport`."""
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        with _httpx_errors(request):
            response = await self._pool.handle_async_request(
                httpcore.Request(
                    request.method,
                    url,
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_Body(response, request),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()

    async def __aenter__(self: Self) -> Self:
        await self._pool.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._pool.__aexit__(exc_type, exc_value, traceback)


class _Body(httpx.AsyncByteStream):
    """The body of a response, as it comes."""

    def __init__(self, response: httpcore.Response, request: httpx.Request) -> None:
        self._response: Final = response
        self._request: Final = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _httpx_errors(self._request):
            async for piece in self._response.aiter_stream():
                yield piece

    async def aclose(self) -> None:
        await self._response.aclose()


@contextmanager
def _httpx_errors(request: httpx.Request) -> Iterator[None]:
    try:
        yield
    except tuple(_EXCEPTIONS) as error:
        raise _EXCEPTIONS[type(error)](str(error), request=request) from error
