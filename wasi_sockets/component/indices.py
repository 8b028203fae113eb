"""Sending every index of a definition through a mapping, so that definitions can be inserted and removed.

A definition refers to indices of its own component, and, through outer aliases inside types and nested
components, to those of enclosing ones. `map_indices` is the one place that knows where they stand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, TypeAlias, TypeVar

from wasi_sockets.component import opcodes
from wasi_sockets.component.binary import Reader, s33, u32
from wasi_sockets.component.core_types import scan_core_type
from wasi_sockets.component.model import (
    AliasCoreExport,
    AliasExport,
    AliasOuter,
    Bag,
    BorrowDef,
    CanonBuiltin,
    CanonOption,
    Component,
    ComponentDef,
    CoreBag,
    CoreInstantiate,
    CoreModule,
    CoreType,
    Custom,
    Declaration,
    DefinedType,
    Definition,
    EnumDef,
    Export,
    ExportDeclaration,
    ExternType,
    FixedListDef,
    FlagsDef,
    FunctionDef,
    FutureDef,
    Import,
    InstanceDef,
    Instantiate,
    Lift,
    ListDef,
    Lower,
    MapDef,
    NestedComponent,
    Operand,
    OptionDef,
    Options,
    OwnDef,
    PrimitiveDef,
    RecordDef,
    ResourceDef,
    ResourceDrop,
    ResourceNew,
    ResourceRep,
    ResultDef,
    Sort,
    Start,
    StreamDef,
    TupleDef,
    TypeDefinition,
    ValueDefinition,
    ValueType,
    VariantDef,
)

Mapping: TypeAlias = Callable[[Sort, int], int]
OuterMapping: TypeAlias = Callable[[Sort, int, int], int]

D = TypeVar("D", bound=Definition | Declaration)


class _Indices(Protocol):
    """Indices of the scope that a definition stands in, and of scopes around it."""

    def here(self, space: Sort, index: int) -> int: ...

    def outer(self, space: Sort, count: int, index: int) -> int: ...


class _Given:
    """The component's own level: the caller's two functions."""

    __slots__ = ("here", "outer")

    def __init__(self, here: Mapping, outer: OuterMapping) -> None:
        self.here = here
        self.outer = outer


class _Inner:
    """One scope further in: its own indices stay, those that leave it are the scope's around it."""

    __slots__ = ("around",)

    def __init__(self, around: _Indices) -> None:
        self.around = around

    def here(self, space: Sort, index: int) -> int:
        return index

    def outer(self, space: Sort, count: int, index: int) -> int:
        if count == 1:
            return self.around.here(space, index)
        return self.around.outer(space, count - 1, index)


def _outermost(space: Sort, count: int, index: int) -> int:
    return index


def map_indices(definition: D, mapping: Mapping, mapping_outer: OuterMapping = _outermost) -> D:
    """The same definition with every index replaced.

    Args:
        definition: a definition of some component.
        mapping: from an index space of that component and an index in it to the new index.
        mapping_outer: from a space, the number of components out (1 or more) and an index in the space of
            that enclosing component to the new index. Without it, outer indices stay.

    Inside instance types, component types and nested components only what refers to this component, or to one
    around it, changes: their own indices count from 0 and stay. Custom sections stay as they are, so the
    names in a "component-name" section may become those of other definitions.

    Raises:
        Whatever the mappings raise.
    """
    return _map(definition, _Given(mapping, mapping_outer))


def map_component(component: Component, mapping_outer: OuterMapping) -> Component:
    """A nested component with the indices that leave it replaced; `count` 1 is the component around it."""
    scope = _Given(lambda space, index: index, mapping_outer)
    return Component(tuple([_map(definition, scope) for definition in component.definitions]))


def references(definition: Definition | Declaration) -> list[tuple[Sort, int]]:
    """Every index of its own component that a definition refers to, in the order in which they stand."""
    found: list[tuple[Sort, int]] = []

    def record(space: Sort, index: int) -> int:
        found.append((space, index))
        return index

    map_indices(definition, record)
    return found


