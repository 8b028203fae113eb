"""A component as data: one immutable value for each definition, in file order.

The names follow the specification (`design/mvp/Binary.md` of WebAssembly/component-model). An index is a
plain `int` into the index space named by its sort; `defines` is the one place that says which definition adds
to which space. Value types are primitives by name (`"u8"`, `"string"`) or type indices.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

Sort: TypeAlias = Literal[
    "core func",
    "core table",
    "core memory",
    "core global",
    "core tag",
    "core type",
    "core module",
    "core instance",
    "func",
    "value",
    "type",
    "component",
    "instance",
]

ValueType: TypeAlias = str | int
"""A primitive by its name, or the index of a type definition."""

Data: TypeAlias = bytes | memoryview
"""Bytes kept as they are; a view into the file where copying would cost."""


@dataclass(frozen=True, slots=True)
class ExternName:
    """The name of an import or export.

    Attributes:
        name: such as `wasi:io/poll@0.2.6` or `run`.
        kind: the byte before it: 0 and 1 mean the same (1 is from older encoders), 2 says that attributes
        follow. attributes: pairs of a kind (0 implements, 1 version suffix, 2 external id) and a text.
    """

    name: str
    kind: int = 0
    attributes: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ExternType:
    """What an import or export is: the `externtype` of the specification.

    Attributes:
        sort: "core module", "func", "value", "type", "instance" or "component".
        type: the index of its type (in the core type space for a core module). For sort "type" it is the type
            that this one equals, `None` meaning a fresh resource. For sort "value", the value's type.
        equal_value: for sort "value" with an equality bound, the value's index; `type` is then `None`.
    """

    sort: Sort
    type: ValueType | None = None
    equal_value: int | None = None


@dataclass(frozen=True, slots=True)
class CanonOption:
    """One option of a canonical definition; `index` is `None` for those that refer to nothing.

    Names: "utf8", "utf16", "latin1+utf16", "memory", "realloc", "post-return", "async", "callback",
    "core-type", "gc".
    """

    name: str
    index: int | None = None


Options: TypeAlias = tuple[CanonOption, ...]


def option(options: Options, name: str) -> CanonOption | None:
    """The option called `name`, or `None`."""
    for candidate in options:
        if candidate.name == name:
            return candidate
    return None


def string_encoding(options: Options) -> str:
    """The string encoding that the options ask for; utf8 when they are silent, as Binary.md says."""
    for candidate in options:
        if candidate.name in ("utf8", "utf16", "latin1+utf16"):
            return candidate.name
    return "utf8"


# --- core definitions ---


@dataclass(frozen=True, slots=True)
class CoreModule:
    """A core module, not parsed."""

    data: Data


@dataclass(frozen=True, slots=True)
class CoreInstantiate:
    """A core instance made from a module; arguments are pairs of name and core instance index."""

    module: int
    arguments: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class CoreBag:
    """A core instance put together from existing core definitions."""

    exports: tuple[tuple[str, Sort, int], ...]


@dataclass(frozen=True, slots=True)
class CoreType:
    """A core type kept as bytes. `count` is how many indices it takes: a recursive group may take several."""

    data: Data
    count: int = 1


# --- components and instances ---


@dataclass(frozen=True, slots=True)
class NestedComponent:
    """A component defined inside another."""

    component: Component


@dataclass(frozen=True, slots=True)
class Instantiate:
    """An instance made from a component."""

    component: int
    arguments: tuple[tuple[str, Sort, int], ...]


@dataclass(frozen=True, slots=True)
class Bag:
    """An instance put together from existing definitions."""

    exports: tuple[tuple[ExternName, Sort, int], ...]


# --- aliases ---


@dataclass(frozen=True, slots=True)
class AliasExport:
    """An export of an instance."""

    sort: Sort
    instance: int
    name: str


@dataclass(frozen=True, slots=True)
class AliasCoreExport:
    """An export of a core instance."""

    sort: Sort
    instance: int
    name: str


@dataclass(frozen=True, slots=True)
class AliasOuter:
    """A definition of an enclosing scope; `count` scopes out, 0 being the current one."""

    sort: Sort
    count: int
    index: int


# --- types ---


@dataclass(frozen=True, slots=True)
class PrimitiveDef:
    """A primitive under a type index of its own."""

    name: str


@dataclass(frozen=True, slots=True)
class RecordDef:
    fields: tuple[tuple[str, ValueType], ...]


@dataclass(frozen=True, slots=True)
class VariantDef:
    cases: tuple[tuple[str, ValueType | None], ...]


@dataclass(frozen=True, slots=True)
class ListDef:
    element: ValueType


@dataclass(frozen=True, slots=True)
class FixedListDef:
    element: ValueType
    length: int


@dataclass(frozen=True, slots=True)
class TupleDef:
    items: tuple[ValueType, ...]


@dataclass(frozen=True, slots=True)
class FlagsDef:
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EnumDef:
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OptionDef:
    value: ValueType


@dataclass(frozen=True, slots=True)
class ResultDef:
    ok: ValueType | None
    error: ValueType | None


@dataclass(frozen=True, slots=True)
class OwnDef:
    resource: int


@dataclass(frozen=True, slots=True)
class BorrowDef:
    resource: int


@dataclass(frozen=True, slots=True)
class StreamDef:
    element: ValueType | None


@dataclass(frozen=True, slots=True)
class FutureDef:
    value: ValueType | None


@dataclass(frozen=True, slots=True)
class MapDef:
    key: ValueType
    value: ValueType


@dataclass(frozen=True, slots=True)
class ResourceDef:
    """A resource type of the component's own; `destructor` is a core func index."""

    representation: str
    destructor: int | None


