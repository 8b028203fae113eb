"""How the programs of `examples/kubernetes/static_site` end where they cannot begin: a line that says what to do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import trio
import yaml

from tests.service.kubernetes.fake_api_server import Answering, FakeApiServer, Received, json_answer

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "kubernetes" / "static_site"
PROGRAMS = [
    "run.py",
    pytest.param(
        "trio_controller.py",
        marks=pytest.mark.skipif(find_spec("lightkube") is None, reason="lightkube is not installed"),
    ),
]


@pytest.fixture(autouse=True)
def component(guest_file: Callable[[str], Path]) -> None:
    """One of the programs looks for the component before it does anything else."""
    guest_file("static-site-controller")


def variables(home: Path, **more: str) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if name != "KUBECONFIG"},
        "HOME": str(home),
        "PYTHONPATH": os.pathsep.join(sys.path),
        **more,
    }


@pytest.mark.parametrize("program", PROGRAMS)
async def test_without_a_kubeconfig_it_says_where_one_belongs(program: str, tmp_path: Path) -> None:
    done = await trio.run_process(
        [sys.executable, str(EXAMPLE / program)], env=variables(tmp_path), capture_stderr=True, check=False
    )
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("no API server: there is no kubeconfig: ")
    assert "KUBECONFIG" in line
    assert done.returncode == 125


@pytest.mark.parametrize("program", PROGRAMS)
async def test_without_the_resource_type_it_says_how_to_add_it_and_ctrl_c_is_no_traceback(
    program: str, tmp_path: Path
) -> None:
    looked_again = trio.Event()

    async def unknown(received: Received, answering: Answering) -> None:
        await json_answer(answering, b"404 page not found\n", 404)
        if len(server.received) == 3:
            looked_again.set()

    server = FakeApiServer(unknown)
    async with server.running():
        kubeconfig = tmp_path / "kubeconfig"
        authority = tmp_path / "ca.crt"
        server.authority.cert_pem.write_to_path(str(authority))
        _write_kubeconfig(kubeconfig, server.port, authority)
        process = await trio.lowlevel.open_process(
            [sys.executable, str(EXAMPLE / program)],
            env=variables(tmp_path, KUBECONFIG=str(kubeconfig)),
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        said = b""
        with trio.fail_after(60):
            await looked_again.wait()
            process.send_signal(signal.SIGINT)
            async for piece in process.stderr:
                said += piece
            assert await process.wait() == 130
    (line,) = said.decode().splitlines()
    assert line.endswith(f"kubectl apply -f {EXAMPLE / 'crd.yaml'}")


def _write_kubeconfig(path: Path, port: int, authority: Path) -> None:
    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(authority)}
    path.write_text(
        yaml.safe_dump(
            {
                "current-context": "here",
                "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
                "clusters": [{"name": "here", "cluster": cluster}],
                "users": [{"name": "me", "user": {}}],
            }
        )
    )
