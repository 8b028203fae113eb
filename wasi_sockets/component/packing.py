"""Results without pointers in one `struct.pack`: what nearly every function of a host gives.

`lowering.py` can do all types with a buffer and a function call for each part. For a `result` whose cases are
handles, numbers, enums and tuples of them there is a format for each case, and the source that fills it is generated.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, TypeAlias

from wasi_sockets.component.layout import fields_of, layout, payload_offset, wraps_ok
from wasi_sockets.component.types import Borrow, Enum, Own, Record, Result, Tuple, Type
from wasi_sockets.component.values import Err

__all__ = ["Packer", "packer"]

Packer: TypeAlias = Callable[[Any, Any], bytes]
"""From a value and the guest to the bytes of the value."""

_FORMATS = {
    "u8": "B", "s8": "b", "u16": "H", "s16": "h", "u32": "I", "s32": "i",
    "u64": "Q", "s64": "q", "f32": "f", "f64": "d",
}  # fmt: skip


class _Case:
    """The format of one case and the expressions that fill it, out of `value` and names in `namespace`."""

    def __init__(self, discriminant: int, namespace: dict[str, Any]) -> None:
        self.format = "<B"
        self.expressions = [str(discriminant)]
        self.end = 1
        self.namespace = namespace

    def add(self, valtype: Type, at: int, value: str) -> bool:
        """Whether a part of this type at this offset can be packed."""
        if isinstance(valtype, str):
            if valtype == "bool":
                return self.field("B", at, f"(1 if {value} else 0)")
            return valtype in _FORMATS and self.field(_FORMATS[valtype], at, value)
        if isinstance(valtype, Own | Borrow):
            return self.field("I", at, f"access.lower_handle({self.name(valtype)}, {value})")
        if isinstance(valtype, Enum):
            if len(valtype.names) > 256:
                return False
            numbers = {name: number for number, name in enumerate(valtype.names)}
            return self.field("B", at, f"{self.name(numbers)}[{value}]")
        if isinstance(valtype, Tuple | Record):
            keys = (
                range(len(valtype.items))
                if isinstance(valtype, Tuple)
                else [name for name, _ in valtype.fields]
            )
            self.namespace.setdefault("exactly", _exactly)
            value = f"exactly({value}, {len(keys)})" if not value.isidentifier() else value
            offset = at
            for key, part in zip(keys, fields_of(valtype), strict=True):
                size, alignment = layout(part)
                offset = -(-offset // alignment) * alignment
                if not self.add(part, offset, f"{value}[{key!r}]"):
                    return False
                offset += size
            return True
        return False

    def field(self, code: str, at: int, expression: str) -> bool:
        self.format += f"{at - self.end}x{code}" if at > self.end else code
        self.end = at + struct.calcsize(f"<{code}")
        self.expressions.append(expression)
        return True

    def name(self, thing: object) -> str:
        name = f"c{len(self.namespace)}"
        self.namespace[name] = thing
        return name


def _exactly(value: Any, count: int) -> Any:
    if len(value) != count:
        raise ValueError(f"{count} fields are wanted, {len(value)} given")
    return value


def packer(valtype: Type | None) -> Packer | None:
    """The generated packer of a `result` type; None for all other types, and for results that it cannot do."""
    if not isinstance(valtype, Result) or wraps_ok(valtype):
        return None
    namespace: dict[str, Any] = {"Err": Err}
    bodies: list[str] = []
    start = payload_offset(valtype)
    for number, payload in enumerate((valtype.ok, valtype.error)):
        case = _Case(number, namespace)
        lines: list[str] = []
        if payload is None:
            lines.append(
                'if value is not None: raise ValueError(f"{value!r} is given to a case without payload")'
            )
        else:
            if isinstance(payload, Tuple | Record):
                count = len(fields_of(payload))
                lines.append(
                    f"if len(value) != {count}: raise ValueError(f'{count} fields are wanted, {{len(value)}} given')"
                )
            if not case.add(payload, start, "value"):
                return None
        # To the end, though nobody reads it: all of the value must lie inside the memory (CanonicalABI.md, `store`).
        case.format += f"{layout(valtype)[0] - case.end}x"
        pack = case.name(struct.Struct(case.format).pack)
        lines.append(f"return {pack}({', '.join(case.expressions)})")
        bodies.append("\n        ".join(lines))
    ok, error = bodies
    namespace["error"] = struct.error
    source = f"""
def pack(value, access):
    try:
        if value.__class__ is Err:
            value = value.payload
            {error.replace(chr(10), chr(10) + "    ")}
        {ok}
    except (error, KeyError, IndexError) as problem:
        raise ValueError(f"{{value!r}} does not fit: {{problem!r}}") from problem
"""
    exec(source, namespace)
    made: Packer = namespace["pack"]
    return made
