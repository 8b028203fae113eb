"""A component written anew with trampolines in place of what its plan replaces; all else is carried over.

Every definition keeps its place and gets a new index; trampolines are put in front of the first definition that uses
them, when all that they need exists.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import wasmtime

from wasi_sockets.component import model
from wasi_sockets.component.indices import map_component, map_indices, references
from wasi_sockets.errors import InvalidComponentError, UnsupportedComponentError
from wasi_sockets.interposer.extend import extended, refers_outside
from wasi_sockets.interposer.flow import InstanceEntity, Scope, TypeEntity
from wasi_sockets.interposer.library import Assembly, assemble, state_exports, state_text
from wasi_sockets.interposer.plan import Plan, Replacement
from wasi_sockets.interposer.pollables import declares_pollable, pollable_import
from wasi_sockets.interposer.table import DROP_POLLABLE, WAITING, Style
from wasi_sockets.interposer.trampoline import MAX_PARAMETERS, generated, guest_signature

__all__ = ["HOST_INSTANCE", "host_functions", "rewrite"]

HOST_INSTANCE = "wasi-sockets:shim/host@0.1.0"

_NOW_SLOT, _READY_SLOT = 0, 1
_SLOTS = {
    "wasi:clocks/monotonic-clock": (_NOW_SLOT, "now", "(result i64)"),
    "wasi:io/poll": (_READY_SLOT, "[method]pollable.ready", "(param i32) (result i32)"),
}
_BINARY = model.CanonOption("latin1+utf16")


def host_functions() -> dict[str, tuple[tuple[str, ...], str]]:
    """The functions of the extra import: name -> component types of parameters and result."""
    functions: dict[str, tuple[tuple[str, ...], str]] = {}
    for kind in ("call", "wait"):
        for count in range(MAX_PARAMETERS + 1):
            functions[f"{kind}{count}"] = (("u64",) * (count + 1), "u64")
    functions["resume"] = (("u64",), "u64")
    functions["push"] = (("string",), "u64")
    functions["pull"] = ((), "string")
    return functions


def rewrite(plan: Plan) -> model.Component:
    """The whole guest, rewritten as planned."""
    return _Emitter(plan, None).run()


@lru_cache(maxsize=256)
def _compiled(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


class _Emitter:
    """Writes one scope; knows where each of its old indices went."""

    def __init__(self, plan: Plan, parent: _Emitter | None) -> None:
        self.plan = plan
        self.scope: Scope = plan.scope
        self.parent = parent
        self.definitions: list[model.Definition] = []
        self.sizes: dict[str, int] = {}
        self.maps: dict[str, list[int | None]] = {}
        self.pending: dict[int, Replacement] = {}
        self.host = -1
        self.lowered: dict[str, int] = {}
        self.state = -1
        self.state_memory = -1
        self.pushes: dict[int, int] = {}
        self.pulled = -1
        self.filled: set[str] = set()
        self.kept = self.kept_components()
        self.copied = {definition.component for definition, child in self.instantiations() if child.needs}
        self.positions = {id(replacement): position for position, replacement in plan.replacements.items()}
        self.instances: dict[int, int] = {}
        for index, entity in enumerate(self.scope.spaces.get("instance", ())):
            self.instances.setdefault(id(entity), index)

    # ------------------------------------------------------------ indices

    def emit(self, definition: model.Definition) -> int:
        """Adds a definition; its first index in its space."""
        self.definitions.append(definition)
        space = model.defines(definition)
        if space is None:
            return -1
        index = self.sizes.get(space, 0)
        self.sizes[space] = index + model.defined_count(definition)
        return index

    def new_index(self, space: str, index: int) -> int:
        known = self.maps.get(space, ())
        new = known[index] if index < len(known) else None
        if new is None:
            raise InvalidComponentError(
                f"{self.scope.path} refers to {space} {index} before it is defined; the file is damaged, build it again"
            )
        return new

    def outer_index(self, space: str, count: int, index: int) -> int:
        emitter: _Emitter | None = self
        for _ in range(count):
            emitter = emitter.parent if emitter is not None else None
        if emitter is None:
            raise InvalidComponentError(
                f"{self.scope.path} has an outer alias that leads outside the component"
            )
        return emitter.new_index(space, index)

    def keep(self, definition: model.Definition, new: int, count: int = 1) -> None:
        """Notes where an old definition's indices are now."""
        space = model.defines(definition)
        if space is not None:
            self.maps.setdefault(space, []).extend(range(new, new + count))

    # ------------------------------------------------------------ the walk

    def run(self) -> model.Component:
        if self.plan.needs:
            self.import_host()
        for position, definition in enumerate(self.scope.component.definitions):
            self.definition(position, definition)
        return model.Component(tuple(self.definitions))

    def import_host(self) -> None:
        declarations: list[model.Declaration] = []
        for index, (name, (parameters, result)) in enumerate(host_functions().items()):
            named = tuple((f"a{position}", valtype) for position, valtype in enumerate(parameters))
            declarations.append(model.TypeDefinition(model.FunctionDef(named, result)))
            declarations.append(
                model.ExportDeclaration(model.ExternName(name), model.ExternType("func", index))
            )
        declared = self.emit(model.TypeDefinition(model.InstanceDef(tuple(declarations))))
        self.host = self.emit(
            model.Import(model.ExternName(HOST_INSTANCE), model.ExternType("instance", declared))
        )

    def definition(self, position: int, definition: model.Definition) -> None:
        if position in self.plan.replacements:
            functions = self.maps.setdefault("core func", [])
            self.pending[len(functions)] = self.plan.replacements[position]
            functions.append(None)
            return
        if self.pending and self.uses_pending(definition):
            self.flush()
        child = self.plan.children.get(position)
        if isinstance(definition, model.Instantiate) and child is not None and child.needs:
            self.keep(definition, self.instantiate(definition, child))
        elif isinstance(definition, model.NestedComponent):
            self.nested(definition)
        elif isinstance(definition, model.Import) and position in self.scope.wanted:
            self.keep(definition, self.extended_import(position, definition))
        elif isinstance(definition, model.Custom):
            if definition.name != "component-name":  # its indices would be those of other definitions now
                self.emit(definition)
        else:
            mapped = map_indices(definition, self.new_index, self.outer_index)
            self.keep(definition, self.emit(mapped), model.defined_count(definition))

    def uses_pending(self, definition: model.Definition) -> bool:
        if isinstance(
            definition, model.CoreModule | model.NestedComponent | model.AliasCoreExport | model.AliasExport
        ):
            return False
        return any(space == "core func" and index in self.pending for space, index in references(definition))

    # ------------------------------------------------------------ inner components

    def instantiations(self) -> Iterable[tuple[model.Instantiate, Plan]]:
        """The inner components that were followed."""
        for position, child in self.plan.children.items():
            definition = self.scope.component.definitions[position]
            if isinstance(definition, model.Instantiate):
                yield definition, child

    def kept_components(self) -> set[int]:
        """Components that something other than a rewritten instantiation refers to."""
        kept: set[int] = set()
        for position, definition in enumerate(self.scope.component.definitions):
            child = self.plan.children.get(position)
            skip = isinstance(definition, model.Instantiate) and child is not None and child.needs
            if isinstance(definition, model.CoreModule) or not self.plan.children:
                continue
            for space, index in references(definition):
                if space == "component" and not (skip and index == definition.component):  # type: ignore[union-attr]
                    kept.add(index)
        return kept

    def nested(self, definition: model.NestedComponent) -> None:
        components = self.maps.setdefault("component", [])
        if len(components) not in self.kept and len(components) in self.copied:
            components.append(None)
            return

        def outer(space: model.Sort, count: int, index: int) -> int:
            return self.outer_index(space, count - 1, index)

        components.append(self.emit(model.NestedComponent(map_component(definition.component, outer))))

    def instantiate(self, definition: model.Instantiate, child: Plan) -> int:
        made = self.emit(model.NestedComponent(_Emitter(child, self).run()))
        arguments = [(name, sort, self.new_index(sort, index)) for name, sort, index in definition.arguments]
        arguments.append((HOST_INSTANCE, "instance", self.host))
        return self.emit(model.Instantiate(made, tuple(arguments)))

    def extended_import(self, position: int, definition: model.Import) -> int:
        declared = self.scope.at("type", definition.description.type)  # type: ignore[arg-type]
        if not isinstance(declared, TypeEntity) or not isinstance(declared.value, model.InstanceDef):
            raise InvalidComponentError(
                f"import {definition.name.name!r} of {self.scope.path} is no instance; build the component again"
            )
        defined = declared.value
        if declared.scope is not self.scope and refers_outside(defined):
            raise UnsupportedComponentError(
                f"import {definition.name.name!r} of {self.scope.path}",
                "its type is written in another component and refers to types there; write it in the importing one",
            )
        mapped = map_indices(model.TypeDefinition(defined), self.new_index, self.outer_index)
        if not isinstance(mapped.type, model.InstanceDef):
            raise TypeError(f"mapping indices made {type(mapped.type).__name__} of an instance type")
        wanted = self.scope.wanted[position]
        pollable: int | None = None
        if any(name.endswith(".subscribe") for name in wanted) and not declares_pollable(defined):
            source = pollable_import(self.scope, position)
            if source is None:
                raise InvalidComponentError(f"{self.scope.path} has no pollable for {definition.name.name!r}")
            pollable = self.emit(model.AliasExport("type", self.instance_of(source), "pollable"))
        larger = extended(definition.name.name, mapped.type, wanted, pollable)
        made = self.emit(model.TypeDefinition(larger))
        return self.emit(model.Import(definition.name, model.ExternType("instance", made)))

    # ------------------------------------------------------------ trampolines

    def flush(self) -> None:
        """Puts the trampolines here that were seen since the last time."""
        self.ensure_state()
        groups: dict[int | None, dict[int, Replacement]] = {}
        for old, replacement in self.pending.items():
            groups.setdefault(replacement.item.memory, {})[old] = replacement
        self.pending = {}
        for memory, group in groups.items():
            self.fill_slots(group.values())
            self.helper(memory, group)

    def core_alias(self, instance: int, name: str, sort: model.Sort = "core func") -> int:
        return self.emit(model.AliasCoreExport(sort, instance, name))

    def host_function(self, name: str) -> int:
        if name not in self.lowered:
            function = self.emit(model.AliasExport("func", self.host, name))
            self.lowered[name] = self.emit(model.Lower(function, ()))
        return self.lowered[name]

    def core_instance(self, text: str, arguments: Iterable[tuple[str, int]]) -> int:
        module = self.emit(model.CoreModule(_compiled(text)))
        return self.emit(model.CoreInstantiate(module, tuple(arguments)))

    def bag(self, exports: Iterable[tuple[str, model.Sort, int]]) -> int:
        return self.emit(model.CoreBag(tuple(exports)))

    def ensure_state(self) -> None:
        if self.state >= 0:
            return
        used = ("call0", "call1", "call2", "call7", "wait1", "wait2")
        host = self.bag([(name, "core func", self.host_function(name)) for name in used])
        self.state = self.core_instance(state_text(self.plan.fast_paths), [("host", host)])

    def memory_of_state(self) -> int:
        if self.state_memory < 0:
            self.state_memory = self.core_alias(self.state, "memory", "core memory")
        return self.state_memory

    def fill_slots(self, replacements: Iterable[Replacement]) -> None:
        """Tells the private half the stock functions that it calls itself."""
        for replacement in replacements:
            slot = _SLOTS.get(replacement.item.interface)
            if slot is None or replacement.item.interface in self.filled or replacement.row is None:
                continue
            self.filled.add(replacement.item.interface)
            number, name, signature = slot
            stock = self.bag(
                [("f", "core func", self.emit(model.Lower(self.stock_function(replacement, name), ())))]
            )
            self.core_instance(
                f'(module (import "state" "stock" (table 2 funcref)) (import "stock" "f" (func {signature}))'
                f" (elem (i32.const {number}) func 0))",
                [("state", self.state), ("stock", stock)],
            )

    def stock_function(self, replacement: Replacement, name: str) -> int:
        """The component function `name` of the host instance that a replaced function comes from."""
        return self.emit(model.AliasExport("func", self.instance_of(replacement.instance), name))

    def instance_of(self, entity: InstanceEntity | None) -> int:
        """The index of an instance now."""
        index = self.instances.get(id(entity))
        if index is None:
            raise InvalidComponentError(
                f"{self.scope.path} lacks an instance that one of its functions is of"
            )
        return self.new_index("instance", index)

    def helper(self, memory: int | None, group: dict[int, Replacement]) -> None:
        reallocs = sorted({each.realloc for each in group.values() if each.realloc is not None})
        roots: list[tuple[str, dict[str, str]]] = []
        texts: list[str] = []
        for replacement in group.values():
            realloc = "none" if replacement.realloc is None else str(reallocs.index(replacement.realloc))
            if replacement.form:
                roots.append((replacement.form, {"I": str(replacement.item.id), "R": realloc}))
            else:
                texts.append(_generated(replacement, realloc))
        shared = {} if memory is None else self.plan.memory_fast_paths[memory]
        assembly = assemble(roots, texts, {name: str(number) for name, number in shared.items()})
        imports = _Imports(self, group, reallocs, assembly)
        instance = self.core_instance(imports.module_text(), imports.arguments())
        functions = self.maps["core func"]
        for old, replacement in group.items():
            functions[old] = self.core_alias(instance, f"f{replacement.item.id}")

    # ------------------------------------------------------------ what a helper imports

    def stock(self, replacement: Replacement, key: str) -> int:
        """The core function that a trampoline calls as `$stock_KEY`."""
        item = replacement.item
        name = replacement.stock[key]
        definition = self.scope.component.definitions[self.positions[id(replacement)]]
        if isinstance(definition, model.ResourceDrop):
            return self.emit(map_indices(definition, self.new_index, self.outer_index))
        if not isinstance(definition, model.Lower):
            raise InvalidComponentError(f"{item.interface}.{item.name} is not lowered")
        if name == DROP_POLLABLE:
            pollable = self.emit(
                model.AliasExport("type", self.instance_of(replacement.instance), "pollable")
            )
            return self.emit(model.ResourceDrop(pollable))
        lower = map_indices(definition, self.new_index, self.outer_index)
        if name:
            options = lower.options
            if key == "check":  # its result is for the trampoline, not for the guest
                options = (model.CanonOption("memory", self.memory_of_state()),)
            elif key in WAITING:
                options = ()
            lower = model.Lower(self.stock_function(replacement, name), options)
        return self.emit(lower)

    def push(self, memory: int) -> int:
        if memory not in self.pushes:
            function = self.emit(model.AliasExport("func", self.host, "push"))
            options = (_BINARY, model.CanonOption("memory", memory))
            self.pushes[memory] = self.emit(model.Lower(function, options))
        return self.pushes[memory]

    def pull(self) -> int:
        if self.pulled < 0:
            memory = self.memory_of_state()
            scratch = self.core_alias(self.state, "scratch")
            function = self.emit(model.AliasExport("func", self.host, "pull"))
            options = (_BINARY, model.CanonOption("memory", memory), model.CanonOption("realloc", scratch))
            self.pulled = self.emit(model.Lower(function, options))
        return self.pulled


