"""Real servers on free ports of 127.0.0.1, each in a process of its own that ends with the block."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import trio

from tests.real_parts.parts import Program, RealPartMissing, program

__all__ = ["docker_registry", "free_port", "nginx", "postgresql", "redis"]

_START_SECONDS: Final = 30.0
_POSTGRESQL_USER: Final = "tester"


def free_port() -> int:
    """A port that is free now: none of these servers can say which one it took."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _running(
    found: Program, words: list[str], port: int, log: Path, user: str | None = None
) -> Iterator[None]:
    """Start a server and wait until it accepts connections.

    Raises:
        RealPartMissing: it ends, or does not listen in time.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(found.path), *words],
            env=found.variables(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            **({} if user is None else {"user": user, "group": _group_of(user), "extra_groups": []}),
        )
    try:
        if not trio.run(_listens, process, port):
            lines = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
            raise RealPartMissing(f"{found.path.name} does not start: {lines[-1]}")
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until a process accepts connections; False when it has ended or takes too long."""
    with trio.move_on_after(_START_SECONDS):
        while process.poll() is None:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.02)
            else:
                await stream.aclose()
                return True
    return False


def _group_of(user: str) -> int:
    return pwd.getpwnam(user).pw_gid


@contextmanager
def redis(directory: Path) -> Iterator[int]:
    """An empty redis-server that stores nothing; gives its port."""
    port = free_port()
    words = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(directory)]
    with _running(program("redis-server"), words, port, directory / "redis.log"):
        yield port


@contextmanager
def docker_registry(directory: Path, passwords: Path | None = None) -> Iterator[int]:
    """An empty docker-registry; gives its port.

    Args:
        directory: for its configuration and its images.
        passwords: a file as htpasswd writes it with bcrypt, for a registry that wants to know who asks.
    """
    port = free_port()
    configuration = directory / "registry.yml"
    access = f"auth:\n  htpasswd: {{realm: tests, path: {passwords}}}\n" if passwords else ""
    configuration.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {directory / 'images'}}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n{access}"
    )
    words = ["serve", str(configuration)]
    with _running(program("docker-registry"), words, port, directory / "registry.log"):
        yield port


@contextmanager
def nginx(directory: Path, server: Callable[[int], str]) -> Iterator[int]:
    """nginx with one server; gives its port.

    Args:
        directory: for its configuration and whatever it writes.
        server: what stands in `server { }`, for the port that it shall listen at.
    """
    port = free_port()
    temporary = "\n".join(
        f"{name}_temp_path {directory / name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = directory / "nginx.conf"
    configuration.write_text(
        f"daemon off;\nmaster_process off;\npid {directory / 'nginx.pid'};\nerror_log stderr;\n"
        f"events {{ }}\nhttp {{\naccess_log off;\n{temporary}\nserver {{\n{server(port)}\n}}\n}}\n"
    )
    words = ["-p", str(directory), "-c", str(configuration), "-e", "stderr"]
    with _running(program("nginx"), words, port, directory / "nginx.log"):
        yield port


@contextmanager
def postgresql() -> Iterator[tuple[int, str]]:
    """An empty PostgreSQL that trusts everybody; gives its port and the name of its user, also its database's.

    Raises:
        RealPartMissing: also where it may not run: it refuses to as root, and then needs a user `nobody`.
    """
    found, initialise = program("postgres"), program("initdb")
    user = "nobody" if os.geteuid() == 0 else None
    # Not a directory of pytest's, which only their owner may enter.
    directory = Path(tempfile.mkdtemp(prefix="postgresql-"))
    try:
        options = {}
        if user is not None:
            shutil.chown(directory, user)
            options = {"user": user, "group": _group_of(user), "extra_groups": []}
        data = directory / "data"
        words = [
            "-D",
            str(data),
            "-U",
            _POSTGRESQL_USER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]
        made = subprocess.run(
            [str(initialise.path), *words],
            env=initialise.variables(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )
        if made.returncode:
            raise RealPartMissing(f"initdb does not run here: {made.stdout.strip().splitlines()[-1:]}")
        port = free_port()
        words = ["-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", str(directory), "-F"]
        with _running(found, words, port, directory / "log", user):
            yield port, _POSTGRESQL_USER
    except (PermissionError, KeyError, LookupError) as error:
        raise RealPartMissing(f"postgres may not run here: {error}") from error
    finally:
        shutil.rmtree(directory, ignore_errors=True)
