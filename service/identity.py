"""Who a connection is of: the service's name goes with the context in which its sockets are opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from wasi_sockets.network import TcpConnection

__all__ = ["acting_as", "service_of"]

_service: Final[ContextVar[str]] = ContextVar("wasi_sockets.service")


@contextmanager
def acting_as(service: str) -> Iterator[None]:
    """What is connected within is of a service; so is what guests and tasks connect that are started within.

    Whoever starts services does it. A guest cannot: it has the context of the task that it was started in.

    Args:
        service: its name.
    """
    before = _service.set(service)
    try:
        yield
    finally:
        _service.reset(before)


def service_of(connection: TcpConnection) -> str | None:
    """The service that opened a connection, seen from either end; None when nobody said so."""
    return connection.opener_context.get(_service)
