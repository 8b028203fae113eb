"""Refusals as the Kubernetes API says them: objects of kind `Status`, which every client understands."""

from __future__ import annotations

import json
from typing import Any, Final

from service.kubernetes.paths import ApiRequest

__all__ = ["status_body"]

# k8s.io/apimachinery/pkg/apis/meta/v1/types.go, StatusReason.
_REASONS: Final = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    413: "RequestEntityTooLarge",
    429: "TooManyRequests",
    503: "ServiceUnavailable",
    504: "Timeout",
}


def status_body(
    code: int, message: str, request: ApiRequest | None = None, retry_after: int | None = None
) -> bytes:
    """A `Status` for a failure, as JSON.

    Args:
        code: HTTP's.
        message: for people.
        request: what it is about.
        retry_after: seconds.
    """
    status: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": _REASONS.get(code, ""),
        "code": code,
    }
    details: dict[str, Any] = {}
    if request is not None and request.resource:
        about = {"name": request.name, "group": request.group, "kind": request.resource}
        details = {key: value for key, value in about.items() if value}
    if retry_after is not None:
        details["retryAfterSeconds"] = retry_after
    if details:
        status["details"] = details
    return json.dumps(status).encode() + b"\n"
