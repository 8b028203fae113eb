"""The one table of what is told to OpenTelemetry: spans, attributes, metrics and events, with units and meanings.

Names are those of the semantic conventions where they exist (`network.*`, `server.*`, `error.type`...), and begin with
``wasi_sockets.`` where they do not; units are UCUM's. docs/observability.md shows this table, and a test compares them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["ATTRIBUTES", "EVENTS", "METRICS", "POINT_ATTRIBUTES", "SPANS", "EventRow", "MetricRow", "SpanRow"]


@dataclass(frozen=True, slots=True)
class SpanRow:
    """A span. What it is called beyond `name`, such as an address, is in its attributes."""

    name: str
    kind: Literal["internal", "client", "server"]
    meaning: str
    attributes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A metric. `source` says who reads it: counters that exist anyway are observed when they are collected."""

    name: str
    instrument: Literal["counter", "updown", "histogram"]
    source: Literal["observed", "recorded"]
    unit: str
    meaning: str
    attributes: tuple[str, ...] = ()
    buckets: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class EventRow:
    """Something that happened at a moment: a log record (`event.name`), a span event, or both."""

    name: str
    told: Literal["log", "span", "both"]
    meaning: str
    attributes: tuple[str, ...]


_WORKLOAD: Final = ("workload.id", "workload.name", "workload.namespace", "component.name")
#: Those of metrics that say whose they are. No identities: what changes at each start is no dimension.
POINT_ATTRIBUTES: Final = ("workload.name", "workload.namespace")

_NETWORK: Final = ("network.transport", "network.type", "network.peer.address", "network.peer.port")
_LOCAL: Final = ("network.local.address", "network.local.port")
_SLOW_POLLS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_LONG: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)  # kestrel's

ATTRIBUTES: Final[dict[str, str]] = {
    "workload.id": "which run of a workload",
    "workload.name": "the workload's name",
    "workload.namespace": "the workload's namespace",
    "component.name": "the component, or the file it was loaded from",
    "network.transport": "`tcp` or `udp`",
    "network.type": "`ipv4` or `ipv6`",
    "network.peer.address": "the other side's address",
    "network.peer.port": "the other side's port",
    "network.local.address": "the own address",
    "network.local.port": "the own port",
    "network.protocol.version": "of HTTP",
    "network.io.direction": "`transmit` or `receive`, as the side that connected sees it",
    "server.address": "what was asked for, a name or an address",
    "server.port": "the port that was asked for",
    "client.address": "who asked",
    "client.port": "who asked",
    "error.type": "why it failed: `connection_refused`, `access_denied`... or an exception's name",
    "dns.question.name": "the name looked up",
    "dns.answers": "the addresses it has",
    "http.request.method": "the method",
    "http.response.status_code": "the status",
    "url.path": "the path",
    "url.scheme": "`http` or `https`",
    "process.exit.code": "what a guest exited with",
    "log.iostream": "`stdout` or `stderr`",
    "oci.manifest.digest": "what an image's tag led to",
    "wasi_sockets.image": "an image's reference",
    "wasi_sockets.cache": "`hit`, `miss` or `off`",
    "wasi_sockets.component.size": "bytes of a component",
    "wasi_sockets.interface": "the WIT interface of a function",
    "wasi_sockets.function": "a function that is called",
    "wasi_sockets.bridge": "what leads out or in: `forward`, `egress` or `publish`",
    "wasi_sockets.bytes.sent": "bytes that the side that connected sent, and that were read",
    "wasi_sockets.bytes.received": "bytes that were sent to the side that connected",
    "wasi_sockets.datagram.loss": "`full`: no room to receive it; `unmatched`: nobody there",
    "wasi_sockets.policy.use": "`connect`, `bind`, `lookup`...",
    "wasi_sockets.policy.reason": "why the policy denied it",
    "wasi_sockets.policy.enforced": "false in audit mode, where it was let through",
    "wasi_sockets.service.name": "a service",
    "wasi_sockets.service.state": "what state a service is in",
    "wasi_sockets.service.restart": "how many restarts there were before",
}

_CALL: Final = ("wasi_sockets.interface", "wasi_sockets.function")
_SERVICE: Final = ("wasi_sockets.service.name", *_WORKLOAD, "error.type")
_DENIAL: Final = ("wasi_sockets.policy.use", "wasi_sockets.policy.reason", "wasi_sockets.policy.enforced")

