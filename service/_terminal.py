"""What people see on a terminal: text that cannot take it over, messages, and progress."""

from __future__ import annotations

import os
import re
import sys
import time
from contextlib import suppress
from typing import Final, TextIO

import trio

from service._exits import FAILED, CommandError

__all__ = [
    "Progress",
    "beneath",
    "escaped",
    "escaped_lines",
    "flush_output",
    "output",
    "say",
    "say_from_task",
]

# Control characters, those that change the direction of text, line and paragraph separators, and lone surrogates.
_UNSAFE: Final = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
_UNSAFE_IN_LINES: Final = re.compile(f"[{_UNSAFE}]")
_UNSAFE_IN_A_LINE: Final = re.compile(f"[{_UNSAFE}\t\n]")

_PROGRAM: Final = "wasi-sockets"
_REDRAW_SECONDS: Final = 0.2

_one_at_a_time: Final[trio.lowlevel.RunVar[trio.CapacityLimiter]] = trio.lowlevel.RunVar("one_at_a_time")


def _escape(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode("ascii")


def escaped(text: str) -> str:
    """`text` in one line: whatever could move a terminal's cursor, or fake a line, as an escape sequence."""
    return _UNSAFE_IN_A_LINE.sub(_escape, text)


def escaped_lines(text: str) -> str:
    """`escaped`, but line ends and tabs stay."""
    return _UNSAFE_IN_LINES.sub(_escape, text)


def beneath(file: TextIO | None) -> TextIO | None:
    """A standard stream itself, also where what services write there is taken away (`_service_output.py`)."""
    real: TextIO | None = getattr(file, "beneath", file)
    return real


def output(text: str) -> None:
    """A line, or several, that the command was asked for, on standard output.

    Raises:
        CommandError: nothing can be written there.
        BrokenPipeError: whoever read it has gone.
    """
    if sys.stdout is None:
        raise CommandError("standard output is closed", FAILED)
    try:
        print(text)
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:
        raise _output_lost(error) from error


def flush_output() -> None:
    """What was written to standard output goes out, if there is one; raises as `output`."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:
        raise _output_lost(error) from error


def _output_lost(error: Exception) -> CommandError:
    reason = error.strerror if isinstance(error, OSError) else None
    return CommandError(f"standard output cannot be written: {reason or error}", FAILED)


def say(message: str) -> None:
    """A message of this program on standard error; further lines of it are indented by the caller.

    Never raises: there is nobody left to tell when standard error is gone.
    """
    file = beneath(sys.stderr)
    if file is None:
        return
    with suppress(OSError, ValueError):
        file.write(f"{_PROGRAM}: {escaped_lines(message)}\n")
        file.flush()


async def say_from_task(message: str) -> None:
    """`say` for while guests run: a standard error that nobody reads makes only the callers wait, in one thread."""
    try:
        one_at_a_time = _one_at_a_time.get()
    except LookupError:
        one_at_a_time = trio.CapacityLimiter(1)
        _one_at_a_time.set(one_at_a_time)
    await trio.to_thread.run_sync(say, message, abandon_on_cancel=True, limiter=one_at_a_time)


class Progress:
    """One line on standard error that says what takes its time, on a terminal only; gone when it is done."""

    def __init__(self, name: str) -> None:
        self._name = escaped(os.path.basename(name))
        self._stage = ""
        self._shown = False

    def begin(self, stage: str) -> None:
        """A stage of loading begins. May be called from any thread."""
        self._stage = stage

    async def show(self) -> None:
        """Keep the line up to date until cancelled."""
        try:
            if not sys.stderr.isatty():
                return
        except (ValueError, AttributeError):
            return
        started = time.monotonic()
        try:
            while True:
                await trio.sleep(_REDRAW_SECONDS)
                seconds = time.monotonic() - started
                self._write(f"\r\x1b[K{_PROGRAM}: {self._stage} {self._name} ({seconds:.0f} s)")
        finally:
            if self._shown:
                self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
            self._shown = True
        except (OSError, ValueError):
            return
