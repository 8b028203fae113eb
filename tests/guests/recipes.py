"""Which guests there are, and how each is built from its sources."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from toolchains import HERE, NODE_TOOLS, PYTHON_TOOLS, Toolchain, run
from wit_text import with_wasi


@dataclass(frozen=True)
class Guest:
    """One component to build.

    Attributes:
        name: The file is `build/guests/<name>.wasm`.
        about: What it is, for `--list`.
        sources: Files and folders whose content decides whether it must be built again.
        toolchains: What it needs.
        build: Called with an empty scratch directory and the path of the component to write.
        optional: A missing toolchain is recorded with its reason instead of failing the build.
    """

    name: str
    about: str
    sources: tuple[Path, ...]
    toolchains: tuple[Toolchain, ...]
    build: Callable[[Path, Path], None]
    optional: bool = False


def _node_modules() -> Path:
    return NODE_TOOLS.ensure() / "node_modules"


def _make_component(
    core: Path, output: Path, *, world: str = "", wit: Path | str = "", adapter: str = ""
) -> None:
    run("node", HERE / "make_component.mjs", _node_modules(), core, world, wit, output, adapter)


def _python(scratch: Path, output: Path) -> None:
    # From a copy: componentize-py would leave __pycache__ among the sources, and take in what lies there.
    app = scratch / "app"
    shutil.copytree(HERE / "python", app, ignore=shutil.ignore_patterns("__pycache__"))
    tools = PYTHON_TOOLS.ensure()
    run(
        *(tools / "bin" / "componentize-py", "-d", "guest.wit", "-w", "command"),
        *("componentize", "app", "-p", ".", "-o", output),
        cwd=app,
        environment={"VIRTUAL_ENV": str(tools), "PATH": f"{tools / 'bin'}:{os.environ.get('PATH', '')}"},
    )


def _freestanding_c(source: str, version: str) -> Callable[[Path, Path], None]:
    def build(scratch: Path, output: Path) -> None:
        core, wit = scratch / "core.wasm", scratch / "world.wit"
        run(
            *(PYTHON_TOOLS.ensure() / "bin" / "python", "-m", "ziglang", "cc"),
            *("-target", "wasm32-freestanding", "-Os", "-Wall", "-Wextra", "-Werror"),
            *("-fno-builtin", "-mbulk-memory", "-nostdlib", "-Wl,--no-entry", "-Wl,--strip-all"),
            *(f'-DWASI_VERSION="{version}"', "-o", core, HERE / "c" / source),
            environment={"ZIG_GLOBAL_CACHE_DIR": str(scratch), "ZIG_LOCAL_CACHE_DIR": str(scratch)},
        )
        world = (HERE / "c" / "command.wit").read_text()
        wit.write_text(with_wasi(world, version, _node_modules()))
        _make_component(core, output, world="command", wit=wit)

    return build


def _javascript(scratch: Path, output: Path) -> None:
    modules, wit = _node_modules(), scratch / "world.wit"
    wit.write_text(with_wasi((HERE / "js" / "command.wit").read_text(), "0.2.12", modules))
    run(
        *("node", modules / ".bin" / "componentize-qjs", "--wit", wit, "--js", HERE / "js" / "client.js"),
        *("--world", "command", "--sync", "--opt-size", "--output", output),
    )


def _c(name: str, source: str, about: str, version: str) -> Guest:
    return Guest(
        f"{name}-{version}",
        f"{about}, C without libc, WASI {version}",
        (HERE / "c", HERE / "make_component.mjs", HERE / "wit_text.py"),
        (PYTHON_TOOLS, NODE_TOOLS),
        _freestanding_c(source, version),
    )


GUESTS = (
    Guest(
        "python",
        "CPython with a sub-command per subject",
        (HERE / "python",),
        (PYTHON_TOOLS,),
        _python,
    ),
    *(_c("c-echo", "echo.c", "echo client", version) for version in ("0.2.0", "0.2.12")),
    *(_c("c-server", "server.c", "server on one poll", version) for version in ("0.2.0", "0.2.12")),
    Guest(
        "js-client",
        "echo client on QuickJS, WASI 0.2.12",
        (HERE / "js", HERE / "wit_text.py"),
        (NODE_TOOLS,),
        _javascript,
    ),
)
