"""What strace sees of a workload with a controller: connections of the gateway to the API server, and no others."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kubernetes.cluster import Cluster
from tests.kubernetes.controllers import Sites, eventually

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "examples" / "kubernetes" / "static_site" / "run.py"


@contextmanager
def traced(words: list[str], variables: dict[str, str], trace: Path) -> Iterator[None]:
    """Run a program during the block, its calls written to `trace`; skips where strace may not."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    if subprocess.run([strace, "-o", trace, "true"], capture_output=True).returncode:
        pytest.skip("strace may not trace here")
    command = [strace, "-f", "-e", "trace=connect,bind,listen", "-o", str(trace), *words]
    process = subprocess.Popen(command, env=variables, start_new_session=True)
    try:
        yield
    finally:
        # The group: strace alone would leave the program behind.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


async def test_only_the_gateway_connects(
    own_cluster: Cluster, namespace: str, sites: Sites, guest_file: Callable[[str], Path], tmp_path: Path
) -> None:
    guest_file("static-site-controller")
    variables = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "KUBECONFIG": str(own_cluster.kubeconfig),
        "WASI_SOCKETS_CACHE": str(ROOT / "build" / "cache"),
    }
    trace = tmp_path / "trace"
    with traced([sys.executable, str(RUN), namespace, "traced"], variables, trace):
        sites.create("shop")
        await eventually(lambda: sites.applied_by("shop") == "traced")
        sites.delete("shop")
        await eventually(lambda: sites.get("shop") is None)
    calls = [line for line in trace.read_text().splitlines() if "AF_INET" in line]
    peer = f'sin_port=htons({own_cluster.port}), sin_addr=inet_addr("127.0.0.1")'
    assert calls
    assert [line for line in calls if peer not in line or not re.search(r"\bconnect\(", line)] == []