SPANS: Final[dict[str, SpanRow]] = {
    row.name: row
    for row in (
        SpanRow(
            "component.pull",
            "client",
            "a component is fetched from a registry",
            (
                "wasi_sockets.image", "oci.manifest.digest", "wasi_sockets.component.size", "wasi_sockets.cache",
                "server.address", "error.type", *_WORKLOAD,
            ),
        ),
        SpanRow(
            "component.load",
            "internal",
            "a component is made ready to run",
            ("wasi_sockets.cache", "wasi_sockets.component.size", "error.type", *_WORKLOAD),
        ),
        SpanRow("component.rewrite", "internal", "its wiring is rewritten", ("error.type", *_WORKLOAD)),
        SpanRow("component.compile", "internal", "it is compiled", ("error.type", *_WORKLOAD)),
        SpanRow("guest.instantiate", "internal", "a guest is made of a component", ("error.type", *_WORKLOAD)),
        SpanRow(
            "guest.call",
            "internal",
            "an exported function runs",
            (*_CALL, "process.exit.code", "error.type", *_WORKLOAD),
        ),
        SpanRow(
            "host.call",
            "internal",
            "a guest calls a function that the embedding program added with `traced_linker`",
            (*_CALL, "error.type", *_WORKLOAD),
        ),
        SpanRow(
            "socket.connect",
            "client",
            "a connect, until it stands or has failed; in the virtual network, or by a bridge to the real one",
            (*_NETWORK, *_LOCAL, "server.address", "server.port", "error.type", *_WORKLOAD),
        ),
        SpanRow(
            "socket.connection",
            "server",
            "a connection at the side that accepted it, from being established to being closed there",
            (*_NETWORK, *_LOCAL, "client.address", "client.port", "wasi_sockets.bytes.sent",
             "wasi_sockets.bytes.received", "error.type", *_WORKLOAD),
        ),
        SpanRow(
            "socket.bridge",
            "internal",
            "a connection is carried out of the virtual network or into it",
            ("wasi_sockets.bridge", *_NETWORK, "server.address", "server.port", "client.address", "client.port",
             "error.type", *_WORKLOAD),
        ),
        SpanRow(
            "dns.lookup",
            "client",
            "a name is looked up",
            ("dns.question.name", "dns.answers", "error.type", *_WORKLOAD),
        ),
        SpanRow(
            "http.request",
            "server",
            "an ASGI application answers a request; the span is called as the method",
            ("http.request.method", "http.response.status_code", "url.path", "url.scheme", "server.address",
             "server.port", "client.address", "client.port", "network.protocol.version", "error.type", *_WORKLOAD),
        ),
        SpanRow(
            "http.call",
            "client",
            "the Kubernetes gateway passes a guest's request on, until the answer has ended; the span is called as the"
            " method",
            ("http.request.method", "http.response.status_code", "url.path", "url.scheme", "server.address",
             "server.port", "wasi_sockets.service.name", "error.type", *_WORKLOAD),
        ),
        SpanRow("service.start", "internal", "a service starts, until it is ready", _SERVICE),
        SpanRow(
            "service.restart",
            "internal",
            "a service that ended is started anew",
            (*_SERVICE, "wasi_sockets.service.restart"),
        ),
        SpanRow("service.stop", "internal", "a service is stopped, until it has ended", _SERVICE),
    )
}  # fmt: skip