@dataclass(frozen=True, slots=True)
class FunctionDef:
    parameters: tuple[tuple[str, ValueType], ...]
    result: ValueType | None
    is_async: bool = False


@dataclass(frozen=True, slots=True)
class InstanceDef:
    """An instance type: a scope of its own, whose indices start at 0."""

    declarations: tuple[Declaration, ...]


@dataclass(frozen=True, slots=True)
class ComponentDef:
    """A component type: as an instance type, with imports."""

    declarations: tuple[Declaration, ...]


DefinedType: TypeAlias = (
    PrimitiveDef
    | RecordDef
    | VariantDef
    | ListDef
    | FixedListDef
    | TupleDef
    | FlagsDef
    | EnumDef
    | OptionDef
    | ResultDef
    | OwnDef
    | BorrowDef
    | StreamDef
    | FutureDef
    | MapDef
    | ResourceDef
    | FunctionDef
    | InstanceDef
    | ComponentDef
)


@dataclass(frozen=True, slots=True)
class TypeDefinition:
    type: DefinedType


# --- canonical definitions ---


@dataclass(frozen=True, slots=True)
class Lift:
    """A component function made of a core function."""

    core_function: int
    options: Options
    type: int


@dataclass(frozen=True, slots=True)
class Lower:
    """A core function made of a component function."""

    function: int
    options: Options


@dataclass(frozen=True, slots=True)
class ResourceNew:
    type: int


@dataclass(frozen=True, slots=True)
class ResourceDrop:
    """`is_async` is opcode 0x07 of earlier drafts."""

    type: int
    is_async: bool = False


@dataclass(frozen=True, slots=True)
class ResourceRep:
    type: int


Operand: TypeAlias = int | str | bool | Options | None


@dataclass(frozen=True, slots=True)
class CanonBuiltin:
    """Any other canonical built-in, such as `task.return` or `stream.read`.

    Attributes:
        name: as in the text format.
        operands: their kinds are in `opcodes.BUILTINS[name]`.
    """

    name: str
    operands: tuple[Operand, ...] = ()


# --- the rest ---


@dataclass(frozen=True, slots=True)
class Start:
    """A start function; `results` values are added to the value space."""

    function: int
    arguments: tuple[int, ...]
    results: int


@dataclass(frozen=True, slots=True)
class ValueDefinition:
    """A constant, its bytes not parsed."""

    type: ValueType
    data: Data


@dataclass(frozen=True, slots=True)
class Import:
    name: ExternName
    description: ExternType


@dataclass(frozen=True, slots=True)
class Export:
    """An export, which also adds an index to the space of its sort."""

    name: ExternName
    sort: Sort
    index: int
    description: ExternType | None = None


@dataclass(frozen=True, slots=True)
class ExportDeclaration:
    """An export in an instance or component type."""

    name: ExternName
    description: ExternType


@dataclass(frozen=True, slots=True)
class Custom:
    name: str
    data: Data


Definition: TypeAlias = (
    CoreModule
    | CoreInstantiate
    | CoreBag
    | CoreType
    | NestedComponent
    | Instantiate
    | Bag
    | AliasExport
    | AliasCoreExport
    | AliasOuter
    | TypeDefinition
    | Lift
    | Lower
    | ResourceNew
    | ResourceDrop
    | ResourceRep
    | CanonBuiltin
    | Start
    | ValueDefinition
    | Import
    | Export
    | Custom
)

Declaration: TypeAlias = (
    CoreType | TypeDefinition | AliasExport | AliasCoreExport | AliasOuter | Import | ExportDeclaration
)


@dataclass(frozen=True, slots=True)
class Component:
    definitions: tuple[Definition, ...]


_FIXED_SPACES: dict[type, Sort] = {
    CoreModule: "core module",
    CoreInstantiate: "core instance",
    CoreBag: "core instance",
    CoreType: "core type",
    NestedComponent: "component",
    Instantiate: "instance",
    Bag: "instance",
    TypeDefinition: "type",
    Lift: "func",
    Lower: "core func",
    ResourceNew: "core func",
    ResourceDrop: "core func",
    ResourceRep: "core func",
    CanonBuiltin: "core func",
    Start: "value",
    ValueDefinition: "value",
}


def defines(definition: Definition | Declaration) -> Sort | None:
    """The index space that a definition or declaration adds to, `None` for a custom section.

    Exports and imports add to the space of their sort, exactly as an alias does (Binary.md, "All exports
    introduce a new index"). How many indices are added says `defined_count`.
    """
    space = _FIXED_SPACES.get(type(definition))
    if space is not None:
        return space
    if isinstance(definition, (AliasExport, AliasCoreExport, AliasOuter, Export)):
        return definition.sort
    if isinstance(definition, (Import, ExportDeclaration)):
        return definition.description.sort
    return None


def defined_count(definition: Definition | Declaration) -> int:
    """How many indices the definition adds to the space that `defines` names."""
    if isinstance(definition, CoreType):
        return definition.count
    if isinstance(definition, Start):
        return definition.results
    return 0 if isinstance(definition, Custom) else 1


def numbered(
    definitions: Iterable[Definition | Declaration],
) -> Iterator[tuple[Definition | Declaration, Sort | None, int]]:
    """Each definition with its space and the first index that it takes there (0 for a custom section)."""
    sizes: dict[Sort, int] = {}
    for definition in definitions:
        space = defines(definition)
        if space is None:
            yield definition, None, 0
            continue
        index = sizes.get(space, 0)
        sizes[space] = index + defined_count(definition)
        yield definition, space, index
