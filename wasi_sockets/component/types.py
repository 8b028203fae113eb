"""Types with every index resolved: what a value is, by structure.

Primitives are plain strings ("u8", "string"...). The others are immutable and hashable, so that layouts and
compiled conversions can be cached by type. Resources are compared by identity where they are the guest's own,
and by name where they come from the host.

A hostile file can name a type of astronomical size in a few bytes (a tuple of two tuples of two tuples...),
so each type knows its weight and depth, and `resolve` refuses what no engine would take.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias, TypeVar, cast, dataclass_transform

from wasi_sockets.component import model
from wasi_sockets.errors import InvalidComponentError, UnsupportedComponentError

__all__ = [
    "Borrow",
    "Enum",
    "FixedList",
    "Flags",
    "FunctionType",
    "Future",
    "List",
    "Map",
    "Option",
    "Own",
    "Record",
    "ResourceType",
    "Result",
    "Stream",
    "Tuple",
    "Type",
    "Variant",
    "depth",
    "resolve",
    "weight",
]

MAX_WEIGHT = 1_000_000
"""Type nodes in one type; `MAX_WASM_TYPE_SIZE` of wasmparser."""

MAX_DEPTH = 100
"""Types inside each other; `MAX_TYPE_DEPTH` of wasmtime."""

_C = TypeVar("_C", bound=type)


@dataclass_transform(frozen_default=True)
def _structural(cls: _C) -> _C:
    """A frozen dataclass that computes its hash, weight and depth once, from those of its parts.

    Without that, hashing a type whose parts are shared costs time exponential in its depth.
    """
    made: Any = dataclass(frozen=True, slots=True)(cls)
    made.__hash__ = _Structure.__hash__
    return cast("_C", made)


@dataclass(frozen=True, slots=True)
class _Structure:
    weight: int = field(init=False, repr=False, compare=False)
    depth: int = field(init=False, repr=False, compare=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        parts: list[object] = [getattr(self, each.name) for each in fields(self) if each.init]
        children = _children(parts)
        object.__setattr__(self, "weight", 1 + sum(map(weight, children)))
        object.__setattr__(self, "depth", 1 + max(map(depth, children), default=0))
        object.__setattr__(self, "_hash", hash((type(self).__name__, *parts)))

    def __hash__(self) -> int:
        return self._hash


def _children(parts: list[object]) -> list[object]:
    found: list[object] = []
    for part in parts:
        if isinstance(part, tuple):
            found.extend(_children(list(part)))
        elif isinstance(part, _Structure):
            found.append(part)
        else:
            # A name or primitive: one unit of weight each, so that wide types count as well as deep ones.
            found.append(None)
    return found


def weight(valtype: object) -> int:
    """How many types and names the type is made of."""
    return valtype.weight if isinstance(valtype, _Structure) else 1


def depth(valtype: object) -> int:
    """How many types lie inside each other, 0 for a primitive."""
    return valtype.depth if isinstance(valtype, _Structure) else 0


@dataclass(frozen=True, eq=False, slots=True)
class _GuestIdentity:
    """What makes one resource type of a guest different from every other."""

    def __repr__(self) -> str:
        return f"<guest resource {id(self):#x}>"


@dataclass(frozen=True, slots=True)
class ResourceType:
    """A resource type.

    Attributes:
        interface: where the host defines it, version stripped: "wasi:io/streams"; "" for a guest's own.
        name: such as "input-stream".
        identity: `None` for the host's, equal when interface and name are; unique for a guest's own.
    """

    interface: str
    name: str
    identity: _GuestIdentity | None = None

    @classmethod
    def of_guest(cls, name: str = "") -> ResourceType:
        """A new resource type that is equal to no other."""
        return cls("", name, _GuestIdentity())


@_structural
class Record(_Structure):
    fields: tuple[tuple[str, Type], ...]


@_structural
class Variant(_Structure):
    cases: tuple[tuple[str, Type | None], ...]


@_structural
class List(_Structure):
    element: Type


@_structural
class FixedList(_Structure):
    element: Type
    length: int


@_structural
class Tuple(_Structure):
    items: tuple[Type, ...]


@_structural
class Flags(_Structure):
    names: tuple[str, ...]


@_structural
class Enum(_Structure):
    names: tuple[str, ...]


@_structural
class Option(_Structure):
    value: Type


@_structural
class Result(_Structure):
    ok: Type | None
    error: Type | None


@_structural
class Own(_Structure):
    resource: ResourceType


@_structural
class Borrow(_Structure):
    resource: ResourceType


@_structural
class Stream(_Structure):
    element: Type | None


@_structural
class Future(_Structure):
    value: Type | None


@_structural
class Map(_Structure):
    key: Type
    value: Type


Type: TypeAlias = (
    str
    | Record
    | Variant
    | List
    | FixedList
    | Tuple
    | Flags
    | Enum
    | Option
    | Result
    | Own
    | Borrow
    | Stream
    | Future
    | Map
)
"""A value type. `error-context` is the primitive of that name."""


@_structural
class FunctionType(_Structure):
    parameters: tuple[tuple[str, Type], ...]
    result: Type | None
    is_async: bool = False


Resolved: TypeAlias = Type | ResourceType | FunctionType
Lookup: TypeAlias = Callable[[int], object]
"""From a type index to what it means in the scope of the definition that is being resolved."""


def resolve(defined: model.DefinedType, lookup: Lookup) -> Type | FunctionType:
    """The resolved form of a type definition.

    Args:
        defined: a value type or function type as it stands in the file.
        lookup: gives the resolved type behind an index; resource types for the targets of own and borrow.

    Raises:
        InvalidComponentError: an index leads to something that is no type of the right kind.
        UnsupportedComponentError: the type is too large or too deep.
        TypeError: `defined` is a resource, instance or component type, which only their scope can resolve.
    """
    build = _BUILDERS.get(type(defined))
    if build is None:
        raise TypeError(f"{type(defined).__name__} is no type of values or functions")
    resolved = build(defined, _Resolver(lookup))
    if isinstance(resolved, _Structure) and (resolved.weight > MAX_WEIGHT or resolved.depth > MAX_DEPTH):
        raise UnsupportedComponentError(
            f"a type {resolved.depth} deep and made of {resolved.weight} parts",
            f"engines take at most {MAX_DEPTH} levels and {MAX_WEIGHT} parts; simplify the interface",
        )
    return cast("Type | FunctionType", resolved)


class _Resolver:
    __slots__ = ("lookup",)

    def __init__(self, lookup: Lookup) -> None:
        self.lookup = lookup

    def value(self, valtype: model.ValueType) -> Type:
        if isinstance(valtype, str):
            return valtype
        found = self.lookup(valtype)
        if isinstance(found, (FunctionType, ResourceType)) or not isinstance(found, (str, _Structure)):
            raise InvalidComponentError(
                f"type {valtype} is used as the type of a value but is not one: rebuild the component"
            )
        return cast("Type", found)

    def optional(self, valtype: model.ValueType | None) -> Type | None:
        return None if valtype is None else self.value(valtype)

    def fields(self, entries: tuple[tuple[str, model.ValueType], ...]) -> tuple[tuple[str, Type], ...]:
        return tuple([(name, self.value(valtype)) for name, valtype in entries])

    def resource(self, index: int) -> ResourceType:
        found = self.lookup(index)
        if not isinstance(found, ResourceType):
            raise InvalidComponentError(
                f"type {index} is used as a resource type but is not one: rebuild the component"
            )
        return found


_BUILDERS: dict[type, Callable[[Any, _Resolver], object]] = {
    model.PrimitiveDef: lambda t, r: t.name,
    model.RecordDef: lambda t, r: Record(r.fields(t.fields)),
    model.VariantDef: lambda t, r: Variant(tuple([(name, r.optional(case)) for name, case in t.cases])),
    model.ListDef: lambda t, r: List(r.value(t.element)),
    model.FixedListDef: lambda t, r: FixedList(r.value(t.element), t.length),
    model.TupleDef: lambda t, r: Tuple(tuple([r.value(item) for item in t.items])),
    model.FlagsDef: lambda t, r: Flags(t.names),
    model.EnumDef: lambda t, r: Enum(t.names),
    model.OptionDef: lambda t, r: Option(r.value(t.value)),
    model.ResultDef: lambda t, r: Result(r.optional(t.ok), r.optional(t.error)),
    model.OwnDef: lambda t, r: Own(r.resource(t.resource)),
    model.BorrowDef: lambda t, r: Borrow(r.resource(t.resource)),
    model.StreamDef: lambda t, r: Stream(r.optional(t.element)),
    model.FutureDef: lambda t, r: Future(r.optional(t.value)),
    model.MapDef: lambda t, r: Map(r.value(t.key), r.value(t.value)),
    model.FunctionDef: lambda t, r: FunctionType(r.fields(t.parameters), r.optional(t.result), t.is_async),
}