def _map(definition: D, indices: _Indices) -> D:
    mapped: D = _DEFINITIONS[type(definition)](definition, indices)
    return mapped


# --- parts ---


def _value_type(valtype: ValueType, indices: _Indices) -> ValueType:
    return indices.here("type", valtype) if isinstance(valtype, int) else valtype


def _optional(valtype: ValueType | None, indices: _Indices) -> ValueType | None:
    return indices.here("type", valtype) if isinstance(valtype, int) else valtype


def _extern_type(extern: ExternType, indices: _Indices) -> ExternType:
    if extern.equal_value is not None:
        return replace(extern, equal_value=indices.here("value", extern.equal_value))
    if not isinstance(extern.type, int):
        return extern
    space: Sort = "core type" if extern.sort == "core module" else "type"
    return replace(extern, type=indices.here(space, extern.type))


def _options(options: Options, indices: _Indices) -> Options:
    mapped = []
    for option in options:
        space = opcodes.CANON_OPTION_SPACES[option.name]
        if space is None or option.index is None:
            mapped.append(option)
        else:
            mapped.append(CanonOption(option.name, indices.here(space, option.index)))
    return tuple(mapped)


def _fields(
    fields: tuple[tuple[str, ValueType], ...], indices: _Indices
) -> tuple[tuple[str, ValueType], ...]:
    return tuple([(name, _value_type(valtype, indices)) for name, valtype in fields])


# --- types ---


def _unchanged(item: Any, indices: _Indices) -> Any:
    return item


def _resource(resource: ResourceDef, indices: _Indices) -> ResourceDef:
    if resource.destructor is None:
        return resource
    return replace(resource, destructor=indices.here("core func", resource.destructor))


def _scope(scope: Any, indices: _Indices) -> Any:
    inner = _Inner(indices)
    return replace(scope, declarations=tuple([_map(each, inner) for each in scope.declarations]))


_TYPES: dict[type, Callable[[Any, _Indices], DefinedType]] = {
    PrimitiveDef: _unchanged,
    FlagsDef: _unchanged,
    EnumDef: _unchanged,
    RecordDef: lambda t, i: RecordDef(_fields(t.fields, i)),
    VariantDef: lambda t, i: VariantDef(tuple([(name, _optional(payload, i)) for name, payload in t.cases])),
    ListDef: lambda t, i: ListDef(_value_type(t.element, i)),
    FixedListDef: lambda t, i: FixedListDef(_value_type(t.element, i), t.length),
    TupleDef: lambda t, i: TupleDef(tuple([_value_type(item, i) for item in t.items])),
    OptionDef: lambda t, i: OptionDef(_value_type(t.value, i)),
    ResultDef: lambda t, i: ResultDef(_optional(t.ok, i), _optional(t.error, i)),
    OwnDef: lambda t, i: OwnDef(i.here("type", t.resource)),
    BorrowDef: lambda t, i: BorrowDef(i.here("type", t.resource)),
    StreamDef: lambda t, i: StreamDef(_optional(t.element, i)),
    FutureDef: lambda t, i: FutureDef(_optional(t.value, i)),
    MapDef: lambda t, i: MapDef(_value_type(t.key, i), _value_type(t.value, i)),
    ResourceDef: _resource,
    FunctionDef: lambda t, i: FunctionDef(_fields(t.parameters, i), _optional(t.result, i), t.is_async),
    InstanceDef: _scope,
    ComponentDef: _scope,
}


# --- definitions ---


def _core_type(core_type: CoreType, indices: _Indices) -> CoreType:
    raw = bytes(core_type.data)
    _, found = scan_core_type(Reader(raw, 0, len(raw)))
    if not found:
        return core_type
    out = bytearray()
    done = 0
    for reference in found:
        out += raw[done : reference.start]
        if reference.scopes == 0:
            index = indices.here("core type", reference.index)
        else:
            index = indices.outer("core type", reference.scopes, reference.index)
        out += s33(index) if reference.signed else u32(index)
        done = reference.end
    out += raw[done:]
    return CoreType(bytes(out), core_type.count)


