"""How what leads out of a guest's network and into it is written: `--allow`, `--forward` and `--publish`.

Workload files (`service.files`) use the same notations.
"""

from __future__ import annotations

import argparse
import ipaddress
import re
from dataclasses import dataclass
from typing import Final, Literal

from service._terminal import escaped
from wasi_sockets import Allow, Rule

__all__ = [
    "ForwardOption",
    "PublishOption",
    "address_of",
    "allow_option",
    "forward_option",
    "port_of",
    "publish_option",
    "wrong",
]


_SCHEME: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_SCHEME_PORTS: Final = {"http": "80", "ws": "80", "https": "443", "wss": "443"}
_PORT_AT_END: Final = re.compile(r":\d+$")
#: A range of addresses, the one thing with a slash.
_RANGE: Final = re.compile(r"^(udp:)?\[?[0-9a-fA-F.:]+/[0-9.]+(\]|:|$)")


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
    port = port_of(text, inner)
    if not colon:
        return PublishOption(text, port, real_port=port, protocol=protocol)
    host, colon, outer = rest.rpartition(":")
    real_port = port_of(text, outer, least=0)
    if not colon:
        return PublishOption(text, port, real_port=real_port, protocol=protocol)
    return PublishOption(text, port, str(address_of(text, host)), real_port, protocol)


def forward_option(text: str) -> ForwardOption:
    """Reads `[HOST:]VPORT=[tls:]HOST:PORT[/udp]`.

    Raises:
        argparse.ArgumentTypeError: it is none; the message says what is wrong.
    """
    what, protocol = _protocol(text)
    inner, equals, outer = what.partition("=")
    if not equals:
        raise wrong(text, "expected [HOST:]VPORT=[tls:]HOST:PORT")
    tls = outer.startswith("tls:")
    if tls and protocol == "udp":
        raise wrong(text, "TLS is spoken over TCP, not over UDP")
    host, _, inner_port = inner.rpartition(":")
    target, colon, outer_port = outer.removeprefix("tls:").rpartition(":")
    if not colon or not target:
        raise wrong(text, f"{outer!r} is not HOST:PORT")
    if target.startswith("["):
        target = str(address_of(text, target))
    try:
        what.encode()
    except UnicodeEncodeError:
        raise wrong(text, "names of hosts are text") from None
    return ForwardOption(
        text,
        host.removeprefix("[").removesuffix("]") or "127.0.0.1",
        port_of(text, inner_port),
        (target, port_of(text, outer_port)),
        tls,
        protocol,
    )


def allow_option(text: str) -> Rule:
    """Reads `[udp:]TARGET[:PORT[-PORT]]`; TARGET is a name, an address, a range of addresses, or `public`.

    Raises:
        argparse.ArgumentTypeError: it is none; the message says what is wrong.
    """
    udp = text.startswith("udp:")
    if _SCHEME.match(text) or (text.count("/") and not _RANGE.search(text)):
        raise wrong(text, f"a rule has no scheme and no path: write {_without_scheme_and_path(text)}")
    target = text.removeprefix("udp:")
    ports: range | None = None
    if target.startswith("["):
        inner, bracket, rest = target[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise wrong(text, "an IPv6 address stands in brackets: [2001:db8::/32]:443")
        target, rest = inner, rest[1:]
    else:
        target, _, rest = target.partition(":")
        if ":" in rest:
            raise wrong(text, "an IPv6 address stands in brackets: [2001:db8::/32]:443")
    if rest:
        first, dash, last = rest.partition("-")
        low = port_of(text, first)
        ports = range(low, (port_of(text, last) if dash else low) + 1)
    try:
        rule = (Allow.send if udp else Allow.connect)(target, ports=ports)
    except ValueError as error:
        raise wrong(text, str(error)) from None
    # The policy keeps these inside whatever its rules say, so that the rule could never do anything.
    if "localhost" in rule.names or any(each.is_loopback or each.is_unspecified for each in rule.networks):
        raise wrong(
            text,
            f"{target} is the guest's own network, and is never this machine's; use --forward (in a workload file:"
            f" forward), such as --forward 8080=127.0.0.1:{rest if rest.isdecimal() else '8080'}"
            f"{'/udp' if udp else ''}",
        )
    return rule


def _without_scheme_and_path(text: str) -> str:
    scheme, separator, rest = text.partition("://") if "://" in text else ("", "", text)
    place = rest.lstrip("/").partition("/")[0].rpartition("@")[2] or "example.com"
    port = _SCHEME_PORTS.get(scheme.lower(), "")
    return f"{place}:{port}" if separator and port and not _PORT_AT_END.search(place) else place


def _protocol(text: str) -> tuple[str, Literal["tcp", "udp"]]:
    if text.endswith("/udp"):
        return text.removesuffix("/udp"), "udp"
    return text.removesuffix("/tcp"), "tcp"


def port_of(text: str, digits: str, least: int = 1) -> int:
    """The port that digits say; `text` is the whole option, for the message of an `argparse.ArgumentTypeError`."""
    if not (digits.isascii() and digits.isdecimal()) or not least <= int(digits[:6]) <= 65535:
        raise wrong(text, f"{digits!r} is no port ({least} to 65535)")
    return int(digits)


def address_of(text: str, host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address that a host is, IPv6 in brackets; `text` as for `port_of`."""
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        raise wrong(text, f"{host!r} is no IP address") from None
    if (address.version == 6) is not bracketed:
        raise wrong(text, "an IPv6 address, and only that, stands in brackets: [::1]:80")
    return address


def wrong(text: str, reason: str) -> argparse.ArgumentTypeError:
    """What to raise for an option that says something that cannot be meant."""
    return argparse.ArgumentTypeError(escaped(f"{text!r}: {reason}"))