METRICS: Final[dict[str, MetricRow]] = {
    row.name: row
    for row in (
        MetricRow(
            "wasi_sockets.connection.active", "updown", "observed", "{connection}", "connections now",
            POINT_ATTRIBUTES,
        ),
        MetricRow(
            "wasi_sockets.connection.opened", "counter", "observed", "{connection}", "connections ever",
            POINT_ATTRIBUTES,
        ),
        MetricRow(
            "wasi_sockets.connection.refused", "counter", "observed", "{connection}", "connects without listener",
            POINT_ATTRIBUTES,
        ),
        MetricRow(
            "wasi_sockets.connection.reset", "counter", "observed", "{connection}", "connections that were reset",
            POINT_ATTRIBUTES,
        ),
        MetricRow(
            "wasi_sockets.connection.duration", "histogram", "recorded", "s", "how long connections lasted",
            (*POINT_ATTRIBUTES, "error.type"), _LONG,
        ),
        MetricRow(
            "wasi_sockets.network.io", "counter", "observed", "By", "bytes that were read over connections",
            (*POINT_ATTRIBUTES, "network.io.direction"),
        ),
        MetricRow("wasi_sockets.network.buffered", "updown", "observed", "By", "bytes not yet read", POINT_ATTRIBUTES),
        MetricRow(
            "wasi_sockets.listener.queue", "updown", "observed", "{connection}", "connections not yet accepted",
            POINT_ATTRIBUTES,
        ),
        MetricRow(
            "wasi_sockets.datagram.dropped", "counter", "observed", "{datagram}", "datagrams that got lost",
            (*POINT_ATTRIBUTES, "wasi_sockets.datagram.loss"),
        ),
        MetricRow(
            "wasi_sockets.policy.denials", "counter", "observed", "{denial}", "what the policy denied",
            (*POINT_ATTRIBUTES, "wasi_sockets.policy.use", "wasi_sockets.policy.reason"),
        ),
        MetricRow(
            "wasi_sockets.dns.lookups", "counter", "observed", "{lookup}", "names looked up", POINT_ATTRIBUTES,
        ),
        MetricRow("wasi_sockets.guest.active", "updown", "observed", "{guest}", "guests now"),
        MetricRow(
            "wasi_sockets.guest.memory", "updown", "observed", "By",
            "linear memory of guests, as far as they have moved bytes through their sockets",
        ),
        MetricRow(
            "wasi_sockets.guest.call.duration", "histogram", "recorded", "s", "how long calls of guests took",
            (*POINT_ATTRIBUTES, "error.type"), _LONG,
        ),
        MetricRow("wasi_sockets.guest.traps", "counter", "recorded", "{trap}", "guests that trapped", POINT_ATTRIBUTES),
        MetricRow(
            "wasi_sockets.guest.yields", "counter", "recorded", "{yield}",
            "times that a guest which only computed was made to let others run", POINT_ATTRIBUTES,
        ),
        MetricRow("wasi_sockets.guest.polls", "counter", "observed", "{poll}", "times that guests were let run"),
        MetricRow("wasi_sockets.guest.poll.time", "counter", "observed", "s", "how long guests ran, over all polls"),
        MetricRow(
            "wasi_sockets.guest.poll.duration", "histogram", "recorded", "s",
            "how long a guest kept the loop at a time, where that was a millisecond or more",
            POINT_ATTRIBUTES, _SLOW_POLLS,
        ),
        MetricRow(
            "wasi_sockets.host.calls", "counter", "observed", "{call}", "calls of guests that Python answered",
            _CALL,
        ),
        MetricRow(
            "wasi_sockets.kubernetes.refusals", "counter", "recorded", "{request}",
            "requests that the Kubernetes gateway refused itself",
            (*POINT_ATTRIBUTES, "wasi_sockets.service.name", "http.response.status_code"),
        ),
        MetricRow(
            "wasi_sockets.service.restarts", "counter", "recorded", "{restart}", "services started anew",
            (*POINT_ATTRIBUTES, "wasi_sockets.service.name"),
        ),
        MetricRow(
            "wasi_sockets.service.count", "updown", "observed", "{service}", "services now",
            (*POINT_ATTRIBUTES, "wasi_sockets.service.state"),
        ),
    )
}  # fmt: skip

EVENTS: Final[dict[str, EventRow]] = {
    row.name: row
    for row in (
        EventRow(
            "wasi_sockets.policy.denied", "both", "a policy denied something; each different denial is logged once",
            (*_DENIAL, "network.peer.address", "network.peer.port", "dns.question.name"),
        ),
        EventRow("wasi_sockets.connection.accepted", "span", "a connection left the queue of its listener", ()),
        EventRow("wasi_sockets.guest.output", "log", "a line that a guest wrote", ("log.iostream", *_WORKLOAD)),
        EventRow(
            "wasi_sockets.service.state", "log", "a service changed its state",
            ("wasi_sockets.service.name", "wasi_sockets.service.state", *_WORKLOAD),
        ),
    )
}  # fmt: skip
