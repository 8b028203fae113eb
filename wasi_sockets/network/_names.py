"""Names of a private network: what the guests' lookups find."""

from __future__ import annotations

import re
import socket
from typing import Final

from wasi_sockets.network._address import LOOPBACK, IpAddress, parse_ip

__all__ = ["NameTable", "canonical_name"]

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


class NameTable:
    """Names and their addresses. ``localhost`` is always there, IPv4 first."""

    __slots__ = ("_addresses",)

    def __init__(self) -> None:
        self._addresses: Final[dict[str, tuple[IpAddress, ...]]] = {
            "localhost": (LOOPBACK[4], LOOPBACK[6]),
        }

    def add(self, name: str, addresses: tuple[IpAddress, ...]) -> None:
        """Let `name` mean `addresses`, in this order, and no longer what it meant before.

        Raises:
            ValueError: without an address, or if `name` is an IP literal or no host name.
        """
        if not addresses:
            raise ValueError(f"{name!r} needs at least one address")
        if parse_ip(name) is not None:
            raise ValueError(f"{name!r} is an address and cannot be a name")
        self._addresses[canonical_name(name)] = addresses

    def remove(self, name: str) -> None:
        """Forget `name`.

        Raises:
            KeyError: if it is not known.
        """
        del self._addresses[canonical_name(name)]

    def resolve(self, name: str) -> list[IpAddress]:
        """The addresses of a name or of an IP literal, at least one.

        Raises:
            socket.gaierror: EAI_NONAME if the name is not known, or is none.
        """
        literal = parse_ip(name)
        if literal is not None:
            return [literal]
        try:
            return list(self._addresses[canonical_name(name)])
        except (KeyError, ValueError):
            raise socket.gaierror(socket.EAI_NONAME, f"name not known in this network: {name!r}") from None

    def names(self) -> dict[str, tuple[IpAddress, ...]]:
        """A copy of the whole table."""
        return dict(self._addresses)
