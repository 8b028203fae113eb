"""What leads out of the guest's network, and into it: `--allow`, `--forward` and `--publish`."""

from __future__ import annotations

import argparse
import ipaddress
import logging
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Literal

import trio

from service._exits import FAILED, CommandError
from service._terminal import escaped, say, say_from_task
from wasi_sockets import Allow, Network, Policy, Rule

__all__ = [
    "ForwardOption",
    "PublishOption",
    "allow_option",
    "drained",
    "forward_option",
    "policy_of",
    "publish_option",
    "start",
    "warnings_told",
]

_DRAIN_STEP = 0.01
_TOLD_WITHIN = 1.0


class _Told(logging.Handler):
    """Says what the library logs, from a thread: a standard error that nobody reads must not stop the loop."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._queue: SimpleQueue[str | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._say_all, daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        self._queue.put(record.getMessage())

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join(_TOLD_WITHIN)
        super().close()

    def _say_all(self) -> None:
        while (message := self._queue.get()) is not None:
            say(escaped(message))


@contextmanager
def warnings_told() -> Iterator[None]:
    """Say the library's warnings on standard error: denials of the policy, connections outside that failed."""
    logger = logging.getLogger("wasi_sockets")
    handler = _Told()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


@dataclass(frozen=True, slots=True)
class PublishOption:
    """One `--publish`.

    Attributes:
        text: as it was given, for messages.
        port: of the guest's network, None for every one where somebody listens.
        host: real address.
        real_port: 0 for a free one.
        protocol: whose.
    """

    text: str
    port: int | None
    host: str = "127.0.0.1"
    real_port: int = 0
    protocol: Literal["tcp", "udp"] = "tcp"


@dataclass(frozen=True, slots=True)
class ForwardOption:
    """One `--forward`.

    Attributes:
        text: as it was given, for messages.
        host: address or name in the guest's network.
        port: there.
        to: real host and port.
        tls: whether TLS is spoken on the way.
        protocol: whose.
    """

    text: str
    host: str
    port: int
    to: tuple[str, int]
    tls: bool = False
    protocol: Literal["tcp", "udp"] = "tcp"


def publish_option(text: str) -> PublishOption:
    """Reads `[[HOST:]PORT:]VPORT[/udp]`, or `auto`.

    Raises:
        argparse.ArgumentTypeError: it is none of these; the message says what is wrong.
    """
    if text == "auto":
        return PublishOption(text, None)
    where, protocol = _protocol(text)
    rest, colon, inner = where.rpartition(":")
    port = _port(text, inner)
    if not colon:
        return PublishOption(text, port, real_port=port, protocol=protocol)
    host, colon, outer = rest.rpartition(":")
    real_port = _port(text, outer, least=0)
    if not colon:
        return PublishOption(text, port, real_port=real_port, protocol=protocol)
    return PublishOption(text, port, str(_address(text, host)), real_port, protocol)


def forward_option(text: str) -> ForwardOption:
    """Reads `[HOST:]VPORT=[tls:]HOST:PORT[/udp]`.

    Raises:
        argparse.ArgumentTypeError: it is none; the message says what is wrong.
    """
    what, protocol = _protocol(text)
    inner, equals, outer = what.partition("=")
    if not equals:
        raise _wrong(text, "expected [HOST:]VPORT=[tls:]HOST:PORT")
    tls = outer.startswith("tls:")
    if tls and protocol == "udp":
        raise _wrong(text, "TLS is spoken over TCP, not over UDP")
    host, _, inner_port = inner.rpartition(":")
    target, colon, outer_port = outer.removeprefix("tls:").rpartition(":")
    if not colon or not target:
        raise _wrong(text, f"{outer!r} is not HOST:PORT")
    if target.startswith("["):
        target = str(_address(text, target))
    return ForwardOption(
        text,
        host.removeprefix("[").removesuffix("]") or "127.0.0.1",
        _port(text, inner_port),
        (target, _port(text, outer_port)),
        tls,
        protocol,
    )


