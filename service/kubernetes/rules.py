"""Who may ask what of the Kubernetes API: rules that allow, as data. What none allows is denied.

They stand before the API server's own, which judges the gateway's credentials, and has not heard of services.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Final

from service.kubernetes.paths import ApiRequest

__all__ = ["VERBS", "AccessRule", "allowed"]

#: What may stand in `AccessRule.verbs`, as in RBAC.
VERBS: Final = frozenset({"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRule:
    """One thing that is allowed. The words are those of RBAC's PolicyRule, and "*" stands for all.

    Attributes:
        services: which of the workload's services; there is no "*" here.
        verbs: "get", "list", "watch", "create", "update", "patch", "delete", "deletecollection".
        groups: API groups, "" being the core's.
        resources: "pods", or "pods/status" for a subresource. "*" is every resource but no subresource; "*/status" is
            that subresource of every one.
        namespaces: "" for what is in no namespace, and for lists over all namespaces; "*" is those too.
        names: of objects; empty for all. With names, a request that names no object is not allowed by this rule.
        paths: that are no resource, such as "/version"; "/openapi/*" for all below. Verbs are "get" for these.
    """

    services: tuple[str, ...]
    verbs: tuple[str, ...]
    groups: tuple[str, ...] = ("",)
    resources: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, str) or not all(isinstance(word, str) for word in value):
                raise TypeError(f"{each.name} must be a tuple of strings, such as ('pods',), not {value!r}")
        if not self.services or "*" in self.services or "" in self.services:
            raise ValueError("a rule names the services that it is for; there is no rule for all of them")
        unknown = [verb for verb in self.verbs if verb not in VERBS and verb != "*"]
        if unknown or not self.verbs:
            raise ValueError(
                f"verbs are some of {', '.join(sorted(VERBS))}, or '*', not {', '.join(unknown) or 'nothing'}"
            )
        if not self.resources and not self.paths:
            raise ValueError("a rule without resources and paths allows nothing: give one of them")
        if self.resources and not self.namespaces:
            raise ValueError(
                "say in which namespaces: ('default',), ('',) for what is in none, or ('*',) for all"
            )
        for path in self.paths:
            if not path.startswith("/"):
                raise ValueError(f"a path begins with '/', not as {path!r}")

    def allows(self, service: str, request: ApiRequest) -> bool:
        """Whether a request by a service falls under this rule."""
        if service not in self.services:
            return False
        if not request.resource:
            return self._allows_path(request)
        return (
            _any_of(self.verbs, request.verb)
            and _any_of(self.groups, request.group)
            and _any_of(self.namespaces, request.namespace)
            and self._allows_resource(request)
            and (not self.names or request.name in self.names)
        )

    def _allows_path(self, request: ApiRequest) -> bool:
        if request.verb not in ("get", "head") or not _any_of(self.verbs, "get"):
            return False
        return any(
            path == request.path or (path.endswith("/*") and request.path.startswith(path[:-1]))
            for path in self.paths
        )

    def _allows_resource(self, request: ApiRequest) -> bool:
        if not request.subresource:
            return _any_of(self.resources, request.resource)
        return (
            f"{request.resource}/{request.subresource}" in self.resources
            or f"*/{request.subresource}" in self.resources
        )


def _any_of(words: tuple[str, ...], word: str) -> bool:
    return "*" in words or word in words


def allowed(rules: Iterable[AccessRule], service: str, request: ApiRequest) -> bool:
    """Whether any rule allows it."""
    return any(rule.allows(service, request) for rule in rules)
