"""Names of a private network: what the guests' lookups find.

One zone is reserved: names in it mean what the network says or nothing, and nobody else is ever asked for them.
Services are ``<service>.svc.<zone>``, and ``host.<zone>`` is the machine outside, as far as it is let in. (The
shape is wasmCloud's, `crates/wash-runtime/src/sockets/internal_names.rs`, whose zone can be an alias.)
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Final

from wasi_sockets.network._address import LOOPBACK, IpAddress, parse_ip

__all__ = ["DEFAULT_ZONE", "HOST_ADDRESS", "WASMCLOUD_ZONE", "NameTable", "canonical_name", "unknown_name"]

#: The reserved zone; ICANN has set it aside for private use.
DEFAULT_ZONE: Final = "internal"

#: wasmCloud's zone, for guests that were written for it: `Network(zone_aliases=[WASMCLOUD_ZONE])`.
WASMCLOUD_ZONE: Final = "wasmcloud.internal"

#: What ``host.internal`` means: nobody is there until somebody listens, and it can never be a real machine.
HOST_ADDRESS: Final = IPv4Address("127.255.255.254")

# Letters, digits, hyphens and underscores (as in SRV names), labels of 1 to 63:
# RFC 1035, 2.3.4, and RFC 2181, 11.
_NAME: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*\Z")


def canonical_name(name: str) -> str:
    """Lower case, without the root's dot, international names as their ASCII form.

    Raises:
        ValueError: if `name` is no host name.
    """
    text = name
    if not text.isascii():
        # The encoder's UnicodeError is a ValueError.
        text = text.encode("idna").decode("ascii")
    text = text.lower().removesuffix(".")
    if not _NAME.match(text):
        raise ValueError(f"not a host name: {name!r}")
    return text


def _in_zone(name: str, zone: str) -> bool:
    return name == zone or name.endswith(f".{zone}")


class NameTable:
    """Names and their addresses. ``localhost`` is always there, IPv4 first.

    Args:
        zone: the reserved zone.
        aliases: other names of it.

    Raises:
        ValueError: if one of them is no name.
    """

    __slots__ = ("_addresses", "_aliases", "_zone")

    def __init__(self, zone: str = DEFAULT_ZONE, aliases: Sequence[str] = ()) -> None:
        self._zone: Final = canonical_name(zone)
        # The longest first, since one may lie in another.
        self._aliases: Final = sorted(map(canonical_name, aliases), key=len, reverse=True)
        loopback = (LOOPBACK[4], LOOPBACK[6])
        self._addresses: Final[dict[str, tuple[IpAddress, ...]]] = {
            "localhost": loopback,
            f"host.{self._zone}": (HOST_ADDRESS,),
        }
        if WASMCLOUD_ZONE in self._aliases:
            # There a workload has one service, which needs no name of its own.
            self._addresses[f"service.{self._zone}"] = loopback

    def key(self, name: str) -> str:
        """The name under which `name` is kept: canonical, and in the zone instead of in an alias.

        Raises:
            ValueError: if `name` is no host name.
        """
        text = canonical_name(name)
        for alias in self._aliases:
            if _in_zone(text, alias):
                return text[: -len(alias)] + self._zone
        return text

    def service_name(self, service: str) -> str:
        """The full name of a service.

        Raises:
            ValueError: if it cannot be one.
        """
        return canonical_name(f"{service}.svc.{self._zone}")

    def is_reserved(self, key: str) -> bool:
        """Whether only the network may say what this means: its zone, and ``localhost`` (RFC 6761, 6.3)."""
        return _in_zone(key, self._zone) or _in_zone(key, "localhost")

    def add(self, name: str, addresses: tuple[IpAddress, ...]) -> None:
        """Let `name` mean `addresses`, in this order, and no longer what it meant before.

        Raises:
            ValueError: without an address, or if `name` is an IP literal or no host name.
        """
        if not addresses:
            raise ValueError(f"{name!r} needs at least one address")
        if parse_ip(name) is not None:
            raise ValueError(f"{name!r} is an address and cannot be a name")
        self._addresses[self.key(name)] = addresses

    def remove(self, name: str) -> None:
        """Forget `name`.

        Raises:
            KeyError: if it is not known.
        """
        del self._addresses[self.key(name)]

    def find(self, key: str) -> tuple[IpAddress, ...] | None:
        """The addresses of what `key` gave."""
        return self._addresses.get(key)

    def resolve(self, name: str) -> list[IpAddress]:
        """The addresses of a name or of an IP literal, at least one.

        Raises:
            socket.gaierror: EAI_NONAME if the name is not known, or is none.
        """
        literal = parse_ip(name)
        if literal is not None:
            return [literal]
        try:
            return list(self._addresses[self.key(name)])
        except (KeyError, ValueError):
            raise unknown_name(name) from None

    def names(self) -> dict[str, tuple[IpAddress, ...]]:
        """A copy of the whole table."""
        return dict(self._addresses)


def unknown_name(name: str) -> socket.gaierror:
    """The error for a name that is not known."""
    return socket.gaierror(socket.EAI_NONAME, f"name not known in this network: {name!r}")
