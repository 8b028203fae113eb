"""From the bytes of a component to its definitions.

Core modules are not looked into, so reading takes time in proportion to the component's wiring, not its size.
What is read is what wasmparser reads; validity (types that match, indices in range) is left to the engine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from wasi_sockets.component import opcodes
from wasi_sockets.component.binary import MAX_NESTING, Reader
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
from wasi_sockets.errors import InvalidComponentError, UnsupportedComponentError


def read_component(data: bytes) -> Component:
    """The definitions of a component, in file order.

    Args:
        data: the whole file. Core modules and custom sections are views into it.

    Raises:
        InvalidComponentError: it is no component, or a broken one; the message says which and what to do.
        UnsupportedComponentError: it uses a construct or format version that is not known here.
    """
    _check_preamble(data)
    return _component(Reader(data, len(opcodes.PREAMBLE), len(data)), memoryview(data), 0)


def _check_preamble(data: bytes) -> None:
    start = bytes(data[:8])
    if not start:
        raise InvalidComponentError("the file is empty: build the component again or copy it again")
    if start[:4] != opcodes.MAGIC[: len(start)]:
        if start.lstrip()[:1] in (b"(", b";"):
            raise InvalidComponentError(
                "this is WebAssembly text, not a binary: "
                "compile it first (wasm-tools parse, or wasmtime.wat2wasm)"
            )
        raise InvalidComponentError(
            f"this is not WebAssembly, it starts with {start[:4].hex(' ')} instead of 00 61 73 6d: "
            "give the path of a component (.wasm), not of its source or of compiled code"
        )
    if len(start) < 8:
        raise InvalidComponentError(
            f"the file is truncated: {len(start)} bytes are not even a WebAssembly header; copy it again"
        )
    version = int.from_bytes(start[4:6], "little")
    layer = int.from_bytes(start[6:8], "little")
    if layer == 0:
        raise InvalidComponentError(
            "this is a core module, not a component: make a component of it with `wasm-tools component new` "
            "and a WASI adapter, or build for a component target such as wasm32-wasip2"
        )
    if layer != opcodes.COMPONENT_LAYER:
        raise InvalidComponentError(
            f"this is WebAssembly of layer {layer}, a component has layer 1: "
            "rebuild the file or copy it again"
        )
    if version != opcodes.COMPONENT_VERSION:
        raise UnsupportedComponentError(
            f"component format version {version:#x}",
            f"version {opcodes.COMPONENT_VERSION:#x} is what can be read: "
            "use matching tools, or upgrade wasi-sockets",
        )


def _unknown(reader: Reader, what: str, opcode: int) -> NoReturn:
    raise UnsupportedComponentError(
        f"{what} {opcode:#04x} at byte {reader.position - 1} of the file",
        "it is not known here: the file is damaged, or made by tools newer than this version of wasi-sockets",
    )


def _component(reader: Reader, view: memoryview, depth: int) -> Component:
    if depth > MAX_NESTING:
        reader.fail(f"components are nested more than {MAX_NESTING} deep")
    definitions: list[Definition] = []
    end = reader.end
    while reader.position < end:
        start = reader.position
        section = reader.u8()
        size = reader.u32()
        body = reader.position
        stop = body + size
        if stop > end:
            reader.position = start
            reader.fail(
                f"the component is truncated: section {section} announces {size} bytes, "
                f"only {end - body} are left"
            )
        reader.position = stop
        part = Reader(reader.data, body, stop)
        item = _SECTION_ITEMS.get(section)
        if item is not None:
            definitions.extend([item(part, depth) for _ in range(part.count())])
        elif section == 0:
            name = part.name()
            definitions.append(Custom(name, view[part.position : stop]))
            continue
        elif section == 1:
            if not _is_core_module(reader.data, body, stop):
                part.fail("a core module does not start with its preamble")
            definitions.append(CoreModule(view[body:stop]))
            continue
        elif section == 4:
            if part.take(min(8, size)) != opcodes.PREAMBLE:
                part.position = body
                part.fail("a nested component does not start with the preamble of a component")
            definitions.append(NestedComponent(_component(part, view, depth + 1)))
        elif section == 9:
            definitions.append(Start(part.u32(), part.vector(Reader.index), part.u32()))
        else:
            reader.position = start + 1
            _unknown(reader, "section", section)
        if part.position != stop:
            part.fail(f"section {section} has {stop - part.position} bytes more than its definitions take")
    return Component(tuple(definitions))


def _is_core_module(data: bytes, start: int, stop: int) -> bool:
    return data[start : min(stop, start + 8)] == opcodes.CORE_PREAMBLE


# --- sorts, names and value types ---


def _core_sort(reader: Reader) -> Sort:
    byte = reader.u8()
    sort = opcodes.CORE_SORTS.get(byte)
    if sort is None:
        _unknown(reader, "core sort", byte)
    return sort


def _sort(reader: Reader) -> Sort:
    byte = reader.u8()
    if byte == 0x00:
        return _core_sort(reader)
    sort = opcodes.SORTS.get(byte)
    if sort is None:
        _unknown(reader, "sort", byte)
    return sort


def _name_attribute(reader: Reader) -> tuple[int, str]:
    kind = reader.u8()
    if kind > 0x02:
        _unknown(reader, "name attribute", kind)
    return kind, reader.name()


def _extern_name(reader: Reader) -> ExternName:
    kind = reader.u8()
    if kind > 0x02:
        _unknown(reader, "name kind", kind)
    name = reader.name()
    return ExternName(name, kind, reader.vector(_name_attribute) if kind == 0x02 else ())


def _value_type(reader: Reader) -> ValueType:
    primitive = opcodes.PRIMITIVES.get(reader.peek())
    if primitive is not None:
        reader.position += 1
        return primitive
    start = reader.position
    index = reader.s33()
    if index < 0:
        reader.position = start + 1
        _unknown(reader, "value type", reader.data[start])
    return index


def _optional_value_type(reader: Reader) -> ValueType | None:
    return _value_type(reader) if reader.flag("the presence of a type") else None


def _extern_type(reader: Reader) -> ExternType:
    sort = _sort(reader)
    if sort == "type":
        if reader.flag("the bound of a type"):
            return ExternType("type")
        return ExternType("type", reader.u32())
    if sort == "value":
        if reader.flag("the bound of a value"):
            return ExternType("value", _value_type(reader))
        return ExternType("value", None, reader.u32())
    if sort.startswith("core ") and sort != "core module":
        reader.fail(f"a {sort} cannot be imported or exported by a component")
    return ExternType(sort, reader.u32())


# --- core definitions ---


def _core_instance(reader: Reader, depth: int) -> CoreInstantiate | CoreBag:
    if reader.flag("the kind of a core instance"):
        return CoreBag(reader.vector(_core_inline_export))
    return CoreInstantiate(reader.u32(), reader.vector(_core_argument))


def _core_argument(reader: Reader) -> tuple[str, int]:
    name = reader.name()
    if reader.u8() != 0x12:
        reader.position -= 1
        reader.fail("an argument of a core instance is no instance")
    return name, reader.u32()


def _core_inline_export(reader: Reader) -> tuple[str, Sort, int]:
    return reader.name(), _core_sort(reader), reader.u32()


def _core_type(reader: Reader, depth: int) -> CoreType:
    start = reader.position
    count, _ = scan_core_type(reader)
    return CoreType(reader.data[start : reader.position], count)


# --- instances and aliases ---


def _instance(reader: Reader, depth: int) -> Instantiate | Bag:
    if reader.flag("the kind of an instance"):
        return Bag(reader.vector(_inline_export))
    return Instantiate(reader.u32(), reader.vector(_argument))


def _argument(reader: Reader) -> tuple[str, Sort, int]:
    return reader.name(), _sort(reader), reader.u32()


def _inline_export(reader: Reader) -> tuple[ExternName, Sort, int]:
    return _extern_name(reader), _sort(reader), reader.u32()


def _alias(reader: Reader, depth: int) -> AliasExport | AliasCoreExport | AliasOuter:
    sort = _sort(reader)
    target = reader.u8()
    if target == 0x00:
        return AliasExport(sort, reader.u32(), reader.name())
    if target == 0x01:
        if not sort.startswith("core "):
            reader.fail(f"a core instance cannot export a {sort}")
        return AliasCoreExport(sort, reader.u32(), reader.name())
    if target == 0x02:
        return AliasOuter(sort, reader.u32(), reader.u32())
    _unknown(reader, "alias", target)


# --- types ---


def _labelled_type(reader: Reader) -> tuple[str, ValueType]:
    return reader.name(), _value_type(reader)


def _case(reader: Reader) -> tuple[str, ValueType | None]:
    name = reader.name()
    payload = _optional_value_type(reader)
    if reader.u8() != 0x00:
        reader.position -= 1
        reader.fail("a variant case does not end with 0x00 (cases that refine others were removed)")
    return name, payload


def _result_list(reader: Reader) -> ValueType | None:
    if not reader.flag("the kind of a result list"):
        return _value_type(reader)
    if reader.u8() != 0x00:
        reader.position -= 1
        reader.fail("named results are no longer part of the format")
    return None


def _core_value_type(reader: Reader) -> str:
    byte = reader.u8()
    valtype = opcodes.CORE_VALUE_TYPES.get(byte)
    if valtype is None:
        _unknown(reader, "core value type", byte)
    return valtype


def _resource(reader: Reader) -> ResourceDef:
    representation = _core_value_type(reader)
    return ResourceDef(representation, reader.u32() if reader.flag("the presence of a destructor") else None)


_TYPES: dict[int, Callable[[Reader], DefinedType]] = {
    0x72: lambda reader: RecordDef(reader.vector(_labelled_type)),
    0x71: lambda reader: VariantDef(reader.vector(_case)),
    0x70: lambda reader: ListDef(_value_type(reader)),
    0x6F: lambda reader: TupleDef(reader.vector(_value_type)),
    0x6E: lambda reader: FlagsDef(reader.vector(Reader.name)),
    0x6D: lambda reader: EnumDef(reader.vector(Reader.name)),
    0x6B: lambda reader: OptionDef(_value_type(reader)),
    0x6A: lambda reader: ResultDef(_optional_value_type(reader), _optional_value_type(reader)),
    0x69: lambda reader: OwnDef(reader.u32()),
    0x68: lambda reader: BorrowDef(reader.u32()),
    0x67: lambda reader: FixedListDef(_value_type(reader), reader.u32()),
    0x66: lambda reader: StreamDef(_optional_value_type(reader)),
    0x65: lambda reader: FutureDef(_optional_value_type(reader)),
    0x63: lambda reader: MapDef(_value_type(reader), _value_type(reader)),
    0x43: lambda reader: FunctionDef(reader.vector(_labelled_type), _result_list(reader), is_async=True),
    0x40: lambda reader: FunctionDef(reader.vector(_labelled_type), _result_list(reader)),
    0x3F: _resource,
}


def _defined_type(reader: Reader, depth: int) -> DefinedType:
    opcode = reader.u8()
    read = _TYPES.get(opcode)
    if read is not None:
        return read(reader)
    if opcode == 0x42:
        return InstanceDef(_declarations(reader, depth + 1, may_import=False))
    if opcode == 0x41:
        return ComponentDef(_declarations(reader, depth + 1, may_import=True))
    primitive = opcodes.PRIMITIVES.get(opcode)
    if primitive is None:
        _unknown(reader, "type", opcode)
    return PrimitiveDef(primitive)


def _type(reader: Reader, depth: int) -> TypeDefinition:
    return TypeDefinition(_defined_type(reader, depth))


def _declarations(reader: Reader, depth: int, *, may_import: bool) -> tuple[Declaration, ...]:
    if depth > MAX_NESTING:
        reader.fail(f"component types are nested more than {MAX_NESTING} deep")
    return tuple([_declaration(reader, depth, may_import) for _ in range(reader.count())])


def _declaration(reader: Reader, depth: int, may_import: bool) -> Declaration:
    kind = reader.u8()
    if kind == 0x00:
        return _core_type(reader, depth)
    if kind == 0x01:
        return _type(reader, depth)
    if kind == 0x02:
        return _alias(reader, depth)
    if kind == 0x04:
        return ExportDeclaration(_extern_name(reader), _extern_type(reader))
    if kind == 0x03 and may_import:
        return _import(reader, depth)
    _unknown(reader, "declaration", kind)


# --- canonical definitions ---


def _option(reader: Reader) -> CanonOption:
    opcode = reader.u8()
    known = opcodes.CANON_OPTIONS.get(opcode)
    if known is None:
        _unknown(reader, "canonical option", opcode)
    name, space = known
    return CanonOption(name, None if space is None else reader.u32())


def _options(reader: Reader) -> Options:
    return reader.vector(_option)


def _function_sort(reader: Reader) -> None:
    if reader.u8() != 0x00:
        reader.position -= 1
        reader.fail("a canonical definition refers to something that is no function")


_OPERANDS: dict[str, Callable[[Reader], Operand]] = {
    "type": Reader.u32,
    "core type": Reader.u32,
    "core table": Reader.u32,
    "core memory": Reader.u32,
    "number": Reader.u32,
    "flag": lambda reader: reader.flag("a flag of a canonical definition"),
    "options": _options,
    "result": _result_list,
    "core value type": _core_value_type,
}


def _canon(reader: Reader, depth: int) -> Definition:
    opcode = reader.u8()
    if opcode == 0x00:
        _function_sort(reader)
        return Lift(reader.u32(), _options(reader), reader.u32())
    if opcode == 0x01:
        _function_sort(reader)
        return Lower(reader.u32(), _options(reader))
    if opcode == 0x02:
        return ResourceNew(reader.u32())
    if opcode == 0x03:
        return ResourceDrop(reader.u32())
    if opcode == 0x04:
        return ResourceRep(reader.u32())
    if opcode == 0x07:
        return ResourceDrop(reader.u32(), is_async=True)
    name = opcodes.BUILTIN_NAMES.get(opcode)
    if name is None:
        _unknown(reader, "canonical definition", opcode)
    return CanonBuiltin(name, tuple([_OPERANDS[kind](reader) for kind in opcodes.BUILTINS[name][1]]))


# --- imports, exports and values ---


def _import(reader: Reader, depth: int) -> Import:
    return Import(_extern_name(reader), _extern_type(reader))


def _export(reader: Reader, depth: int) -> Export:
    name = _extern_name(reader)
    sort = _sort(reader)
    index = reader.u32()
    return Export(name, sort, index, _extern_type(reader) if reader.flag("the presence of a type") else None)


def _value(reader: Reader, depth: int) -> ValueDefinition:
    return ValueDefinition(_value_type(reader), reader.take(reader.u32()))


_SECTION_ITEMS: dict[int, Callable[[Reader, int], Definition]] = {
    2: _core_instance,
    3: _core_type,
    5: _instance,
    6: _alias,
    7: _type,
    8: _canon,
    10: _import,
    11: _export,
    12: _value,
}
