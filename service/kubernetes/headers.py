"""Which header fields pass the gateway, either way."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

__all__ = ["RefusedHeaders", "request_fields", "response_fields"]

Field: TypeAlias = tuple[bytes, bytes]

#: Of one connection only: RFC 9110, section 7.6.1.
_HOP_BY_HOP: Final = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding"),
        *(b"upgrade", b"proxy-authenticate", b"proxy-authorization"),
    }
)

#: What a request to the Kubernetes API may say. Who somebody is, or says to be, is the gateway's business, and which
#: fields a front proxy or an API server believes is a matter of their settings: so this is what passes, and no more.
_PASSED: Final = frozenset(
    {
        *(
            b"accept",
            b"accept-encoding",
            b"content-encoding",
            b"content-length",
            b"content-type",
            b"user-agent",
        ),
        *(b"cache-control", b"if-match", b"if-modified-since", b"if-none-match", b"if-unmodified-since"),
        *(b"baggage", b"traceparent", b"tracestate"),
    }
)


class RefusedHeaders(ValueError):
    """Header fields that two readers could understand in two ways, or that ask for another protocol.

    Attributes:
        code: HTTP's for the answer.
    """

    def __init__(self, message: str, code: int = 400) -> None:
        super().__init__(message)
        self.code: Final = code


def request_fields(fields: Iterable[Field]) -> list[Field]:
    """What of a guest's fields goes to the API server; its framing comes along.

    Args:
        fields: names in lower case.

    Raises:
        RefusedHeaders: with the code for the answer.
    """
    given = list(fields)
    names = [name for name, _ in given]
    if b"upgrade" in names or any(b"upgrade" in tokens for tokens in _connection_tokens(given)):
        raise RefusedHeaders("other protocols (Upgrade) do not pass here", 403)
    if any(b"_" in name for name in names):
        # Some servers take "_" for "-": Impersonate_User.
        raise RefusedHeaders("names of header fields with '_' do not pass here")
    chunked = b"transfer-encoding" in names
    if names.count(b"content-length") + names.count(b"transfer-encoding") > 1:
        raise RefusedHeaders("the length of the body is given more than once")
    passed = _without_hops(given)
    passed = [(name, value) for name, value in passed if name in _PASSED]
    return [*passed, (b"transfer-encoding", b"chunked")] if chunked else passed


def response_fields(fields: Iterable[Field]) -> list[Field]:
    """What of the API server's fields goes to the guest.

    Args:
        fields: names in any case.
    """
    lowered = [(name.lower(), value) for name, value in fields]
    return [(name, value) for name, value in _without_hops(lowered) if name != b"set-cookie"]


def _connection_tokens(fields: list[Field]) -> list[set[bytes]]:
    return [
        {token.strip().lower() for token in value.split(b",")}
        for name, value in fields
        if name in (b"connection", b"proxy-connection")
    ]


def _without_hops(fields: list[Field]) -> list[Field]:
    # A length is no field of one hop, whoever says so: dropping it would change where the body ends.
    named = set().union(*_connection_tokens(fields)) - {b"content-length", b"host"}
    return [(name, value) for name, value in fields if name not in _HOP_BY_HOP and name not in named]
