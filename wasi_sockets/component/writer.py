"""From definitions to the bytes of a component.

Consecutive definitions of one kind share a section. Reading what was written gives equal definitions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import groupby
from typing import Any, TypeVar

from wasi_sockets.component import opcodes
from wasi_sockets.component.binary import name, s33, u32
from wasi_sockets.component.model import (
    AliasCoreExport,
    AliasExport,
    AliasOuter,
    Bag,
    BorrowDef,
    CanonBuiltin,
    Component,
    ComponentDef,
    CoreBag,
    CoreInstantiate,
    CoreModule,
    CoreType,
    Custom,
    Data,
    Declaration,
    DefinedType,
    Definition,
    EnumDef,
    Export,
    ExportDeclaration,
    ExternName,
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
    Start,
    StreamDef,
    TupleDef,
    TypeDefinition,
    ValueDefinition,
    ValueType,
    VariantDef,
)

T = TypeVar("T")
_Scope = TypeVar("_Scope", InstanceDef, ComponentDef)

_SECTIONS: dict[type, int] = {
    Custom: 0,
    CoreModule: 1,
    CoreInstantiate: 2,
    CoreBag: 2,
    CoreType: 3,
    NestedComponent: 4,
    Instantiate: 5,
    Bag: 5,
    AliasExport: 6,
    AliasCoreExport: 6,
    AliasOuter: 6,
    TypeDefinition: 7,
    Lift: 8,
    Lower: 8,
    ResourceNew: 8,
    ResourceDrop: 8,
    ResourceRep: 8,
    CanonBuiltin: 8,
    Start: 9,
    Import: 10,
    Export: 11,
    ValueDefinition: 12,
}
_SINGLE_SECTIONS = frozenset((0, 1, 4, 9))


def write_component(component: Component) -> bytes:
    """The bytes of a component.

    Raises:
        ValueError: an index or length does not fit in 32 bits.
    """
    return b"".join(_component_chunks(component))


def append_declarations(scope: _Scope, declarations: Iterable[Declaration]) -> _Scope:
    """The same instance or component type with more declarations at its end.

    Indices inside the new declarations count the ones already there.
    """
    return replace(scope, declarations=scope.declarations + tuple(declarations))


def _component_chunks(component: Component) -> list[Data]:
    # Chunks are joined once at the very end: core modules are tens of megabytes and must not be copied per
    # level.
    chunks: list[Data] = [opcodes.PREAMBLE]
    for section, group in groupby(component.definitions, key=lambda definition: _SECTIONS[type(definition)]):
        if section in _SINGLE_SECTIONS:
            for definition in group:
                body = _single_section(definition)
                chunks.append(bytes((section,)) + u32(sum(map(len, body))))
                chunks.extend(body)
        else:
            items = [write_definition(definition) for definition in group]
            count = u32(len(items))
            chunks.append(bytes((section,)) + u32(len(count) + sum(map(len, items))) + count)
            chunks.extend(items)
    return chunks


def _single_section(definition: Definition) -> list[Data]:
    if isinstance(definition, CoreModule):
        return [definition.data]
    if isinstance(definition, Custom):
        return [name(definition.name), definition.data]
    if isinstance(definition, NestedComponent):
        return _component_chunks(definition.component)
    if isinstance(definition, Start):
        return [u32(definition.function) + _vector(definition.arguments, u32) + u32(definition.results)]
    raise TypeError(f"{type(definition).__name__} shares its section")


def write_definition(definition: Definition | Declaration) -> bytes:
    """One definition as it stands in its section (or, for a type's declaration, after its kind byte).

    Raises:
        TypeError: the definition fills a section of its own, or is none.
        ValueError: an index does not fit in 32 bits.
    """
    write = _WRITERS.get(type(definition))
    if write is None:
        raise TypeError(f"{type(definition).__name__} is no definition that shares a section")
    return write(definition)


# --- parts ---


def _vector(items: Iterable[T], item: Callable[[T], bytes]) -> bytes:
    parts = [item(each) for each in items]
    return u32(len(parts)) + b"".join(parts)


def _value_type(valtype: ValueType) -> bytes:
    return s33(valtype) if isinstance(valtype, int) else bytes((opcodes.PRIMITIVE_BYTES[valtype],))


def _optional_value_type(valtype: ValueType | None) -> bytes:
    return b"\x00" if valtype is None else b"\x01" + _value_type(valtype)


def _result_list(valtype: ValueType | None) -> bytes:
    return b"\x01\x00" if valtype is None else b"\x00" + _value_type(valtype)


def _extern_name(extern: ExternName) -> bytes:
    raw = bytes((extern.kind,)) + name(extern.name)
    if extern.kind == 0x02:
        raw += _vector(extern.attributes, lambda attribute: bytes((attribute[0],)) + name(attribute[1]))
    return raw


def _extern_type(extern: ExternType) -> bytes:
    sort = opcodes.SORT_BYTES[extern.sort]
    if extern.sort == "type":
        return sort + (b"\x01" if extern.type is None else b"\x00" + u32(_index(extern.type)))
    if extern.sort == "value":
        if extern.equal_value is not None:
            return sort + b"\x00" + u32(extern.equal_value)
        if extern.type is None:
            raise ValueError("a value has neither a type nor a value that it equals")
        return sort + b"\x01" + _value_type(extern.type)
    return sort + u32(_index(extern.type))


def _index(valtype: ValueType | None) -> int:
    if not isinstance(valtype, int):
        raise ValueError(f"an index of a type is needed, not {valtype!r}")
    return valtype


def _options(options: Options) -> bytes:
    return _vector(
        options,
        lambda option: (
            bytes((opcodes.CANON_OPTION_BYTES[option.name],))
            + (b"" if option.index is None else u32(option.index))
        ),
    )


def _labelled_type(field: tuple[str, ValueType]) -> bytes:
    return name(field[0]) + _value_type(field[1])


# --- types ---


def _write_resource(resource: ResourceDef) -> bytes:
    raw = bytes((0x3F, opcodes.CORE_VALUE_TYPE_BYTES[resource.representation]))
    return raw + (b"\x00" if resource.destructor is None else b"\x01" + u32(resource.destructor))


def _write_function(function: FunctionDef) -> bytes:
    opcode = b"\x43" if function.is_async else b"\x40"
    return opcode + _vector(function.parameters, _labelled_type) + _result_list(function.result)


_TYPES: dict[type, Callable[[Any], bytes]] = {
    PrimitiveDef: lambda t: bytes((opcodes.PRIMITIVE_BYTES[t.name],)),
    RecordDef: lambda t: b"\x72" + _vector(t.fields, _labelled_type),
    VariantDef: lambda t: (
        b"\x71" + _vector(t.cases, lambda case: name(case[0]) + _optional_value_type(case[1]) + b"\x00")
    ),
    ListDef: lambda t: b"\x70" + _value_type(t.element),
    TupleDef: lambda t: b"\x6f" + _vector(t.items, _value_type),
    FlagsDef: lambda t: b"\x6e" + _vector(t.names, name),
    EnumDef: lambda t: b"\x6d" + _vector(t.names, name),
    OptionDef: lambda t: b"\x6b" + _value_type(t.value),
    ResultDef: lambda t: b"\x6a" + _optional_value_type(t.ok) + _optional_value_type(t.error),
    OwnDef: lambda t: b"\x69" + u32(t.resource),
    BorrowDef: lambda t: b"\x68" + u32(t.resource),
    FixedListDef: lambda t: b"\x67" + _value_type(t.element) + u32(t.length),
    StreamDef: lambda t: b"\x66" + _optional_value_type(t.element),
    FutureDef: lambda t: b"\x65" + _optional_value_type(t.value),
    MapDef: lambda t: b"\x63" + _value_type(t.key) + _value_type(t.value),
    ResourceDef: _write_resource,
    FunctionDef: _write_function,
    ComponentDef: lambda t: b"\x41" + _vector(t.declarations, _declaration),
    InstanceDef: lambda t: b"\x42" + _vector(t.declarations, _declaration),
}


def write_type(defined: DefinedType) -> bytes:
    """A type definition, opcode first."""
    return _TYPES[type(defined)](defined)


_DECLARATION_KINDS: dict[type, bytes] = {
    CoreType: b"\x00",
    TypeDefinition: b"\x01",
    AliasExport: b"\x02",
    AliasCoreExport: b"\x02",
    AliasOuter: b"\x02",
    Import: b"\x03",
    ExportDeclaration: b"\x04",
}


def _declaration(declaration: Declaration) -> bytes:
    return _DECLARATION_KINDS[type(declaration)] + write_definition(declaration)


# --- definitions ---


def _write_builtin(builtin: CanonBuiltin) -> bytes:
    opcode, kinds = opcodes.BUILTINS[builtin.name]
    raw = bytearray((opcode,))
    for kind, operand in zip(kinds, builtin.operands, strict=True):
        raw += _OPERANDS.get(kind, u32)(operand)
    return bytes(raw)


_OPERANDS: dict[str, Callable[[Any], bytes]] = {
    "flag": lambda operand: b"\x01" if operand else b"\x00",
    "options": _options,
    "result": _result_list,
    "core value type": lambda operand: bytes((opcodes.CORE_VALUE_TYPE_BYTES[operand],)),
}


def _write_export(export: Export) -> bytes:
    raw = _extern_name(export.name) + opcodes.SORT_BYTES[export.sort] + u32(export.index)
    return raw + (b"\x00" if export.description is None else b"\x01" + _extern_type(export.description))


_WRITERS: dict[type, Callable[[Any], bytes]] = {
    CoreInstantiate: lambda d: (
        b"\x00"
        + u32(d.module)
        + _vector(d.arguments, lambda argument: name(argument[0]) + b"\x12" + u32(argument[1]))
    ),
    CoreBag: lambda d: (
        b"\x01"
        + _vector(d.exports, lambda e: name(e[0]) + bytes((opcodes.CORE_SORT_BYTES[e[1]],)) + u32(e[2]))
    ),
    CoreType: lambda d: bytes(d.data),
    Instantiate: lambda d: (
        b"\x00"
        + u32(d.component)
        + _vector(d.arguments, lambda a: name(a[0]) + opcodes.SORT_BYTES[a[1]] + u32(a[2]))
    ),
    Bag: lambda d: (
        b"\x01" + _vector(d.exports, lambda e: _extern_name(e[0]) + opcodes.SORT_BYTES[e[1]] + u32(e[2]))
    ),
    AliasExport: lambda d: opcodes.SORT_BYTES[d.sort] + b"\x00" + u32(d.instance) + name(d.name),
    AliasCoreExport: lambda d: opcodes.SORT_BYTES[d.sort] + b"\x01" + u32(d.instance) + name(d.name),
    AliasOuter: lambda d: opcodes.SORT_BYTES[d.sort] + b"\x02" + u32(d.count) + u32(d.index),
    TypeDefinition: lambda d: write_type(d.type),
    Lift: lambda d: b"\x00\x00" + u32(d.core_function) + _options(d.options) + u32(d.type),
    Lower: lambda d: b"\x01\x00" + u32(d.function) + _options(d.options),
    ResourceNew: lambda d: b"\x02" + u32(d.type),
    ResourceDrop: lambda d: (b"\x07" if d.is_async else b"\x03") + u32(d.type),
    ResourceRep: lambda d: b"\x04" + u32(d.type),
    CanonBuiltin: _write_builtin,
    Import: lambda d: _extern_name(d.name) + _extern_type(d.description),
    Export: _write_export,
    ExportDeclaration: lambda d: _extern_name(d.name) + _extern_type(d.description),
    ValueDefinition: lambda d: _value_type(d.type) + u32(len(d.data)) + bytes(d.data),
}