def _outer_alias(alias: AliasOuter, indices: _Indices) -> AliasOuter:
    if alias.count == 0:
        return replace(alias, index=indices.here(alias.sort, alias.index))
    return replace(alias, index=indices.outer(alias.sort, alias.count, alias.index))


def _nested(nested: NestedComponent, indices: _Indices) -> NestedComponent:
    inner = _Inner(indices)
    definitions = tuple([_map(definition, inner) for definition in nested.component.definitions])
    return NestedComponent(Component(definitions))


def _builtin(builtin: CanonBuiltin, indices: _Indices) -> CanonBuiltin:
    operands: list[Operand] = []
    for kind, operand in zip(opcodes.BUILTINS[builtin.name][1], builtin.operands, strict=True):
        if kind == "options" and isinstance(operand, tuple):
            operands.append(_options(operand, indices))
        elif kind == "result" and isinstance(operand, int):
            operands.append(indices.here("type", operand))
        elif kind in opcodes.SORT_BYTES and isinstance(operand, int):
            operands.append(indices.here(kind, operand))
        else:
            operands.append(operand)
    return CanonBuiltin(builtin.name, tuple(operands))


def _export(export: Export, indices: _Indices) -> Export:
    description = export.description
    return replace(
        export,
        index=indices.here(export.sort, export.index),
        description=None if description is None else _extern_type(description, indices),
    )


_DEFINITIONS: dict[type, Callable[[Any, _Indices], Any]] = {
    CoreModule: _unchanged,
    Custom: _unchanged,
    CoreInstantiate: lambda d, i: CoreInstantiate(
        i.here("core module", d.module),
        tuple([(name, i.here("core instance", index)) for name, index in d.arguments]),
    ),
    CoreBag: lambda d, i: CoreBag(
        tuple([(name, sort, i.here(sort, index)) for name, sort, index in d.exports])
    ),
    CoreType: _core_type,
    NestedComponent: _nested,
    Instantiate: lambda d, i: Instantiate(
        i.here("component", d.component),
        tuple([(name, sort, i.here(sort, index)) for name, sort, index in d.arguments]),
    ),
    Bag: lambda d, i: Bag(tuple([(name, sort, i.here(sort, index)) for name, sort, index in d.exports])),
    AliasExport: lambda d, i: AliasExport(d.sort, i.here("instance", d.instance), d.name),
    AliasCoreExport: lambda d, i: AliasCoreExport(d.sort, i.here("core instance", d.instance), d.name),
    AliasOuter: _outer_alias,
    TypeDefinition: lambda d, i: TypeDefinition(_TYPES[type(d.type)](d.type, i)),
    Lift: lambda d, i: Lift(
        i.here("core func", d.core_function), _options(d.options, i), i.here("type", d.type)
    ),
    Lower: lambda d, i: Lower(i.here("func", d.function), _options(d.options, i)),
    ResourceNew: lambda d, i: ResourceNew(i.here("type", d.type)),
    ResourceDrop: lambda d, i: ResourceDrop(i.here("type", d.type), d.is_async),
    ResourceRep: lambda d, i: ResourceRep(i.here("type", d.type)),
    CanonBuiltin: _builtin,
    Start: lambda d, i: Start(
        i.here("func", d.function), tuple([i.here("value", index) for index in d.arguments]), d.results
    ),
    ValueDefinition: lambda d, i: ValueDefinition(_value_type(d.type, i), d.data),
    Import: lambda d, i: Import(d.name, _extern_type(d.description, i)),
    Export: _export,
    ExportDeclaration: lambda d, i: ExportDeclaration(d.name, _extern_type(d.description, i)),
}
