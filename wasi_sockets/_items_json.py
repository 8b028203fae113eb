"""The item table as JSON, so that it can lie beside the compiled code of its guest."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from wasi_sockets.component import types
from wasi_sockets.interposer import Item

__all__ = ["items_from_json", "items_to_json"]

_TYPES = {
    cls.__name__: cls
    for cls in (
        types.Borrow,
        types.Enum,
        types.FixedList,
        types.Flags,
        types.FunctionType,
        types.Future,
        types.List,
        types.Map,
        types.Option,
        types.Own,
        types.Record,
        types.Result,
        types.Stream,
        types.Tuple,
        types.Variant,
    )
}


def _pack(value: Any) -> Any:
    """Tuples become lists, types become objects with one key, their name. Guest-defined resources have a number."""
    if isinstance(value, tuple):
        return [_pack(each) for each in value]
    if isinstance(value, types.ResourceType):
        if value.identity is not None:
            raise ValueError("a function of the host mentions a resource of the guest's own")
        return {"resource": [value.interface, value.name]}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            type(value).__name__: [
                _pack(getattr(value, each.name)) for each in dataclasses.fields(value) if each.init
            ]
        }
    return value


def _unpack(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_unpack(each) for each in value)
    if isinstance(value, dict):
        [(name, parts)] = value.items()
        if name == "resource":
            return types.ResourceType(*parts)
        return _TYPES[name](*(_unpack(part) for part in parts))
    return value


def items_to_json(items: tuple[Item, ...]) -> str:
    """The table as text."""
    names = [each.name for each in dataclasses.fields(Item)]
    return json.dumps(
        [[_pack(getattr(item, name)) for name in names] for item in items], separators=(",", ":")
    )


def items_from_json(text: str) -> tuple[Item, ...]:
    """The table from text.

    Raises:
        ValueError: the text is not what `items_to_json` writes.
    """
    try:
        rows = json.loads(text)
        if not isinstance(rows, list):
            raise TypeError("no list")
        return tuple(Item(*(_unpack(value) for value in row)) for row in rows)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not a table of items: {error!r}") from error
