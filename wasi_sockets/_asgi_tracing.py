"""Spans of the requests that an ASGI application answers, by OpenTelemetry's conventions for HTTP servers."""

from __future__ import annotations

from typing import Any, Final

from wasi_sockets import telemetry

__all__ = ["traced_app"]

#: Others would let whoever asks make up as many names of spans as they like.
_METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})


def traced_app(app: Any) -> Any:
    """An ASGI application with a span around each request.

    It is a child of what the request's `traceparent` names, with a link to the connection; of the connection without
    one.
    """

    async def traced(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not telemetry.tracing:
            await app(scope, receive, send)
            return
        parent = telemetry.remote_parent(_headers(scope))
        links = () if parent is None else (telemetry.current_span(),)
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        title = "HTTP" if method == "_OTHER" else method
        attributes = {"http.request.method": method, **_addresses(scope)}
        with telemetry.span("http.request", attributes, title=title, parent=parent, links=links) as span:

            async def sending(message: Any) -> None:
                if message["type"] == "http.response.start":
                    status = message["status"]
                    span.set_attribute("http.response.status_code", status)
                    if status >= 500:
                        telemetry.fail(span, str(status))
                await send(message)

            await app(scope, receive, sending)

    return traced


def _headers(scope: Any) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _addresses(scope: Any) -> dict[str, telemetry.Value]:
    attributes: dict[str, telemetry.Value] = {
        "url.path": scope["path"],
        "url.scheme": scope.get("scheme", "http"),
        "network.protocol.version": scope.get("http_version", "1.1"),
    }
    for side in ("server", "client"):
        address = scope.get(side)
        if address is not None:
            attributes[f"{side}.address"] = address[0]
            if address[1] is not None:
                attributes[f"{side}.port"] = address[1]
    return attributes
