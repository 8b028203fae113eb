"""`run` with `OTEL_*` variables: what arrives where they say, and what they leave alone."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from service import _telemetry_sending
from service._exits import CommandError
from service._telemetry import console_level, feed
from service._telemetry_sending import Failures, send_what_is_left
from tests.otlp_receivers import Received, grpc_receiver, http_receiver

ROOT = Path(__file__).resolve().parents[2]
Files = Callable[[str], Path]
Receivers = Callable[[], AbstractContextManager[Received]]


@pytest.fixture
def environment(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """Without `OTEL_*` and log variables of this process."""
    for name in list(environment):
        if name.startswith("OTEL_") or name == "WASI_SOCKETS_LOG":
            del environment[name]
    return environment


def run(
    environment: dict[str, str], *words: str | Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service", "run", *map(str, words)],
        env={**environment, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def value(attribute: Any) -> object:
    kind = attribute.value.WhichOneof("value")
    return getattr(attribute.value, kind)


def attributes(message: Any) -> dict[str, object]:
    return {each.key: value(each) for each in message.attributes}


@pytest.mark.parametrize(
    ("receiver", "protocol"), [(grpc_receiver, "grpc"), (http_receiver, "http/protobuf")]
)
def test_traces_metrics_and_logs_arrive(
    environment: dict[str, str], guest_file: Files, receiver: Receivers, protocol: str
) -> None:
    with receiver() as received:
        ended = run(
            environment,
            guest_file("c-echo-0.2.12"),
            *("--service", "8080=echo"),
            OTEL_EXPORTER_OTLP_ENDPOINT=received.endpoint,
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
            OTEL_SERVICE_NAME="shop",
        )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "echoed 32 bytes in 1 round trips\n", "")
    resource = attributes(received.resources[0])
    assert resource["service.name"] == "shop"
    assert resource["service.instance.id"]
    assert {name for name, _ in received.scopes} >= {"wasi_sockets"}

    spans = {span.name: span for span in received.spans}
    names = ["guest.call", "socket.connect", "socket.connection"]
    assert {"component.load", "guest.instantiate", *names} <= spans.keys()
    call, connect, connection = (spans[name] for name in names)
    assert (connect.parent_span_id, connection.parent_span_id) == (call.span_id, connect.span_id)
    assert attributes(connection)["wasi_sockets.bytes.sent"] == 32

    assert received.metrics["wasi_sockets.connection.opened"].sum.data_points[0].as_int == 1
    assert received.metrics["wasi_sockets.guest.call.duration"].histogram.data_points[0].count == 1

    (record,) = received.records
    assert record.body.string_value == "echoed 32 bytes in 1 round trips"
    assert record.event_name == "wasi_sockets.guest.output"
    assert attributes(record)["log.iostream"] == "stdout"
    assert attributes(record)["component.name"] == "c-echo-0.2.12.wasm"
    assert (record.trace_id, record.span_id) == (call.trace_id, call.span_id)


def test_what_is_left_is_sent_after_ctrl_c(environment: dict[str, str], guest_file: Files) -> None:
    with (
        grpc_receiver() as received,
        subprocess.Popen(
            [sys.executable, "-m", "service", "run", guest_file("python"), "--", "stdin"],
            env={**environment, "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as running,
    ):
        assert running.stdout is not None
        assert running.stdout.readline() == b"ready\n"
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=60) == 130
    (call,) = (span for span in received.spans if span.name == "guest.call")
    assert attributes(call)["error.type"] == "cancelled"
    assert [record.body.string_value for record in received.records] == ["ready"]


@pytest.mark.parametrize(
    ("protocol", "credentials", "reason"),
    [
        ("grpc", "", "Connection refused"),
        ("grpc", "someone:secret@", ""),  # which gRPC takes for a name
        ("http/protobuf", "someone:secret@", "Connection refused"),
    ],
)
def test_a_receiver_that_is_not_there_is_said_once_and_changes_nothing(
    environment: dict[str, str], guest_file: Files, protocol: str, credentials: str, reason: str
) -> None:
    ended = run(
        environment,
        *(guest_file("c-echo-0.2.12"), "--service", "8080=echo"),
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{credentials}127.0.0.1:1",
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
    )
    assert (ended.returncode, ended.stdout) == (0, "echoed 32 bytes in 1 round trips\n")
    (line,) = ended.stderr.splitlines()
    told = (
        "wasi-sockets: the last traces, metrics and logs could not be sent to http://127.0.0.1:1 within 5 s"
    )
    assert line.startswith(told)
    if reason:
        assert reason in line.removeprefix(told)
    assert "secret" not in line


class Stuck:
    """A provider whose exporter is still trying."""

    def __init__(self) -> None:
        self.ends = threading.Event()

    def shutdown(self) -> None:
        self.ends.wait()


def test_signals_with_endpoints_of_their_own_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://one.example:4317")
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "console")
    monkeypatch.setattr(_telemetry_sending, "_SENT_WITHIN", 0.0)
    stuck = Stuck()
    for module, get in (
        ("trace", "get_tracer_provider"),
        ("metrics", "get_meter_provider"),
        ("_logs", "get_logger_provider"),
    ):
        monkeypatch.setattr(f"opentelemetry.{module}.{get}", lambda: stuck)
    failures = Failures()
    failures.reasons.append(
        "Transient error StatusCode.UNAVAILABLE encountered while exporting traces to one.example"
    )
    try:
        send_what_is_left(failures)
    finally:
        stuck.ends.set()
    assert capsys.readouterr().err.splitlines() == [
        "wasi-sockets: the last traces could not be sent to http://one.example:4317 within 0 s: StatusCode.UNAVAILABLE",
        "wasi-sockets: the last metrics could not be sent to http://localhost:4317 within 0 s",
        "wasi-sockets: the last logs could not be sent within 0 s",
    ]


_IMPORTED = """
import sys
from service.cli import main
code = main(sys.argv[1:])
print(sorted(name for name in sys.modules if name.startswith(("opentelemetry.sdk", "grpc", "opentelemetry.exporter"))))
sys.exit(code)
"""


@pytest.mark.parametrize(
    "variables", [{}, {"OTEL_SDK_DISABLED": "true", "OTEL_SERVICE_NAME": "shop"}, {"OTEL_SERVICE_NAME": ""}]
)
def test_the_sdk_is_not_imported_unasked(
    environment: dict[str, str], guest_file: Files, variables: dict[str, str]
) -> None:
    words = ["run", guest_file("c-echo-0.2.12"), "--service", "8080=echo"]
    ended = subprocess.run(
        [sys.executable, "-c", _IMPORTED, *words],
        env={**environment, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert ended.stdout.splitlines() == ["echoed 32 bytes in 1 round trips", "[]"]
    assert (ended.returncode, ended.stderr) == (0, "")


def test_without_the_extra_it_is_said_and_the_guest_runs(
    environment: dict[str, str], guest_file: Files, tmp_path: Path
) -> None:
    hidden = "import sys\nsys.modules['opentelemetry.distro'] = None\n"
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            hidden + _IMPORTED,
            "run",
            guest_file("c-echo-0.2.12"),
            "--service",
            "8080=echo",
        ],
        env={**environment, "OTEL_SERVICE_NAME": "shop"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0
    assert ended.stdout.startswith("echoed 32 bytes")
    (line,) = ended.stderr.splitlines()
    assert "pip install 'wasi-sockets[otel]'" in line


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"OTEL_TRACES_EXPORTER": "pigeon"}, "pigeon"),
        ({"OTEL_LOG_LEVEL": "shouting"}, "OTEL_LOG_LEVEL=shouting"),
    ],
)
def test_variables_that_make_no_sense(
    environment: dict[str, str], guest_file: Files, variables: dict[str, str], told: str
) -> None:
    ended = run(environment, guest_file("c-echo-0.2.12"), **variables)
    assert ended.returncode in (2, 125)
    assert ended.stderr.count("\n") == 1
    assert told in ended.stderr


def test_the_console_and_opentelemetry_have_levels_of_their_own(
    environment: dict[str, str], guest_file: Files
) -> None:
    words = (guest_file("python"), "--allow", "203.0.113.9", "--", "connect-error", "127.0.0.1", "80")
    heard = {}
    for console in ("error", "debug"):
        for level in ("error", "debug"):
            with grpc_receiver() as received:
                ended = run(
                    environment,
                    *("--log-level", console),
                    *words,
                    OTEL_EXPORTER_OTLP_ENDPOINT=received.endpoint,
                    OTEL_LOG_LEVEL=level,
                )
            heard[console, level] = (ended.stderr, len(received.records) > 0)
    for console in ("error", "debug"):
        assert heard[console, "error"] == (heard[console, "debug"][0], False)
        assert heard[console, "debug"][1]


class Hearing(logging.Handler):
    """Keeps what it hears."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage())


def test_turning_one_feed_up_does_not_change_the_other() -> None:
    logger = logging.getLogger("wasi_sockets.policy")
    before = logging.getLogger("wasi_sockets").level
    quiet, loud = Hearing(logging.WARNING), Hearing(logging.DEBUG)
    with feed(quiet):
        logger.info("first")
        with feed(loud):
            logger.info("second")
            logger.warning("third")
        logger.info("fourth")
        logger.warning("fifth")
    assert quiet.heard == ["third", "fifth"]
    assert loud.heard == ["second", "third"]
    assert logging.getLogger("wasi_sockets").level == before


def test_the_consoles_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WASI_SOCKETS_LOG", raising=False)
    assert console_level(None) == logging.WARNING
    monkeypatch.setenv("WASI_SOCKETS_LOG", "Debug")
    assert console_level(None) == logging.DEBUG
    assert console_level("error") == logging.ERROR
    monkeypatch.setenv("WASI_SOCKETS_LOG", "loud")
    with pytest.raises(CommandError, match="debug, info, warning, error"):
        console_level(None)
    assert os.environ["WASI_SOCKETS_LOG"] == "loud"
