"""The interfaces that the stock host is expected to define, each with one thing in it that shows so."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["SURFACE"]

SURFACE: Final[Mapping[str, str]] = MappingProxyType({
    "wasi:cli/environment": "get-environment",
    "wasi:cli/exit": "exit",
    "wasi:cli/stderr": "get-stderr",
    "wasi:cli/stdin": "get-stdin",
    "wasi:cli/stdout": "get-stdout",
    "wasi:cli/terminal-input": "terminal-input",
    "wasi:cli/terminal-output": "terminal-output",
    "wasi:cli/terminal-stderr": "get-terminal-stderr",
    "wasi:cli/terminal-stdin": "get-terminal-stdin",
    "wasi:cli/terminal-stdout": "get-terminal-stdout",
    "wasi:clocks/monotonic-clock": "now",
    "wasi:clocks/wall-clock": "now",
    "wasi:filesystem/preopens": "get-directories",
    "wasi:filesystem/types": "descriptor",
    "wasi:http/outgoing-handler": "handle",
    "wasi:http/types": "fields",
    "wasi:io/error": "error",
    "wasi:io/poll": "pollable",
    "wasi:io/streams": "input-stream",
    "wasi:random/insecure": "get-insecure-random-bytes",
    "wasi:random/insecure-seed": "insecure-seed",
    "wasi:random/random": "get-random-bytes",
    "wasi:sockets/instance-network": "instance-network",
    "wasi:sockets/ip-name-lookup": "resolve-addresses",
    "wasi:sockets/network": "network",
    "wasi:sockets/tcp": "tcp-socket",
    "wasi:sockets/tcp-create-socket": "create-tcp-socket",
    "wasi:sockets/udp": "udp-socket",
    "wasi:sockets/udp-create-socket": "create-udp-socket",
})  # fmt: skip
"""Interface of WASI 0.2, without its version -> a function or resource of it."""
