"""The rooms and who may import whom, as docs/architecture.md draws them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*(ROOT / "wasi_sockets").rglob("*.py"), *(ROOT / "service").rglob("*.py")])

# Room -> rooms it may import, besides itself. "interposer.items" is the one file of the interposer that the engine
# may see. The facade is every file directly in wasi_sockets/.
ALLOWED = {
    "errors": set[str](),
    "telemetry_table": set(),
    "telemetry_errors": {"errors"},
    "telemetry_sources": {"telemetry_table"},
    "telemetry": {"telemetry_errors", "telemetry_sources", "telemetry_table"},
    "network": {"errors", "telemetry"},
    "sockets": {"errors", "network", "telemetry"},
    "wasi": {"errors", "network", "sockets", "telemetry", "component.values"},
    "component": {"errors"},
    "interposer": {"errors", "component"},
    "engine": {"errors", "component", "interposer.items", "telemetry"},
    "conformance": {"errors", "facade", "engine.bindings_versions"},
    "facade": {
        "errors", "network", "sockets", "wasi", "component", "interposer", "engine", "telemetry", "telemetry_table",
        "conformance",
    },
}  # fmt: skip
# The same for service/, whose command line may import all of them. "shared" are the files that its rooms may use.
SERVICE_ALLOWED = {
    "shared": set[str](),
    "spec": {"shared"},
    "oci": {"shared", "spec"},
    "files": {"shared", "spec", "oci"},
    "hosting": {"shared", "spec", "oci"},
    "control": {"shared", "hosting"},
    "kubernetes": {"shared"},
    "operator": {"shared", "spec", "files", "oci", "hosting", "kubernetes"},
    "examples": set(),
}
SERVICE_SHARED = {
    "_doors", "_endings", "_exits", "_guest_text", "_imports", "_netstat", "_notations", "_python_targets", "_serving",
    "_tables", "_terminal", "identity",
}  # fmt: skip
PRIVATE_METHODS = {"_context", "_from_raw", "_from_ptr", "_consume", "_set_ptr"}
PRIVATE_ALLOWED = ("wasi_sockets/engine/bindings",)


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, whole names."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(module: str) -> str:
    """The room that a module name of wasi_sockets belongs to."""
    parts = module.split(".")[1:]
    if not parts or parts[0] not in ALLOWED or parts[0] == "facade":
        return "facade"
    return parts[0]


def allowed(room: str, module: str) -> bool:
    target = room_of(module)
    if target == room:
        return True
    inside = module.removeprefix("wasi_sockets.")
    return any(inside == each or inside.startswith(f"{each}.") or target == each for each in ALLOWED[room])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_its_room_may(path: Path) -> None:
    relative = path.relative_to(ROOT)
    for module in imports(path):
        if relative.parts[0] == "service":
            continue
        assert not module.startswith("service"), f"{relative} imports {module}"
        if module.startswith("wasi_sockets"):
            room = room_of(".".join(relative.with_suffix("").parts))
            assert allowed(room, module), f"{relative} ({room}) may not import {module}"
        if module.startswith("opentelemetry"):
            assert relative.name == "telemetry.py", f"{relative} imports opentelemetry"


def service_room_of(module: str) -> str:
    """The room that a module name of service belongs to; "commands" for what stands on all of them."""
    parts = module.split(".")[1:]
    first = parts[0] if parts else ""
    if parts[:2] == ["kubernetes", "operator"]:
        return "operator"
    if first in SERVICE_SHARED:
        return "shared"
    return first if first in SERVICE_ALLOWED else "commands"


@pytest.mark.parametrize(
    "path",
    [each for each in SOURCES if "service" in each.relative_to(ROOT).parts],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_a_room_of_the_service_imports_only_what_it_may(path: Path) -> None:
    relative = path.relative_to(ROOT)
    room = service_room_of(".".join(relative.with_suffix("").parts))
    if room == "commands":
        return
    for module in imports(path):
        if module.split(".")[0] == "service":
            target = service_room_of(module)
            assert target == room or target in SERVICE_ALLOWED[room], f"{relative} ({room}) imports {module}"


@pytest.mark.parametrize(
    "room", [path for path in (ROOT / "service").iterdir() if (path / "__init__.py").exists()]
)
def test_every_folder_of_the_service_is_a_room(room: Path) -> None:
    assert room.name in SERVICE_ALLOWED


def test_the_rooms_form_no_cycle() -> None:
    done: set[str] = set()
    rooms = {**ALLOWED, **SERVICE_ALLOWED}

    def visit(room: str, above: tuple[str, ...]) -> None:
        assert room not in above, f"a cycle: {above}"
        if room in done:
            return
        for other in rooms[room]:
            visit(other.split(".")[0], (*above, room))
        done.add(room)

    # `facade` and `conformance` are one layer: the checks stand on the facade, the command line on both.
    for room in rooms:
        if room not in ("facade", "conformance"):
            visit(room, ())


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_bindings_touch_private_parts_of_wasmtime(path: Path) -> None:
    relative = str(path.relative_to(ROOT))
    if relative.startswith(PRIVATE_ALLOWED):
        return
    tree = ast.parse(path.read_text("utf-8"))
    for module in imports(path):
        parts = module.split(".")
        assert not (parts[0] == "wasmtime" and any(part.startswith("_") for part in parts)), (
            f"{relative}: {module}"
        )
    for node in ast.walk(tree):
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Attribute) and called.attr in PRIVATE_METHODS:
            raise AssertionError(f"{relative}:{node.lineno} calls {called.attr}")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_stays_readable(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 550, (
        f"{path} is too long: it has more than one subject"
    )