class _Imports:
    """The imports of one helper module: their text, and the core instances that satisfy them."""

    def __init__(
        self, emitter: _Emitter, group: dict[int, Replacement], reallocs: list[int], assembly: Assembly
    ) -> None:
        self.emitter = emitter
        self.assembly = assembly
        self.lines: list[str] = []
        self.bags: dict[str, list[tuple[str, model.Sort, int]]] = {"host": [], "guest": [], "stock": []}
        self.memories(next(iter(group.values())))
        by_id = {replacement.item.id: replacement for replacement in group.values()}
        for name in sorted(assembly.externals):
            self.external(name, by_id, reallocs)

    def memories(self, any_of_them: Replacement) -> None:
        if any_of_them.memory is not None:
            memory = self.emitter.new_index("core memory", any_of_them.memory)
            self.bags["guest"].append(("memory", "core memory", memory))
            self.lines.append('(import "guest" "memory" (memory 0))')
        if self.assembly.uses_state_memory:
            self.lines.append('(import "state" "memory" (memory $state 0))')

    def external(self, name: str, by_id: dict[int, Replacement], reallocs: list[int]) -> None:
        exports = state_exports()
        if name == "busy":
            self.lines.append('(import "state" "busy" (global $busy (mut i32)))')
        elif name in exports:
            self.lines.append(f'(import "state" "{name}" (func ${name} {exports[name].signature}))')
        elif name in ("push", "push_state", "pull"):
            self.strings(name)
        elif name.startswith("realloc"):
            self.realloc(name, reallocs)
        elif name.startswith("stock_"):
            self.stock(name, by_id)
        else:
            parameters = " ".join(["(param i64)"] * len(host_functions()[name][0]))
            self.add("host", name, self.emitter.host_function(name), f"{parameters} (result i64)")

    def add(self, bag: str, name: str, function: int, signature: str) -> None:
        self.bags[bag].append((name, "core func", function))
        self.lines.append(f'(import "{bag}" "{name}" (func ${name} {signature}))')

    def strings(self, name: str) -> None:
        if name == "pull":
            self.add("host", name, self.emitter.pull(), "(param i32)")
            return
        if name == "push_state":
            memory = self.emitter.memory_of_state()
        else:
            memory = next(index for export, _, index in self.bags["guest"] if export == "memory")
        self.add("host", name, self.emitter.push(memory), "(param i32 i32) (result i64)")

    def realloc(self, name: str, reallocs: list[int]) -> None:
        if name == "reallocnone":
            self.lines.append(f"(func ${name} (param i32 i32 i32 i32) (result i32) unreachable)")
            return
        function = self.emitter.new_index("core func", reallocs[int(name.removeprefix("realloc"))])
        self.add("guest", name, function, "(param i32 i32 i32 i32) (result i32)")

    def stock(self, name: str, by_id: dict[int, Replacement]) -> None:
        key = name.removeprefix("stock_").rstrip("0123456789")
        replacement = by_id[int(name.removeprefix(f"stock_{key}"))]
        if key in WAITING and key not in replacement.stock:
            # The guest has no pollables: -1, so that nothing is ever dropped.
            result = "" if key == "unsubscribe" else "(result i32) (i32.const -1)"
            self.lines.append(f"(func ${name} (param i32) {result})")
            return
        if key in ("check", "flush"):
            signature = "(param i32 i32)"
        elif key in WAITING:
            signature = "(param i32)" if key == "unsubscribe" else "(param i32) (result i32)"
        else:
            signature = guest_signature(replacement.item.parameters, replacement.item.results)
        self.add("stock", name, self.emitter.stock(replacement, key), signature)

    def module_text(self) -> str:
        # A function defined instead of imported must follow the imports.
        imports = sorted(self.lines, key=lambda line: not line.startswith("(import"))
        return "\n".join(["(module", *imports, self.assembly.text, ")"])

    def arguments(self) -> list[tuple[str, int]]:
        made = [(name, self.emitter.bag(exports)) for name, exports in self.bags.items() if exports]
        return [*made, ("state", self.emitter.state)]


def _generated(replacement: Replacement, realloc: str) -> str:
    item, row = replacement.item, replacement.row
    if row is None:
        raise InvalidComponentError(f"{item.interface}.{item.name} has no row in the table")
    return generated(
        item.id,
        item.parameters,
        item.results,
        memory=item.memory is not None,
        realloc=realloc,
        stock=f"stock_self{item.id}" if "self" in replacement.stock else None,
        asks=row.style is Style.ASK,
        suspends=row.suspends,
        forgets=row.forgets,
        returns_streams=row.returns_streams,
    )
