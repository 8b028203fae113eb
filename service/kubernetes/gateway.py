"""The API gateway: plain HTTP/1.1 on a workload's loopback, and TLS with credentials to the Kubernetes API server.

    gateway = Gateway(load_kubeconfig(), [
        AccessRule(services=("controller",), verbs=("get", "list", "watch"), resources=("pods",), namespaces=("*",)),
    ])
    await nursery.start(gateway.serve, network)     # guests: http://127.0.0.1:8001

The guest never sees a credential. What no rule allows is refused with a `Status` object, and logged.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

import trio

from service.identity import service_of
from service.kubernetes.credentials import ApiServer
from service.kubernetes.exchange import Exchange, GuestGone, InvalidRequest, Refusal
from service.kubernetes.headers import RefusedHeaders, request_fields, response_fields
from service.kubernetes.paths import ApiRequest, RefusedTarget, read_target
from service.kubernetes.rules import AccessRule, allowed
from service.kubernetes.upstream import ApiServerUnavailable, BrokenAnswer, Upstream, body_of
from wasi_sockets import telemetry
from wasi_sockets.network import Network, TcpConnection, TcpListener, TcpStream

__all__ = ["Gateway"]

_logger: Final = logging.getLogger("wasi_sockets.kubernetes")

_PORT: Final = 8001
_MAX_REQUESTS: Final = 64

#: Of a service at a time: idle ones cost memory only, but that without end.
_CONNECTIONS_PER_REQUEST: Final = 4


class Gateway:
    """Lets services of a workload use a Kubernetes API server, as far as the rules go.

    Args:
        server: where, and with which credentials: `load_kubeconfig()` or `in_cluster()`.
        rules: what is allowed; nothing else is.
        port: of the workload's network.
        host: address there.
        max_requests: of one service at a time, watches among them; more are answered with 429. Four times as many
            connections may be open; more are reset.
        identify: tells the name of the service that a connection was opened by, None for none. By default the one
            that `acting_as` gave.
    """

    def __init__(
        self,
        server: ApiServer,
        rules: Iterable[AccessRule],
        *,
        port: int = _PORT,
        host: str = "127.0.0.1",
        max_requests: int = _MAX_REQUESTS,
        identify: Callable[[TcpConnection], str | None] = service_of,
    ) -> None:
        if not isinstance(server, ApiServer):
            raise TypeError(f"server must be an ApiServer, such as load_kubeconfig() gives, not {server!r}")
        if max_requests < 1:
            raise ValueError(f"max_requests must be at least 1, not {max_requests}")
        self._server: Final = server
        self._rules: Final = tuple(rules)
        for rule in self._rules:
            if not isinstance(rule, AccessRule):
                raise TypeError(f"rules must be AccessRule objects, not {rule!r}")
        self._port: Final = port
        self._host: Final = host
        self._max_requests: Final = max_requests
        self._identify: Final = identify
        self._under_way: Final[Counter[str]] = Counter()
        self._max_connections: Final = _CONNECTIONS_PER_REQUEST * max_requests
        self._connections: Final[Counter[str | None]] = Counter()

    async def serve(
        self, network: Network, *, task_status: trio.TaskStatus[list[TcpListener]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until cancelled. May be the target of a `TaskCode`.

        Args:
            network: the workload's.
            task_status: for `nursery.start`, which gives the listener in a list.

        Raises:
            OSError: the port is taken.
        """
        upstream = Upstream(self._server)

        async def handler(stream: TcpStream) -> None:
            await self._connection(stream, upstream)

        try:
            await network.serve_tcp(handler, self._port, self._host, task_status=task_status)
        finally:
            with trio.CancelScope(shield=True):
                await upstream.aclose()

    async def _connection(self, stream: TcpStream, upstream: Upstream) -> None:
        service = self._identify(stream.connection)
        if self._connections[service] >= self._max_connections:
            _logger.warning("refused a connection by %s: it has %d", _called(service), self._max_connections)
            stream.connection.fail()
            return
        self._connections[service] += 1
        try:
            await self._requests(Exchange(stream), service, upstream)
        except (GuestGone, BrokenAnswer) as error:
            _logger.debug("a connection by %s ended early: %s", _called(service), error)
            stream.connection.fail()
        except Exception:
            # Whatever a guest finds out to do, it ends its own connection, not the gateway of all services.
            _logger.exception("a connection by %s could not go on", _called(service))
            stream.connection.fail()
        finally:
            self._connections[service] -= 1

    async def _requests(self, exchange: Exchange, service: str | None, upstream: Upstream) -> None:
        try:
            while await exchange.next_request():
                await self._request(exchange, service, upstream)
        except InvalidRequest as error:
            _logger.warning("refused a request by %s: %s", _called(service), error)
            await _refuse(exchange, service, Refusal(error.code, str(error)))

    async def _request(self, exchange: Exchange, service: str | None, upstream: Upstream) -> None:
        try:
            name, request = self._judge(exchange, service)
            fields = request_fields(exchange.fields)
        except Refusal as refusal:
            await _refuse(exchange, service, refusal)
            return
        except RefusedHeaders as refused:
            _logger.warning("refused a request by %s: %s", _called(service), refused)
            await _refuse(exchange, service, Refusal(refused.code, str(refused)))
            return
        if self._under_way[name] >= self._max_requests:
            _logger.warning("refused a request by service %r: %d are under way", name, self._max_requests)
            busy = Refusal(429, f"more than {self._max_requests} requests at a time", request, 1)
            await _refuse(exchange, service, busy)
            return
        self._under_way[name] += 1
        try:
            # The path only, as in logs.
            attributes: dict[str, telemetry.Value] = {
                "http.request.method": exchange.method,
                "url.path": request.path,
                "wasi_sockets.service.name": name,
                **upstream.attributes,
            }
            with telemetry.span("http.call", attributes, title=exchange.method) as span:
                await _pass_on(exchange, request, fields, upstream, span)
        finally:
            self._under_way[name] -= 1

    def _judge(self, exchange: Exchange, service: str | None) -> tuple[str, ApiRequest]:
        """The service and what it asks.

        Raises:
            Refusal: it may not.
        """
        try:
            request = read_target(exchange.method, exchange.target)
        except RefusedTarget as refused:
            # The path only: a query may hold what is nobody's business.
            shown = ascii(exchange.target.partition("?")[0][:200])
            _logger.warning("refused %a %s by %s: %s", exchange.method[:20], shown, _called(service), refused)
            raise Refusal(refused.code, str(refused)) from None
        if service is None or not allowed(self._rules, service, request):
            _logger.warning("denied to %s: %s", _called(service), request)
            raise Refusal(403, f"the gateway does not allow {_called(service)} to {request}", request)
        return service, request


