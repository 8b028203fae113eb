"""What a request asks of the Kubernetes API, read from its method and target alone.

As the API server does it (`RequestInfoFactory` in k8s.io/apiserver/pkg/endpoints/request/requestinfo.go), but
stricter: a target that could be read in two ways is refused, and what goes to the API server is written anew from what
was read, so that the rules judge exactly what arrives there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote

__all__ = ["METHODS", "ApiRequest", "RefusedTarget", "read_target"]

#: The methods that mean something to the API.
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})

#: Subresources that open a channel into a container, a node or a service behind the API server: never, by no rule.
_CHANNELS: Final = frozenset({"exec", "attach", "portforward", "proxy"})

#: Subresources of `namespaces`; what else follows a namespace's name is a resource in it.
_OF_NAMESPACES: Final = frozenset({"status", "finalize"})

_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_WORD: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?")
_UNESCAPED: Final = "-._~!$&'()*+,;=:@"
_LONGEST: Final = 8192

_VERBS: Final = {
    "GET": ("list", "get"),
    "HEAD": ("list", "get"),
    "POST": ("create", "create"),
    "PUT": ("update", "update"),
    "PATCH": ("patch", "patch"),
    "DELETE": ("deletecollection", "delete"),
}


class RefusedTarget(ValueError):
    """A method or target that is never passed on, whatever the rules say.

    Attributes:
        code: HTTP's for the answer.
    """

    def __init__(self, message: str, code: int = 400) -> None:
        super().__init__(message)
        self.code: Final = code


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """What is asked.

    Attributes:
        verb: "get", "list", "watch", "create", "update", "patch", "delete" or "deletecollection"; of paths that are no
            resource the method in lower case.
        path: written anew, without the query.
        query: as it came, without the question mark.
        group: "" for the core group.
        version: such as "v1"; "" for paths that are no resource.
        namespace: "" for what has none, or all of them.
        resource: in the plural; "" for paths that are no resource, such as "/version".
        subresource: such as "status"; "" for none.
        name: of the object; "" for a collection.
    """

    verb: str
    path: str
    query: str
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""

    @property
    def target(self) -> str:
        """What goes to the API server."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def endless(self) -> bool:
        """Whether the answer may stay quiet for as long as it likes: a watch, or a log that is followed."""
        return self.verb == "watch" or self.subresource == "log"

    def __str__(self) -> str:
        """For logs and messages: verb, resource and place, in printable ASCII, never the query."""
        if not self.resource:
            return f"{self.verb} {self.path}"
        what = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        group = f".{self.group}" if self.group else ""
        name = f" {quote(self.name, safe=_UNESCAPED)}" if self.name else ""
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {what}{group}{name}{where}"


def read_target(method: str, target: str) -> ApiRequest:
    """Reads a request line.

    Args:
        method: in capitals.
        target: the request target of RFC 9112, section 3.2; only the origin form is taken.

    Raises:
        RefusedTarget: it is of another form, could be read in two ways, or asks for a channel.
    """
    if method not in METHODS:
        raise RefusedTarget(f"the method {method[:20]!a} is not one of the Kubernetes API", 405)
    if len(target) > _LONGEST:
        raise RefusedTarget(f"the target is longer than {_LONGEST} characters", 414)
    if not target.startswith("/"):
        raise RefusedTarget("the target must be a path: this is no proxy for other hosts")
    if any(not "!" <= each <= "~" for each in target) or "\\" in target or "#" in target:
        raise RefusedTarget("the target has characters that no URL has")
    path, mark, query = target.partition("?")
    segments = _segments(path)
    _check_query(query)
    if mark and not query:
        query = ""
    return _read(method, segments, query)


def _segments(path: str) -> list[str]:
    if _BROKEN_ESCAPE.search(path):
        raise RefusedTarget("the path has a '%' without two hexadecimal digits")
    raw = path[1:].split("/")
    if raw[-1] == "":
        raw.pop()
    return [_segment(each) for each in raw]


def _segment(raw: str) -> str:
    text = _unescape(raw)
    if text in ("", ".", ".."):
        raise RefusedTarget("the path has an empty segment, '.' or '..'")
    if any(each in "/\\%?#;" or each < "!" or each == "\x7f" for each in text):
        raise RefusedTarget(
            "the path has an encoded slash, percent sign, semicolon, space or control character"
        )
    return text


def _unescape(raw: str) -> str:
    octets = bytearray()
    position = 0
    while position < len(raw):
        if raw[position] == "%":
            octets.append(int(raw[position + 1 : position + 3], 16))
            position += 3
        else:
            octets.append(ord(raw[position]))
            position += 1
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise RefusedTarget("the path is not UTF-8") from None


def _check_query(query: str) -> None:
    # Go up to 1.16 splits at ";" as well, later ones do not: a parameter must not hide behind one.
    if ";" in query or _BROKEN_ESCAPE.search(query):
        raise RefusedTarget("the query has a ';' or a '%' without two hexadecimal digits")


def _watches(query: str) -> bool:
    # The API server looks at the first of them only; of two, one could be meant for the eyes of this gateway.
    values = [value for name, value in parse_qsl(query, keep_blank_values=True) if name == "watch"]
    if len(values) > 1:
        raise RefusedTarget("the query has 'watch' more than once")
    return bool(values) and values[0].lower() not in ("false", "0")


def _read(method: str, segments: list[str], query: str) -> ApiRequest:
    path = "/" + "/".join(quote(each, safe=_UNESCAPED) for each in segments)
    plain = ApiRequest(method.lower(), path, query)
    if not segments or segments[0] not in ("api", "apis"):
        return plain
    head = 2 if segments[0] == "api" else 3
    if len(segments) <= head:
        return plain  # discovery
    group = segments[1] if head == 3 else ""
    version, rest = segments[head - 1], segments[head:]
    if rest[0] in ("watch", "proxy"):
        raise RefusedTarget(
            "paths with /watch/ and /proxy/ are those of old versions: use ?watch=1; there is no proxy", 403
        )
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in _OF_NAMESPACES:
            rest = rest[2:]
    resource, name, subresource = (*rest, "", "")[:3]
    if subresource in _CHANNELS or not _CHANNELS.isdisjoint(rest[3:]):
        raise RefusedTarget(f"the subresource {resource}/{subresource} is not available through here", 403)
    if len(rest) > 3:
        raise RefusedTarget("the path has more parts than a resource, a name and a subresource", 404)
    for word in filter(None, (group, version, namespace, resource, subresource)):
        if _WORD.fullmatch(word) is None:
            raise RefusedTarget("a group, version, namespace or resource has characters that none has")
    whole, single = _VERBS[method]
    verb = single if name else whole
    if verb == "list" and _watches(query):
        verb = "watch"
    return ApiRequest(verb, path, query, group, version, namespace, resource, subresource, name)
