"""What Python objects that are to serve must be like, as far as that can be seen without calling them."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable
from typing import Any

__all__ = ["asgi_problem", "handler_problem", "task_problem"]


def handler_problem(target: Any, module: str, path: str) -> str:
    """Why an object cannot handle connections; "" if it may.

    Args:
        target: the object.
        module: what it was imported from; "" for one that was given by itself.
        path: its name there.
    """
    asgi = f"asgi:{module}:{path}" if module else "an `AsgiCode`"
    if inspect.isfunction(target) and not _may_be_awaited(target):
        return f"{path} is not an async function; write 'async def {path}(stream)', or {asgi} for an ASGI application"
    signature = _signature(target)
    if signature is None or _takes(signature, 1):
        return ""
    hint = f"; did you mean {asgi}?" if _takes(signature, 3) else ""
    return f"{path}{signature} cannot be called with one argument, the stream{hint}"


def asgi_problem(target: Any, module: str, path: str) -> str:
    """Why an object cannot be an ASGI 3 application; "" if it may. Arguments as for `handler_problem`.

    The rule is the specification's: ``await app(scope, receive, send)`` (asgi.readthedocs.io, "Applications"). That of
    ASGI 2, with one parameter, is not what Hypercorn serves.
    """
    signature = _signature(target)
    if signature is None or _takes(signature, 3):
        if inspect.isfunction(target) and not _may_be_awaited(target):
            return f"{path} is not an async function; write 'async def {path}(scope, receive, send)'"
        return ""
    handler = f"handler:{module}:{path}" if module else "a `HandlerCode`"
    hint = (
        f"; did you mean {handler}?" if inspect.iscoroutinefunction(target) and _takes(signature, 1) else ""
    )
    return (
        f"{path}{signature} cannot be called with scope, receive and send, as an ASGI 3 application is{hint}"
    )


def task_problem(target: Any, path: str) -> str:
    """Why an object cannot be a service's task; "" if it may. Arguments as for `handler_problem`."""
    if inspect.isfunction(target) and not _may_be_awaited(target):
        return f"{path} is not an async function; write 'async def {path}(network)'"
    signature = _signature(target)
    if signature is None or _takes(signature, 1) or _takes(signature, 1, "task_status"):
        return ""
    return f"{path}{signature} cannot be called with one argument, the network"


def _signature(target: Any) -> inspect.Signature | None:
    try:
        told = inspect.signature(target)
    except (TypeError, ValueError):  # not every callable tells
        return None
    # For messages, in which annotations are noise.
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in told.parameters.values()]
    return told.replace(parameters=bare, return_annotation=inspect.Signature.empty)


def _takes(signature: inspect.Signature, count: int, *keywords: str) -> bool:
    try:
        signature.bind(*range(count), **dict.fromkeys(keywords))
    except TypeError:
        return False
    return True


def _may_be_awaited(function: Callable[..., Any]) -> bool:
    """Whether a call can give something to await: only a plain function that returns nothing at all cannot."""
    if inspect.iscoroutinefunction(function):
        return True
    if inspect.isasyncgenfunction(function):
        return False
    if inspect.isgeneratorfunction(function):
        return bool(function.__code__.co_flags & inspect.CO_ITERABLE_COROUTINE)
    return _returns_something(function)


def _returns_something(function: Callable[..., Any]) -> bool:
    before: dis.Instruction | None = None
    for each in dis.get_instructions(function):
        if each.opname == "RETURN_CONST" and each.argval is not None:
            return True
        if each.opname == "RETURN_VALUE":
            nothing = before is not None and before.opname == "LOAD_CONST" and before.argval is None
            if not nothing:
                return True
        before = each
    return False
