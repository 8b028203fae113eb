"""Which names may be looked up, as wasmtime decides it.

wasmtime (`crates/wasi/src/sockets/ip_name_lookup.rs`) gives the name to the host parser of the URL standard
(https://url.spec.whatwg.org/#host-parsing): it is percent-decoded, converted to lower-case ASCII
("punycode"), refused when it holds a character that no host has, and taken for an IPv4 address when its last
label is a number. Rules:

1. At most 253 bytes (RFC 1035), and not empty.
2. `[...]` holds an IPv6 address, and so does a name that is one without brackets.
3. A last label that is a number makes it an IPv4 address, in all of inet_aton's forms: `127.1`, `0x7f000001`.
   What then is no IPv4 address is invalid, never a name.
4. Anything else is a name, if no character of it is forbidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import unquote_to_bytes

__all__ = ["MAX_NAME_BYTES", "DomainName", "parse_host"]

MAX_NAME_BYTES = 253

# "Forbidden domain code point" of the URL standard.
_FORBIDDEN = frozenset("\x00\t\n\r #/:<>?@[\\]^|%\x7f") | frozenset(map(chr, range(0x20)))


@dataclass(frozen=True, slots=True)
class DomainName:
    """A valid name that is no address: lower-case ASCII, without the dot that may end an absolute name."""

    text: str


def parse_host(name: str) -> DomainName | IPv4Address | IPv6Address | None:
    """Return what `name` stands for, or `None` when it is invalid (`invalid-argument`)."""
    # Counted in characters first: a hostile name is not encoded only to be measured.
    if not name or len(name) > MAX_NAME_BYTES or len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES:
        return None
    if name.startswith("["):
        return _parse_ipv6(name[1:-1]) if name.endswith("]") else None
    domain = _to_ascii(name)
    if domain is None or not _FORBIDDEN.isdisjoint(domain):
        return _parse_ipv6(name)
    if _ends_in_a_number(domain):
        return _parse_ipv4(domain)
    return DomainName(domain.removesuffix("."))


def _parse_ipv6(text: str) -> IPv6Address | None:
    if "%" in text:  # Python takes a zone, wasmtime does not
        return None
    try:
        return IPv6Address(text)
    except AddressValueError:
        return None


def _to_ascii(name: str) -> str | None:
    try:
        decoded = unquote_to_bytes(name).decode("utf-8")
        if decoded.isascii():
            return decoded.lower() or None
        return decoded.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return None


def _ends_in_a_number(domain: str) -> bool:
    last = domain.removesuffix(".").rpartition(".")[2]
    return last.isdigit() or _number(last) is not None


def _number(text: str) -> int | None:
    """An IPv4 part in the URL standard: decimal, octal after `0`, hexadecimal after `0x`."""
    if not text.isalnum():  # int() would also take signs, spaces and underscores
        return None
    digits, base = text, 10
    if text[:2] in ("0x", "0X"):
        digits, base = text[2:], 16
    elif len(text) > 1 and text[0] == "0":
        digits, base = text[1:], 8
    if not digits:
        return 0
    try:
        return int(digits, base)
    except ValueError:
        return None


def _parse_ipv4(domain: str) -> IPv4Address | None:
    parts = [_number(part) for part in domain.removesuffix(".").split(".")]
    if len(parts) > 4:
        return None
    value = 0
    for position, part in enumerate(parts[:-1]):
        if part is None or part > 255:
            return None
        value |= part << (24 - 8 * position)
    last = parts[-1]
    if last is None or last >= 256 ** (5 - len(parts)):
        return None
    return IPv4Address(value | last)