def allow_option(text: str) -> Rule:
    """Reads `[udp:]TARGET[:PORT[-PORT]]`; TARGET is a name, an address, a range of addresses, or `public`.

    Raises:
        argparse.ArgumentTypeError: it is none; the message says what is wrong.
    """
    udp = text.startswith("udp:")
    target = text.removeprefix("udp:")
    ports: range | None = None
    if target.startswith("["):
        inner, bracket, rest = target[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise _wrong(text, "an IPv6 address stands in brackets: [2001:db8::/32]:443")
        target, rest = inner, rest[1:]
    else:
        target, _, rest = target.partition(":")
        if ":" in rest:
            raise _wrong(text, "an IPv6 address stands in brackets: [2001:db8::/32]:443")
    if rest:
        first, dash, last = rest.partition("-")
        low = _port(text, first)
        ports = range(low, (_port(text, last) if dash else low) + 1)
    try:
        rule = (Allow.send if udp else Allow.connect)(target, ports=ports)
    except ValueError as error:
        raise _wrong(text, str(error)) from None
    # The policy keeps these inside whatever its rules say, so that the rule could never do anything.
    if "localhost" in rule.names or any(each.is_loopback or each.is_unspecified for each in rule.networks):
        raise _wrong(
            text,
            f"{target} is the guest's own network, and is never this machine's; use --forward, such as"
            f" --forward 8080=127.0.0.1:{rest if rest.isdecimal() else '8080'}{'/udp' if udp else ''}",
        )
    return rule


def policy_of(rules: Sequence[Rule]) -> Policy | None:
    """The policy of all `--allow`."""
    return Policy(rules) if rules else None


async def start(
    network: Network,
    nursery: trio.Nursery,
    publish: Sequence[PublishOption],
    forward: Sequence[ForwardOption],
) -> None:
    """Start everything that the options name, before the guest.

    Raises:
        CommandError: a port cannot be had.
    """
    if network.policy is not None:
        await nursery.start(network.egress)
    for there in forward:
        context = ssl.create_default_context() if there.tls else None
        bridge = partial(
            network.forward, there.port, there.to, host=there.host, protocol=there.protocol, tls=context
        )
        try:
            await nursery.start(bridge)
        except (OSError, ValueError) as error:
            raise _cannot("--forward", there.text, error) from error
    for here in publish:
        try:
            if here.port is None:
                await nursery.start(network.publish_all)
                continue
            address = await nursery.start(
                partial(
                    network.publish, here.port, host=here.host, port=here.real_port, protocol=here.protocol
                )
            )
        except (OSError, ValueError) as error:
            raise _cannot("--publish", here.text, error) from error
        if not here.real_port:
            await say_from_task(f"--publish {here.text}: at {address}")


async def drained(network: Network, seconds: float) -> None:
    """The guest has ended: wait until what it sent last has gone out, but not for long."""
    with trio.move_on_after(seconds):
        while _connected(network):  # noqa: ASYNC110  # nothing tells of the last connection
            await trio.sleep(_DRAIN_STEP)


def _connected(network: Network) -> bool:
    return any(record.remote is not None and record.protocol == "tcp" for record in network.sockets())


def _cannot(option: str, text: str, error: Exception) -> CommandError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if isinstance(error, socket.gaierror):
        reason = str(error)
    return CommandError(f"{option} {text}: {reason}", FAILED)


def _protocol(text: str) -> tuple[str, Literal["tcp", "udp"]]:
    if text.endswith("/udp"):
        return text.removesuffix("/udp"), "udp"
    return text.removesuffix("/tcp"), "tcp"


def _port(text: str, digits: str, least: int = 1) -> int:
    if not (digits.isascii() and digits.isdecimal()) or not least <= int(digits[:6]) <= 65535:
        raise _wrong(text, f"{digits!r} is no port ({least} to 65535)")
    return int(digits)


def _address(text: str, host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        raise _wrong(text, f"{host!r} is no IP address") from None
    if (address.version == 6) is not bracketed:
        raise _wrong(text, "an IPv6 address, and only that, stands in brackets: [::1]:80")
    return address


def _wrong(text: str, reason: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(escaped(f"{text!r}: {reason}"))
