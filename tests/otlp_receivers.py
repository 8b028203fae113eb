"""Receivers of OTLP for tests: by gRPC, by HTTP, and npm's `@elastic/mockotlpserver`, which others made."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

__all__ = ["Received", "grpc_receiver", "http_receiver"]


class Received:
    """What arrived, as protobuf messages.

    Attributes:
        endpoint: for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    """

    def __init__(self) -> None:
        self.endpoint = ""
        self.resources: list[Any] = []
        self.spans: list[Any] = []
        self.metrics: dict[str, Any] = {}
        self.records: list[Any] = []
        self.scopes: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def take(self, request: Any) -> None:
        """One request of any of the three signals."""
        with self._lock:
            for field in ("resource_spans", "resource_metrics", "resource_logs"):
                for resource in getattr(request, field, ()):
                    self.resources.append(resource.resource)
                    for scope in getattr(resource, field.replace("resource", "scope")):
                        self._take_scope(scope)

    def _take_scope(self, scope: Any) -> None:
        self.scopes.add((scope.scope.name, scope.scope.version))
        self.spans += getattr(scope, "spans", ())
        self.records += getattr(scope, "log_records", ())
        for metric in getattr(scope, "metrics", ()):
            self.metrics[metric.name] = metric


class _Servicer:
    def __init__(self, received: Received, answer: Any) -> None:
        self._received = received
        self._answer = answer

    def Export(self, request: Any, context: Any) -> Any:  # gRPC's own name
        self._received.take(request)
        return self._answer()


@contextmanager
def grpc_receiver() -> Iterator[Received]:
    """A receiver by OTLP/gRPC."""
    received = Received()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(
        _Servicer(received, trace_service_pb2.ExportTraceServiceResponse), server
    )
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(
        _Servicer(received, metrics_service_pb2.ExportMetricsServiceResponse), server
    )
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(
        _Servicer(received, logs_service_pb2.ExportLogsServiceResponse), server
    )
    received.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield received
    finally:
        server.stop(None).wait()


_REQUESTS = {
    "/v1/traces": trace_service_pb2.ExportTraceServiceRequest,
    "/v1/metrics": metrics_service_pb2.ExportMetricsServiceRequest,
    "/v1/logs": logs_service_pb2.ExportLogsServiceRequest,
}


@contextmanager
def http_receiver() -> Iterator[Received]:
    """A receiver by OTLP/HTTP with protobuf."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the base class's own name
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers["content-encoding"] == "gzip":
                body = gzip.decompress(body)
            received.take(_REQUESTS[self.path].FromString(body))
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    received.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
