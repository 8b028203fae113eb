"""Which guests there are, and how each is built from its sources."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from debian import RUST, WASI_LIBC
from toolchains import H11, HERE, NODE_TOOLS, PYTHON_TOOLS, REDIS_PY, Toolchain, run
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


def _python(source: str, packages: Toolchain | None = None) -> Callable[[Path, Path], None]:
    def build(scratch: Path, output: Path) -> None:
        # From a copy: componentize-py would leave __pycache__ among the sources, and take in what lies there.
        app = scratch / "app"
        shutil.copytree(HERE / source, app, ignore=shutil.ignore_patterns("__pycache__"))
        if packages is not None:
            shutil.copytree(packages.ensure(), app, dirs_exist_ok=True)
        tools = PYTHON_TOOLS.ensure()
        run(
            *(tools / "bin" / "componentize-py", "-d", "guest.wit", "-w", "command"),
            *("componentize", "app", "-p", ".", "-o", output),
            cwd=app,
            environment={"VIRTUAL_ENV": str(tools), "PATH": f"{tools / 'bin'}:{os.environ.get('PATH', '')}"},
        )

    return build


def _zig() -> tuple[Path | str, ...]:
    return (PYTHON_TOOLS.ensure() / "bin" / "python", "-m", "ziglang")


def _freestanding_c(
    source: str, version: str, world_file: str = "command.wit"
) -> Callable[[Path, Path], None]:
    def build(scratch: Path, output: Path) -> None:
        core, wit = scratch / "core.wasm", scratch / "world.wit"
        run(
            *(*_zig(), "cc", "-target", "wasm32-freestanding", "-Os", "-Wall", "-Wextra", "-Werror"),
            *("-fno-builtin", "-mbulk-memory", "-nostdlib", "-Wl,--no-entry", "-Wl,--strip-all"),
            *(f'-DWASI_VERSION="{version}"', "-o", core, HERE / "c-freestanding" / source),
            environment={"ZIG_GLOBAL_CACHE_DIR": str(scratch), "ZIG_LOCAL_CACHE_DIR": str(scratch)},
        )
        world = (HERE / "c-freestanding" / world_file).read_text()
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


def _c_with_sockets(source: str) -> Callable[[Path, Path], None]:
    def build(scratch: Path, output: Path) -> None:
        core, libc = scratch / "core.wasm", WASI_LIBC.ensure() / "usr"
        (zig_headers,) = PYTHON_TOOLS.ensure().glob("lib/python3*/site-packages/ziglang/lib/include")
        run(
            # Debian's libc instead of Zig's, whose own is wasip1 and without connect.
            *(*_zig(), "cc", "-target", "wasm32-wasi", "-U__wasip1__", "-D__wasip2__"),
            *("-nostdinc", "-isystem", libc / "include" / "wasm32-wasip2", "-isystem", zig_headers),
            *("-Os", "-Wall", "-Wextra", "-Werror", "-Wl,--strip-all", "-nostdlib", "-o", core),
            *(libc / "lib" / "wasm32-wasip2" / "crt1-command.o", HERE / "c-sockets" / source),
            *(libc / "lib" / "wasm32-wasip2" / "libc.a", "-lcompiler_rt"),
            environment={"ZIG_GLOBAL_CACHE_DIR": str(scratch), "ZIG_LOCAL_CACHE_DIR": str(scratch)},
        )
        _make_component(core, output)

    return build


def _rust(source: str) -> Callable[[Path, Path], None]:
    def build(scratch: Path, output: Path) -> None:
        core, root = scratch / "core.wasm", RUST.ensure()
        # rustc names the kind of linker first, which Zig's wasm-ld does not understand.
        linker = scratch / "linker"
        linker.write_text(f'#!/bin/sh\nshift 2\nexec {shlex.join(map(str, _zig()))} wasm-ld "$@"\n')
        linker.chmod(0o755)
        libraries = next(root.glob("usr/lib/*-linux-gnu"))
        loader = next(libraries.glob("ld-linux*.so.*"))
        run(
            *(loader, "--library-path", f"{libraries}:{root}/usr/lib/llvm-19/lib"),
            *(root / "usr" / "bin" / "rustc", "--sysroot", root / "usr", "--target", "wasm32-wasip2"),
            *("-C", "opt-level=s", "-C", "panic=abort", "-C", "strip=symbols"),
            *("-C", f"linker={linker}", "-C", "linker-flavor=wasm-ld", "--edition", "2021"),
            *("-D", "warnings", "-o", core, HERE / "rust" / source),
        )
        # This std still calls a few wasip1 functions.
        _make_component(core, output, adapter="command")

    return build


def _c(name: str, source: str, about: str, version: str, world_file: str = "command.wit") -> Guest:
    return Guest(
        f"{name}-{version}",
        f"{about}, C without libc, WASI {version}",
        (HERE / "c-freestanding", HERE / "make_component.mjs", HERE / "wit_text.py"),
        (PYTHON_TOOLS, NODE_TOOLS),
        _freestanding_c(source, version, world_file),
    )


GUESTS = (
    Guest(
        "python",
        "CPython with a sub-command per subject",
        (HERE / "python",),
        (PYTHON_TOOLS,),
        _python("python"),
    ),
    Guest(
        "python-databases",
        "CPython with redis-py, and PostgreSQL by hand",
        (HERE / "python-databases",),
        (PYTHON_TOOLS, REDIS_PY),
        _python("python-databases", REDIS_PY),
    ),
    Guest(
        "static-site-controller",
        "a Kubernetes controller on CPython, asyncio and h11",
        (HERE / "static-site-controller",),
        (PYTHON_TOOLS, H11),
        _python("static-site-controller", H11),
    ),
    Guest(
        "tasks",
        "CPython with a task API over HTTP, and a worker",
        (HERE / "tasks",),
        (PYTHON_TOOLS,),
        _python("tasks"),
    ),
    *(_c("c-echo", "echo.c", "echo client", version) for version in ("0.2.0", "0.2.12")),
    *(_c("c-server", "server.c", "server on one poll", version) for version in ("0.2.0", "0.2.12")),
    _c("c-tasks", "tasks.c", "adds tasks over HTTP", "0.2.12"),
    _c("c-http", "http.c", "wasi:http and a socket in one poll", "0.2.6", "http.wit"),
    Guest(
        "js-client",
        "echo client on QuickJS, WASI 0.2.12",
        (HERE / "js", HERE / "wit_text.py"),
        (NODE_TOOLS,),
        _javascript,
    ),
    *(
        Guest(
            f"c-sockets-{source}",
            f"{source} in C with BSD sockets",
            (HERE / "c-sockets" / f"{source}.c", HERE / "make_component.mjs"),
            (PYTHON_TOOLS, NODE_TOOLS, WASI_LIBC),
            _c_with_sockets(f"{source}.c"),
            optional=True,
        )
        for source in ("client", "server", "udp")
    ),
    *(
        Guest(
            f"rust-{source}",
            f"{source} in Rust with std::net",
            (HERE / "rust" / f"{source}.rs", HERE / "make_component.mjs"),
            (PYTHON_TOOLS, NODE_TOOLS, RUST),
            _rust(f"{source}.rs"),
            optional=True,
        )
        for source in ("client", "server")
    ),
)
