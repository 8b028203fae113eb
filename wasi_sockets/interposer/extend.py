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
    ValueType,
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
_SAME_ERROR = (
    _OUT + "blocking-write-and-flush",
    _OUT + "blocking-flush",
    _OUT + "blocking-write-zeroes-and-flush",
    _OUT + "blocking-splice",
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
            self.derived(name, "u64")
        elif name == _OUT + "flush":
            self.derived(name, None)
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

    def derived(self, name: str, ok: ValueType | None) -> None:
        """Declares a function of the stream alone, with the error of a sibling."""
        found = self.sibling(_SAME_ERROR)
        if found is None:
            raise self.unknown(name)
        function = found[1]
        result = self.types[function.result] if isinstance(function.result, int) else None
        if not isinstance(result, TypeDefinition) or not isinstance(result.type, ResultDef):
            raise self.unknown(name)
        made = self.define(TypeDefinition(ResultDef(ok, result.type.error)))
        self.export(name, self.define(TypeDefinition(FunctionDef(function.parameters[:1], made))))

    def reexport(self, name: str, outer: int) -> None:
        for declaration in (
            AliasOuter("type", 1, outer),
            ExportDeclaration(ExternName(name), ExternType("type", len(self.types))),
        ):
            self.declarations.append(declaration)
            self.types.append(declaration)

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
