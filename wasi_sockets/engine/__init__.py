"""Guests as trio tasks on the PyPI package `wasmtime`."""

from __future__ import annotations

from wasi_sockets.engine.driver import Guest, instantiate
from wasi_sockets.engine.engines import config, engine_settings
from wasi_sockets.engine.limits import GuestLimits
from wasi_sockets.engine.linker import add_to_linker
from wasi_sockets.engine.tracing import TracedGuest

__all__ = ["Guest", "GuestLimits", "TracedGuest", "add_to_linker", "config", "engine_settings", "instantiate"]
