"""What services write, as `up` shows and keeps it."""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
import threading
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from service._up import _Command
from service.spec import RestartPolicy, ServiceSpec, TaskCode, WorkloadSpec
from tests.service.host_processes import Place
from wasi_sockets import Network

_CODE = """
import os, sys, threading

print("while it is imported")

async def work(network):
    print("out")
    print("error", file=sys.stderr)
    thread = threading.Thread(target=print, args=["whose?"])
    thread.start()
    thread.join()
    print("no end", end="")

async def app(scope, receive, send):
    if scope["type"] != "lifespan":
        raise ValueError("no such ware")
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})

async def ask(network):
    async with await network.connect_tcp("127.0.0.1", 80) as stream:
        await stream.send_all(b"GET / HTTP/1.0\\r\\n\\r\\n")
        while await stream.receive_some():
            pass
"""


@pytest.fixture
def printing(place: Place) -> Place:
    place.write("prints.py", _CODE)
    place.write("shop.yaml", "name: shop\nservices: {w: {task: 'prints:work'}}\n")
    return place


def test_prefixes_on_the_console(printing: Place) -> None:
    done = printing.run("up", "shop.yaml")
    assert done.returncode == 0
    assert done.stdout == "shop/w | while it is imported\nshop/w | out\nshop/w | no end\n"
    # Whose a line of a thread is that the service began by itself cannot be known.
    for line in ("shop/w | error", "whose?"):
        assert line in done.stderr.splitlines()


def test_json_stays_json(printing: Place) -> None:
    done = printing.run("up", "--json", "shop.yaml")
    assert done.returncode == 0
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(each["stream"], each["text"]) for each in lines if "text" in each] == [
        ("stdout", "while it is imported"),
        ("stdout", "out"),
        ("stderr", "error"),
        ("stdout", "no end"),
    ]
    assert done.stderr == "whose?\n"
    # The end is told after what was written.
    assert (lines[-1]["service"], lines[-1]["state"]) == ("w", "completed")


def test_logs_have_what_an_application_raised(printing: Place) -> None:
    text = """\
        name: shop
        services:
          web: {asgi: "prints:app", ports: [80]}
          ask: {task: "prints:ask", after: [web], restart: never}
    """
    printing.write("web.yaml", textwrap.dedent(text))
    running = printing.up("web.yaml")
    running.until(service="web", text="ValueError: no such ware")
    said = [line["text"] for line in printing.ask("logs", "shop:web") if line["stream"] == "host"]
    assert said[0] == "Error in ASGI Framework"
    assert said[-1] == "ValueError: no such ware"
    assert running.end() == 0


def test_a_slow_reader_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 20_000

    async def flood(network: Network) -> None:
        for number in range(count):
            print("line", number)

    monkeypatch.setenv("WASI_SOCKETS_CONTROL", str(tmp_path / "control"))
    options = argparse.Namespace(
        files=[], no_cache=False, pull_secret=[], grace=10.0, json=False, watch=False, until_done=False
    )
    service = ServiceSpec(name="a", code=TaskCode(flood), restart=RestartPolicy(when="never"))
    read: list[str] = []
    reading, writing = os.pipe()

    def reader() -> None:
        with open(reading, encoding="utf-8") as source:
            read.extend(source)

    # To this clock, which jumps whenever tasks only wait for a thread that writes, any reader is slow.
    thread = threading.Thread(target=reader)
    thread.start()
    with open(writing, "w", encoding="utf-8") as out, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", out)
        command = _Command(options, [WorkloadSpec(name="w", services=(service,))])
        code = trio.run(command.run, clock=MockClock(autojump_threshold=0))
    thread.join()
    assert code == 0
    assert read == [f"w/a | line {number}\n" for number in range(count)]
