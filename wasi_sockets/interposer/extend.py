"""Functions of the stock host that the shim calls and the guest did not import, added to the import's type.

Declarations are appended inside the instance type, whose indices are its own, so nothing outside moves. Their types
are taken from a sibling that the guest did import: `read` has the type of `blocking-read`, and so on.
"""

from __future__ import annotations

from collections.abc import Collection

from wasi_sockets.component.indices import map_indices
from wasi_sockets.component.model import (
    AliasOuter,
    BorrowDef,
    Declaration,
    ExportDeclaration,
    ExternName,
    ExternType,
    FunctionDef,
    InstanceDef,
    OwnDef,
    ResultDef,
    Sort,
    TypeDefinition,
    defines,
)
from wasi_sockets.errors import UnsupportedComponentError

__all__ = ["extended", "refers_outside"]

_IN = "[method]input-stream."
_OUT = "[method]output-stream."

_SAME_TYPE = {
    _IN + "read": (_IN + "blocking-read",),
    _IN + "skip": (_IN + "blocking-skip",),
    _OUT + "write": (_OUT + "blocking-write-and-flush",),
    _OUT + "flush": (_OUT + "blocking-flush",),
    _OUT + "write-zeroes": (_OUT + "blocking-write-zeroes-and-flush",),
    _OUT + "splice": (_OUT + "blocking-splice",),
}
_UNIT_RESULT = (
    _OUT + "blocking-write-and-flush",
    _OUT + "blocking-flush",
    _OUT + "blocking-write-zeroes-and-flush",
    _OUT + "write",
)


class _Extension:
    def __init__(self, import_name: str, declared: InstanceDef) -> None:
        self.import_name = import_name
        self.declarations = list(declared.declarations)
        self.types = [each for each in declared.declarations if defines(each) == "type"]
        self.functions = {
            each.name.name: each.description.type
            for each in declared.declarations
            if isinstance(each, ExportDeclaration) and each.description.sort == "func"
        }

    def define(self, declaration: TypeDefinition) -> int:
        self.declarations.append(declaration)
        self.types.append(declaration)
        return len(self.types) - 1

    def export(self, name: str, type_index: int) -> None:
        self.declarations.append(ExportDeclaration(ExternName(name), ExternType("func", type_index)))
        self.functions[name] = type_index

    def sibling(self, names: Collection[str]) -> tuple[int, FunctionDef] | None:
        for name in names:
            index = self.functions.get(name)
            if isinstance(index, int) and index < len(self.types):
                declaration: Declaration = self.types[index]
                if isinstance(declaration, TypeDefinition) and isinstance(declaration.type, FunctionDef):
                    return index, declaration.type
        return None

    def add(self, name: str) -> None:
        if name in self.functions:
            return
        same = self.sibling(_SAME_TYPE.get(name, ()))
        if same is not None:
            self.export(name, same[0])
        elif name == _OUT + "check-write":
            self.check_write()
        elif name == _OUT + "flush":
            function = self.unit_sibling(name)
            self.export(
                name, self.define(TypeDefinition(FunctionDef(function.parameters[:1], function.result)))
            )
        elif name == "[method]pollable.ready":
            borrow = self.define(TypeDefinition(BorrowDef(self.resource("pollable"))))
            self.export(name, self.define(TypeDefinition(FunctionDef((("self", borrow),), "bool"))))
        elif name in (_IN + "subscribe", _OUT + "subscribe"):
            stream = name.removeprefix("[method]").removesuffix(".subscribe")
            borrow = self.define(TypeDefinition(BorrowDef(self.resource(stream))))
            own = self.define(TypeDefinition(OwnDef(self.resource("pollable"))))
            self.export(name, self.define(TypeDefinition(FunctionDef((("self", borrow),), own))))
        elif name == "now":
            self.export(name, self.define(TypeDefinition(FunctionDef((), "u64"))))
        else:
            raise self.unknown(name)

    def check_write(self) -> None:
        function = self.unit_sibling(_OUT + "check-write")
        unit = self.types[function.result] if isinstance(function.result, int) else None
        if not isinstance(unit, TypeDefinition) or not isinstance(unit.type, ResultDef):
            raise self.unknown(_OUT + "check-write")
        result = self.define(TypeDefinition(ResultDef("u64", unit.type.error)))
        self.export(
            _OUT + "check-write", self.define(TypeDefinition(FunctionDef(function.parameters[:1], result)))
        )

    def reexport(self, name: str, outer: int) -> None:
        for declaration in (
            AliasOuter("type", 1, outer),
            ExportDeclaration(ExternName(name), ExternType("type", len(self.types))),
        ):
            self.declarations.append(declaration)
            self.types.append(declaration)

    def unit_sibling(self, wanted: str) -> FunctionDef:
        found = self.sibling(_UNIT_RESULT)
        if found is None:
            raise self.unknown(wanted)
        return found[1]

    def resource(self, name: str) -> int:
        index = 0
        for declaration in self.declarations:
            if (
                isinstance(declaration, ExportDeclaration)
                and declaration.name.name == name
                and declaration.description.sort == "type"
            ):
                return index
            index += defines(declaration) == "type"
        raise self.unknown(name)

    def unknown(self, name: str) -> UnsupportedComponentError:
        return UnsupportedComponentError(
            f"import {self.import_name!r}",
            f"its type gives no hint how {name!r} looks there, which the shim needs; declare that function too",
        )


def refers_outside(declared: InstanceDef) -> bool:
    """Whether the type means something else when it is moved into another component."""
    inside: list[Sort] = []

    def found(space: Sort, index: int) -> int:
        inside.append(space)
        return index

    map_indices(TypeDefinition(declared), found, lambda space, _, index: found(space, index))
    return bool(inside)


def extended(
    import_name: str, declared: InstanceDef, functions: Collection[str], pollable: int | None = None
) -> InstanceDef:
    """The instance type with these functions declared too.

    Args:
        import_name: of the instance, for messages.
        declared: its type.
        functions: what to declare.
        pollable: a type of the component around, which the instance then exports as "pollable".

    Raises:
        UnsupportedComponentError: a function's type cannot be told from what is declared.
    """
    extension = _Extension(import_name, declared)
    if pollable is not None:
        extension.reexport("pollable", pollable)
    # A fixed order, so that the same guest always gives the same bytes.
    for name in sorted(functions):
        extension.add(name)
    return InstanceDef(tuple(extension.declarations))
