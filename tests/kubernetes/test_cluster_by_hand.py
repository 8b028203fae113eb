"""The API server of `make kubernetes-up`: what it says can be copied, and nothing is left of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from tests.kubernetes.parts import ROOT, KubernetesMissing, program


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("etcd", "kube-apiserver", "kubectl"):
        try:
            program(name)
        except KubernetesMissing as missing:
            pytest.skip(str(missing))
    return tmp_path / "api-server"


def _command(directory: Path) -> list[str]:
    return [sys.executable, "-m", "tests.kubernetes.by_hand", str(directory.parent)]


def _anything_runs_in(directory: Path) -> bool:
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            if bytes(directory) in each.read_bytes():
                return True
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_what_it_says_makes_kubectl_work_and_a_signal_ends_all(
    directory: Path, tmp_path: Path, number: signal.Signals
) -> None:
    process = await trio.lowlevel.open_process(_command(directory), cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        said = b""
        with trio.fail_after(90):
            while b"Ctrl-C" not in said:
                piece = await process.stdout.receive_some()
                assert piece, said.decode()
                said += piece
        exports = [line.strip() for line in said.decode().splitlines() if "export " in line]
        script = "\n".join([*exports, "kubectl get namespace default --output name"])
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        seen = await trio.run_process(["sh", "-ec", script], capture_stdout=True, env=environment)
        assert seen.stdout == b"namespace/default\n"

        assert _anything_runs_in(directory)
        second = await trio.run_process(_command(directory), cwd=ROOT, capture_stderr=True, check=False)
        assert second.returncode == 1
        assert second.stderr.decode() == f"it runs already; its kubeconfig is {directory / 'kubeconfig'}\n"

        process.send_signal(number)
        with trio.fail_after(30):
            assert await process.wait() == 0
    finally:
        process.terminate()
        await process.wait()
    assert not await trio.Path(directory).exists()
    assert not _anything_runs_in(directory)