def _called(service: str | None) -> str:
    return "an unknown service" if service is None else f"service {service!r}"


async def _refuse(exchange: Exchange, service: str | None, refusal: Refusal) -> None:
    attributes: dict[str, telemetry.Value] = {
        **telemetry.point_attributes(),
        "http.response.status_code": refusal.code,
    }
    if service is not None:
        attributes["wasi_sockets.service.name"] = service
    telemetry.count("wasi_sockets.kubernetes.refusals", attributes)
    await exchange.refuse(refusal)


async def _pass_on(
    exchange: Exchange,
    request: ApiRequest,
    fields: list[tuple[bytes, bytes]],
    upstream: Upstream,
    span: telemetry.Span,
) -> None:
    """Carry one request and its answer, for as long as both sides are there."""
    body = exchange.body() if exchange.has_body else None
    refusal: Refusal | None = None
    async with exchange.while_guest_is_there():
        try:
            response = await upstream.send(exchange.method, request, fields, body)
        except ApiServerUnavailable as error:
            refusal = Refusal(error.code, str(error), request, 1 if error.code == 503 else None)
            telemetry.fail(span, "api_server_unavailable")
        else:
            span.set_attribute("http.response.status_code", response.status)
            if response.status >= 400:
                telemetry.fail(span, str(response.status))
            async with body_of(response) as pieces:
                await exchange.answer(response.status, response_fields(response.headers))
                async for piece in pieces:
                    await exchange.send(piece)
            await exchange.end()
    if refusal is not None:
        await exchange.refuse(refusal)
