"""What README and docs show works as shown, and `make demo` does what it says."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from service import cli
from service._workload_options import CONTROL_COMMANDS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "UPGRADE.md", *sorted((ROOT / "docs").glob("*.md"))]

Files = Callable[[str], Path]


_WITH_PROGRAMS = ("embedding", "libraries", "network", "observability", "workloads", "hosting")

# Of each program, in order, something that it prints at its end.
_ENDS = (
    "connections_opened=1",
    "hello from inside\n",
    "echoed 32 bytes in 1 round trips",
    "lifetime: the guest was ended after the 0.2 seconds that limits.lifetime allows\n",
    "established 127.0.0.1:5432",
    "b'ready'\n",
    "b'WHO?'\n",
    "hello\n",
    "hello\n",
    "200 /from-httpx",
    "the guest ended with 0",
    "hello, 127.0.0.1\n",
    "lookup evil.example.com -> 10.0.0.1 denied: rebinding\nconnect 198.51.100.1:80 denied: no-rule\n",
    "database.svc.wasmcloud.internal 127.0.0.5\n",
    "b'at last'\nslow: ['socket.connection']\n",
    "default/greetings ['greeter']\n",
    "not-cached\n",
    "echo handler ready 0\nclient run completed 0\nclient stdout echoed 32 bytes in 1 round trips\n",
    "2 backing-off ValueError: not in the mood; starts again in 0.02 s\n3 starting \n",
)


def _programs() -> list[tuple[str, str]]:
    names = ["README.md", *(f"docs/{name}.md" for name in _WITH_PROGRAMS)]
    texts = [(ROOT / name).read_text() for name in names]
    programs = [program for text in texts for program in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]
    return list(zip(programs, _ENDS, strict=True))


@pytest.mark.parametrize(
    ("program", "end"),
    _programs(),
    ids=[
        "run",
        "outside",
        "instantiate",
        "limits",
        "network",
        "listening",
        "udp",
        "asgi",
        "installed",
        "httpx",
        "asyncio",
        "bridges",
        "policy",
        "names",
        "observability",
        "workloads",
        "images",
        "hosting",
        "restarts",
    ],
)
def test_a_program_in_the_documents_runs(
    program: str, end: str, guest_file: Files, tmp_path: Path, environment: dict[str, str]
) -> None:
    if "serve_asgi" in program:
        pytest.importorskip("hypercorn", reason="the extra asgi is not installed")
    shutil.copy(guest_file("c-echo-0.2.12"), tmp_path / "guest.wasm")
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert end in ended.stdout
    assert "exit code 1" not in ended.stdout


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_every_option_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "command-line.md").read_text()
    for subcommand in ("run", "inspect", "validate", "up", "operator", *CONTROL_COMMANDS):
        with pytest.raises(SystemExit):
            cli.main([subcommand, "--help"])
        options = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out)) - {"--help"}
        assert options
        assert not [option for option in options if f"`{option}" not in text and f"[{option}" not in text]


def test_the_demo(guest_file: Files, environment: dict[str, str]) -> None:
    pytest.importorskip("hypercorn", reason="the extra asgi is not installed")
    guest_file("python")
    ended = subprocess.run(
        [sys.executable, ROOT / "examples" / "demo" / "run.py"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    for part in (
        "http.client: hello",
        "socket: hello",
        "asyncio: 20 connections",
        "23 answered",
        "23 opened",
    ):
        assert part in ended.stdout
    if sys.platform == "linux":
        assert re.search(r"kernel sockets +0 of AF_INET", ended.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_the_demo_would_notice_a_kernel_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "examples" / "demo")
    from kernel_sockets import internet_sockets

    before = internet_sockets()
    assert before is not None
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert internet_sockets() == before + 1
    assert internet_sockets() == before
