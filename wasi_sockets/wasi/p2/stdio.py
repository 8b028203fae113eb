"""`wasi:cli/stdin`, `stdout` and `stderr`: the guest's ends of its standard streams.

Each call of a getter gives a new stream over the same pipe, since a guest may ask more than once and drop
them one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from wasi_sockets.telemetry import OutputLines
from wasi_sockets.wasi.host import Host
from wasi_sockets.wasi.p2.byte_streams import PipeInputStream, PipeOutputStream
from wasi_sockets.wasi.p2.error import IoError
from wasi_sockets.wasi.pipes import InputPipe, OutputPipe

__all__ = ["USE_STOCK", "LoggedStdoutStream", "StdinStream", "StdoutStream", "functions"]

#: What a getter returns when the stock host's stream is to be used.
USE_STOCK: Final = None


class StdinStream(PipeInputStream):
    """A guest's end of its standard input. Finding it empty is what starts reading the source."""

    __slots__ = ("_source",)

    def __init__(self, source: InputPipe) -> None:
        super().__init__(source.pipe)
        self._source = source

    def available(self) -> int:
        """As `PipeInputStream.available`."""
        state = super().available()
        if state == 0:
            self._source.want()
        return state

    def ready(self) -> bool:
        """As `PipeInputStream.ready`."""
        if super().ready():
            return True
        self._source.want()
        return False

    def error(self) -> IoError:
        """As `PipeInputStream.error`, with the reason of the source."""
        self._failure_taken = True
        return IoError(None, f"reading standard input failed: {self._source.failure}")


class StdoutStream(PipeOutputStream):
    """A guest's end of its standard output or standard error."""

    __slots__ = ("_sink",)

    def __init__(self, sink: OutputPipe) -> None:
        super().__init__(sink.pipe)
        self._sink = sink

    def error(self) -> IoError:
        """As `PipeOutputStream.error`, with the reason of the sink."""
        self._failure_taken = True
        return IoError(None, f"writing failed: {self._sink.failure}")


class LoggedStdoutStream(StdoutStream):
    """One whose lines are log records too."""

    __slots__ = ("_lines",)

    def __init__(self, sink: OutputPipe, lines: OutputLines) -> None:
        super().__init__(sink)
        self._lines = lines

    def send(self, data: bytes) -> int:
        """As `PipeOutputStream.send`."""
        self._lines.write(data)
        return super().send(data)


def functions(host: Host) -> dict[tuple[str, str], Callable[..., object]]:
    """The functions of these interfaces for one guest."""

    def get_stdin() -> StdinStream | None:
        return USE_STOCK if host.stdin is None else StdinStream(host.stdin)

    def output(sink: OutputPipe, stream: str) -> StdoutStream:
        if not OutputLines.wanted():
            return StdoutStream(sink)
        return LoggedStdoutStream(sink, host.lines.setdefault(stream, OutputLines(stream)))

    def get_stdout() -> StdoutStream | None:
        return USE_STOCK if host.stdout is None else output(host.stdout, "stdout")

    def get_stderr() -> StdoutStream | None:
        return USE_STOCK if host.stderr is None else output(host.stderr, "stderr")

    return {
        ("wasi:cli/stdin", "get-stdin"): get_stdin,
        ("wasi:cli/stdout", "get-stdout"): get_stdout,
        ("wasi:cli/stderr", "get-stderr"): get_stderr,
    }
