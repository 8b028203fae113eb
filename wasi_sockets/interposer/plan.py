"""What is to be replaced in each component instance of a guest, or why the guest is refused.

Nothing is rewritten here: a plan is made for the whole guest first, so that a refusal leaves nothing half done.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from wasi_sockets.component import model
from wasi_sockets.component.layout import core_signature
from wasi_sockets.component.types import FunctionType, ResourceType, weight
from wasi_sockets.errors import InvalidComponentError, UnsupportedComponentError
from wasi_sockets.interposer.crossing import Crossings
from wasi_sockets.interposer.expected import check_function, check_stock
from wasi_sockets.interposer.flow import FunctionEntity, InstanceEntity, Scope
from wasi_sockets.interposer.items import Item
from wasi_sockets.interposer.pollables import can_subscribe
from wasi_sockets.interposer.table import (
    DROP_POLLABLE,
    DROPS,
    FUNCTIONS,
    REPLACED_INTERFACES,
    STOCK_DROPS,
    WAITING,
    Row,
)
from wasi_sockets.interposer.trampoline import MAX_PARAMETERS

__all__ = [
    "MEMORY_FAST_PATHS",
    "REALM_FAST_PATHS",
    "Plan",
    "Replacement",
    "plan",
]

HOST_NAMESPACE = "wasi-sockets:"

MAX_ITEMS = 10_000
"""Items in one guest, fast paths included. Each costs text to be assembled; real guests have about 100."""

MAX_TYPE_WEIGHT = 10_000
"""Parts of the type of one replaced function; those of WASI have fewer than 200."""

MAX_COPIED = 512 << 20
"""Bytes of core modules in rewritten inner components: each instance of them gets a copy of its own."""

_FAST = {
    "hello": (0, False),
    "now": (0, False),
    "attach": (1, False),
    "avail": (1, False),
    "permit": (1, False),
    "flush": (1, False),
    "failure": (1, False),
    "trap": (2, False),
    "drops": (7, False),
    "take-back": (2, False),
    "check": (1, False),
    "wait": (2, True),
    "watch": (7, False),
    "wait-many": (1, True),
    "sleep": (1, True),
    "recv": (3, False),
    "send": (3, False),
    "locate": (1, False),
}
MEMORY_FAST_PATHS = ("recv", "send", "locate")
REALM_FAST_PATHS = tuple(name for name in _FAST if name not in MEMORY_FAST_PATHS)

_POLL_SLOT_FUNCTION = "[method]pollable.ready"
_CLOCK_SLOT_FUNCTION = "now"


@dataclass(frozen=True, slots=True)
class Replacement:
    """One canon definition that a trampoline takes the place of.

    Attributes:
        item: what the engine is told.
        row: its row of the table; None for a drop.
        form: the library form that it uses; "" where its trampoline is generated.
        memory: the core memory index of its options, in the numbering of the guest.
        realloc: likewise the core function index of its realloc.
        stock: the stock functions that its trampoline calls, KEY -> name; "" is the function itself.
        instance: the host instance that they are exports of.
    """

    item: Item
    row: Row | None
    form: str
    memory: int | None = None
    realloc: int | None = None
    stock: Mapping[str, str] = field(default_factory=dict)
    instance: InstanceEntity | None = None


@dataclass(slots=True, eq=False)
class Plan:
    """What happens to one scope.

    Attributes:
        scope: the component instance.
        replacements: position of a definition -> what replaces it.
        realm: its number, when it has replacements.
        fast_paths: the item numbers of the fast paths of its realm, by name.
        memory_fast_paths: the same for each of its memories, by the memory's number in the guest.
        children: position of an instantiation -> plan of the scope that it makes.
        needs: something changes here or further in.
    """

    scope: Scope
    replacements: dict[int, Replacement] = field(default_factory=dict)
    realm: int = -1
    fast_paths: dict[str, int] = field(default_factory=dict)
    memory_fast_paths: dict[int, dict[str, int]] = field(default_factory=dict)
    children: dict[int, Plan] = field(default_factory=dict)
    needs: bool = False


def plan(root: Scope) -> tuple[Plan, tuple[Item, ...]]:
    """The plan for a guest, and all its items in the order of their numbers.

    Raises:
        UnsupportedComponentError: something cannot be interposed; the message names it.
        InvalidComponentError: the component contradicts itself.
    """
    _refuse_reserved_imports(root.component, root.path)
    planner = _Planner()
    made = planner.scope(root)
    return made, tuple(planner.items)


def _refuse_reserved_imports(component: model.Component, path: str) -> None:
    for definition in component.definitions:
        if isinstance(definition, model.Import):
            name = definition.name.name
            if name.startswith(HOST_NAMESPACE):
                raise UnsupportedComponentError(
                    f"import {name!r} in {path}",
                    "this namespace belongs to the host itself and a guest may not import it; remove the import",
                )
            package, _, version = name.partition("@")
            if package.startswith("wasi:") and version.startswith("0.3"):
                raise UnsupportedComponentError(
                    f"import {name!r} in {path}, a WASI 0.3 component",
                    "WASI 0.3 is not supported yet; build the component for WASI 0.2",
                )
        elif isinstance(definition, model.Export):
            package, _, version = definition.name.name.partition("@")
            if package.startswith("wasi:") and version.startswith("0.3"):
                raise UnsupportedComponentError(
                    f"export {definition.name.name!r} of {path}, a WASI 0.3 component",
                    "WASI 0.3 is not supported yet; build the component for WASI 0.2",
                )
        elif isinstance(definition, model.NestedComponent):
            _refuse_reserved_imports(definition.component, "an inner component")


class _CoreNames:
    """Which core memory an index means: several aliases of one export are one memory."""

    def __init__(self) -> None:
        self.instances: list[model.CoreInstantiate | model.CoreBag | None] = []
        self.memories: list[object] = []

    def add(self, definition: model.Definition) -> None:
        space = model.defines(definition)
        if space == "core instance":
            known = isinstance(definition, model.CoreInstantiate | model.CoreBag)
            self.instances.append(definition if known else None)  # type: ignore[arg-type]
        elif space == "core memory":
            identity: object = ("unnamed", len(self.memories))
            if isinstance(definition, model.AliasCoreExport):
                identity = self.export(definition.instance, definition.name)
            self.memories.append(identity)

    def export(self, instance: int, name: str) -> object:
        if instance < len(self.instances):
            made = self.instances[instance]
            if isinstance(made, model.CoreBag):
                for exported, sort, index in made.exports:
                    if exported == name and sort == "core memory" and index < len(self.memories):
                        return self.memories[index]
        return (instance, name)

    def memory(self, index: int, path: str) -> object:
        if index >= len(self.memories):
            raise InvalidComponentError(
                f"{path} names core memory {index} but has only {len(self.memories)};"
                " the file is damaged, build it again"
            )
        return self.memories[index]


class _Planner:
    def __init__(self) -> None:
        self.items: list[Item] = []
        self.realms = 0
        self.memories = 0
        self.copied = 0
        self.crossings = Crossings()

    def scope(self, scope: Scope) -> Plan:
        made = Plan(scope)
        names = _CoreNames()
        memories: dict[object, int] = {}
        for position, definition in enumerate(scope.component.definitions):
            names.add(definition)
            match definition:
                case model.Lower():
                    replacement = self.lower(made, definition, names, memories)
                case model.ResourceDrop():
                    replacement = self.drop(made, definition)
                case model.Lift():
                    self.refuse_lift(scope, definition)
                    continue
                case model.Instantiate() if position in scope.children:
                    child = self.scope(scope.children[position])
                    made.children[position] = child
                    made.needs = made.needs or child.needs
                    if child.needs:
                        self.refuse_copies(child)
                    continue
                case _:
                    continue
            if replacement is not None:
                made.replacements[position] = replacement
                made.needs = True
        self.drop_waiting(made)
        self.additions(made)
        return made

    def refuse_copies(self, child: Plan) -> None:
        scope = child.scope
        if scope.written_in is not scope.made_in:
            raise UnsupportedComponentError(
                f"{scope.path}, which uses {_first_import(child)}",
                "it is defined in one component and instantiated in another; define it where it is instantiated",
            )
        self.copied += _module_bytes(scope.component)
        if self.copied > MAX_COPIED:
            raise UnsupportedComponentError(
                f"{scope.path}, instantiated many times",
                f"each instance needs its own copy, which makes more than {MAX_COPIED >> 20} MiB; instantiate it once",
            )

    # ------------------------------------------------------------ canon lower

    def lower(
        self, made: Plan, definition: model.Lower, names: _CoreNames, memories: dict[object, int]
    ) -> Replacement | None:
        scope = made.scope
        function = scope.at("func", definition.function)
        if not isinstance(function, FunctionEntity):
            return None
        row = FUNCTIONS.get(function.interface, {}).get(function.name)
        if row is None:
            self.refuse_lower(scope, function)
            return None
        if function.type is None:
            raise InvalidComponentError(
                f"{scope.path} lowers {function.interface}.{function.name}, which has no type; build it again"
            )
        if function.type.is_async or model.option(definition.options, "async") is not None:
            raise UnsupportedComponentError(
                f"an async lower of {function.interface}.{function.name} in {scope.path}",
                "async functions are WASI 0.3, which is not supported yet; build the component for WASI 0.2",
            )
        for unknown in ("gc", "core-type"):
            if model.option(definition.options, unknown) is not None:
                raise UnsupportedComponentError(
                    f"option {unknown!r} of the lowered {function.interface}.{function.name} in {scope.path}",
                    "only values in linear memory can be carried; build the component without it",
                )
        if weight(function.type) > MAX_TYPE_WEIGHT:
            raise UnsupportedComponentError(
                f"{function.interface}.{function.name} with a type of {weight(function.type)} parts",
                "WASI 0.2 has no such type; build against the released interface",
            )
        parameters, results = core_signature(function.type)
        if len(parameters) > MAX_PARAMETERS:
            raise UnsupportedComponentError(
                f"{function.interface}.{function.name} with {len(parameters)} flat parameters",
                f"at most {MAX_PARAMETERS} can be carried",
            )
        check_function(function, row, definition.options)
        memory_option = model.option(definition.options, "memory")
        realloc_option = model.option(definition.options, "realloc")
        memory = None if memory_option is None else memory_option.index
        number: int | None = None
        if memory is not None:
            identity = names.memory(memory, scope.path)
            if identity not in memories:
                memories[identity] = self.memories
                self.memories += 1
            number = memories[identity]
        item = self.item(
            made,
            Item(
                id=0,
                realm=0,
                interface=function.interface,
                name=function.name,
                function_type=function.type,
                resource=None,
                parameters=parameters,
                results=results,
                encoding=model.string_encoding(definition.options),
                memory=number,
                allocates=realloc_option is not None,
                suspends=row.suspends,
            ),
        )
        if number is not None and number not in made.memory_fast_paths:
            made.memory_fast_paths[number] = {
                name: self.fast_path(made.realm, name, number).id for name in MEMORY_FAST_PATHS
            }
        return Replacement(
            item,
            row,
            row.form,
            memory,
            None if realloc_option is None else realloc_option.index,
            row.stock,
            function.instance,
        )

    def refuse_lower(self, scope: Scope, function: FunctionEntity) -> None:
        if function.interface in REPLACED_INTERFACES:
            raise UnsupportedComponentError(
                f"{function.interface}.{function.name}",
                "this release does not know the function; use a newer one, or build against an older WASI 0.2",
            )
        if function.type is None:
            return
        host = bool(function.name)
        resource = self.crossings.first(function.type, results=not host)
        if resource is None:
            return
        handle = f"{resource.interface}.{resource.name}"
        if host:
            where = f"import {function.interface!r}: its function" if function.interface else "import"
            raise UnsupportedComponentError(
                f"{where} {function.name!r} takes {handle}",
                "it is answered by the stock host, which does not know virtual handles; leave it out, or use plain"
                " sockets and let the host do that part",
            )
        raise UnsupportedComponentError(
            f"a link between inner components of {scope.path}: a function passes {handle}",
            "a virtual handle cannot cross a component function; pass the bytes, or merge the two components",
        )

    def refuse_lift(self, scope: Scope, definition: model.Lift) -> None:
        lifted = scope.type_at(definition.type)
        if not isinstance(lifted, FunctionType):
            return
        resource = self.crossings.first(lifted, results=True)
        if resource is not None:
            raise UnsupportedComponentError(
                f"a function that {scope.path} exports: it passes {resource.interface}.{resource.name}",
                "a virtual handle cannot cross a component function; pass the bytes instead",
            )

    # ------------------------------------------------------------ resource.drop

    def drop(self, made: Plan, definition: model.ResourceDrop) -> Replacement | None:
        resource = made.scope.type_at(definition.type)
        if not isinstance(resource, ResourceType):
            return None
        form = DROPS.get((resource.interface, resource.name))
        if form is None:
            return None
        item = self.item(
            made,
            Item(
                id=0,
                realm=0,
                interface=resource.interface,
                name=f"[resource-drop]{resource.name}",
                function_type=None,
                resource=f"{resource.interface}.{resource.name}",
                parameters=("i32",),
                results=(),
                encoding="utf8",
                memory=None,
                allocates=False,
                suspends=False,
            ),
        )
        stock = {"self": ""} if (resource.interface, resource.name) in STOCK_DROPS else {}
        return Replacement(item, None, form, stock=stock)

    # ------------------------------------------------------------ items

    def item(self, made: Plan, item: Item) -> Item:
        if made.realm < 0:
            made.realm = self.realms
            self.realms += 1
            made.fast_paths = {name: self.fast_path(made.realm, name, None).id for name in REALM_FAST_PATHS}
        if len(self.items) > MAX_ITEMS:
            raise UnsupportedComponentError(
                "a component that lowers the functions to be replaced again and again",
                f"more than {MAX_ITEMS} trampolines would be needed; lower each function once",
            )
        numbered = replace(item, id=len(self.items), realm=made.realm)
        self.items.append(numbered)
        return numbered

    def fast_path(self, realm: int, name: str, memory: int | None) -> Item:
        arity, suspends = _FAST[name]
        item = Item(
            id=len(self.items),
            realm=realm,
            interface="shim",
            name=name,
            function_type=None,
            resource=None,
            parameters=("i64",) * arity,
            results=("i64",),
            encoding="utf8",
            memory=memory,
            allocates=False,
            suspends=suspends,
        )
        self.items.append(item)
        return item

    # ------------------------------------------------------------ stock functions

    def drop_waiting(self, made: Plan) -> None:
        """Takes from forms what they need pollables for, where the guest has none."""
        polls = any(
            each.item.interface == "wasi:io/poll" and each.row is not None
            for each in made.replacements.values()
        )
        for position, each in made.replacements.items():
            if WAITING & each.stock.keys() and not (polls and can_subscribe(made.scope, each.instance)):
                kept = {key: name for key, name in each.stock.items() if key not in WAITING}
                made.replacements[position] = replace(each, stock=kept)

    def additions(self, made: Plan) -> None:
        """Which functions the imports must declare besides, here and in all scopes that hand them in."""
        declared: set[tuple[int, str]] = set()
        for replacement in made.replacements.values():
            instance = replacement.instance
            if instance is None:
                continue
            wanted = {key: name for key, name in replacement.stock.items() if name and name != DROP_POLLABLE}
            if replacement.item.interface == "wasi:io/poll":
                wanted["ready"] = _POLL_SLOT_FUNCTION
            elif replacement.item.interface == "wasi:clocks/monotonic-clock":
                wanted["now"] = _CLOCK_SLOT_FUNCTION
            for key, name in wanted.items():
                check_stock(replacement.item, key, name, instance.exports.get(name))
                if (id(instance), name) not in declared:
                    declared.add((id(instance), name))
                    _declare(made, instance, name, replacement.item)


def _declare(made: Plan, instance: InstanceEntity, name: str, item: Item) -> None:
    scope: Scope | None = made.scope
    while scope is not None:
        positions = [position for position, entity in scope.imports.items() if entity is instance]
        if not positions:
            raise UnsupportedComponentError(
                f"{item.interface}.{item.name} in {made.scope.path}",
                f"the component is handed single functions of {item.interface}, and {name!r} is needed too;"
                " hand it the whole instance",
            )
        for position in positions:
            scope.wanted.setdefault(position, set()).add(name)
            _refuse_detour(scope, position, instance)
        scope = scope.made_in


def _refuse_detour(scope: Scope, position: int, instance: InstanceEntity) -> None:
    """An instance that came here through the exports of a sibling has no more functions than that one declares."""
    around = scope.made_in
    definition = scope.component.definitions[position]
    if around is None or not isinstance(definition, model.Import):
        return
    for made_at, child in around.children.items():
        instantiation = around.component.definitions[made_at]
        if child is not scope or not isinstance(instantiation, model.Instantiate):
            continue
        for name, sort, index in instantiation.arguments:
            if name == definition.name.name and sort == "instance" and not around.is_import(index):
                raise UnsupportedComponentError(
                    f"{scope.path}, which is handed {instance.import_name!r} by way of another inner component",
                    "more of its functions may be needed than that one passes on; hand it the import itself",
                )


def _module_bytes(component: model.Component) -> int:
    total = 0
    for definition in component.definitions:
        if isinstance(definition, model.CoreModule):
            total += len(definition.data)
        elif isinstance(definition, model.NestedComponent):
            total += _module_bytes(definition.component)
    return total


def _first_import(made: Plan) -> str:
    for each in _all(made):
        for replacement in each.replacements.values():
            return replacement.item.interface
    return "interposed interfaces"


def _all(made: Plan) -> Iterator[Plan]:
    yield made
    for child in made.children.values():
        yield from _all(child)
