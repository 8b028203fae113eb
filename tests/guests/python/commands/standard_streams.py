"""Standard input, output and error."""

import os
import sys


def echo_stdin() -> None:
    """Copy standard input to standard output as it arrives, then say how much it was."""
    print("ready", flush=True)
    total = 0
    while data := os.read(0, 4096):
        total += len(data)
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    print("end after", total, "bytes")


def both_outputs() -> None:
    """One line on each of stdout and stderr, twice."""
    for number in (1, 2):
        print("out", number, flush=True)
        print("err", number, file=sys.stderr, flush=True)


def flood_stdout(size: str = "1000000") -> None:
    """Write `size` bytes to standard output, and their number on standard error when all are gone."""
    remaining = int(size)
    line = b"0123456789abcde\n" * 256
    while remaining:
        remaining -= os.write(1, line[:remaining])
    print("wrote", size, "bytes", file=sys.stderr)


def terminals() -> None:
    """Say of each standard stream whether it is a terminal."""
    for name, descriptor in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        print(name, os.isatty(descriptor))
