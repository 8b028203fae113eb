"""Hosts as processes of their own, for tests of `wasi-sockets up` and of the commands that ask it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

__all__ = ["HANDLER", "SERVICE", "Place", "Running"]

HANDLER = """
async def shout(stream):
    async for data in stream:
        await stream.send_all(data.upper())
"""

SERVICE = """\
    name: shop
    services:
      api: {handler: "wares:shout", ports: [7]}
"""


class Running:
    """A host that runs, with what it has printed so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.printed: list[dict[str, Any]] = []

    def until(self, **wanted: Any) -> dict[str, Any]:
        """Read on until a line of JSON has these entries; what the host says of itself is left out."""
        if self.process.stdout is None:
            raise ValueError("no output")
        for line in self.process.stdout:
            told = json.loads(line)
            self.printed.append(told)
            if wanted.items() <= told.items():
                return told
        raise AssertionError(f"it ended without {wanted}: {self.printed}")

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


class Place:
    """A directory with workload files, and a control directory of its own."""

    def __init__(self, directory: Path, control: Path) -> None:
        self.directory = directory
        self.environment = {
            **os.environ,
            "WASI_SOCKETS_CONTROL": str(control),
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        self.started: list[Running] = []

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(textwrap.dedent(text))
        return path

    def popen(self, *words: str, **more: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "service", *words],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            **more,
        )

    def up(self, *words: str) -> Running:
        running = Running(self.popen("up", "--json", *words))
        self.started.append(running)
        return running

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        with self.popen(*words, stderr=subprocess.PIPE) as process:
            out, err = process.communicate(timeout=60)
            return subprocess.CompletedProcess(words, process.returncode, out, err)

    def ask(self, *words: str) -> list[dict[str, Any]]:
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]
