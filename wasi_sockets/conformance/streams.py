"""Streams of `wasi:io`, as checks use them."""

from __future__ import annotations

from wasi_sockets.conformance.program import Handle, Number, Pollable

__all__ = ["ZEROES", "Input", "Output"]

#: Where a megabyte of zeroes lies in the guest's memory.
ZEROES = 2 * 1024 * 1024


class Input(Handle):
    """`input-stream`."""

    resource = "input-stream"

    def subscribe(self) -> Pollable:
        """Its pollable."""
        return Pollable(self.program, f"(call $input.subscribe {self.code})")

    def read(self, size: int, *outcomes: str) -> None:
        """A step: `read` succeeds, or comes to one of `outcomes`."""
        self.program.expect(
            f"{self.name}.read({size})", f"(call $read {self.code} (i64.const {size}))", outcomes
        )

    def blocking_read(self, size: int, *outcomes: str) -> None:
        """A step: likewise, with `blocking-read`."""
        self.program.expect(
            f"{self.name}.blocking-read({size})",
            f"(call $blocking-read {self.code} (i64.const {size}))",
            outcomes,
        )

    def got(self, data: bytes) -> None:
        """A step: the last read gave these bytes."""
        program = self.program
        program.equal("how many bytes were read", "(i64.load32_u (i32.const 24))", len(data))
        if data:
            at = program.constant(data)
            program.equal(
                f"they are {data!r}",
                f"(call $same-bytes (i32.load (i32.const 20)) (i32.const {at}) (i32.const {len(data)}))",
                1,
            )

    def reads_to_end(self, size: Number | int) -> None:
        """A step: this many bytes come, and then it is closed."""
        self.program.equal(f"bytes in {self.name} up to its end", f"(call $read-to-end {self.code})", size)

    def skip(self, size: int, skipped: int, *, blocking: bool = False) -> None:
        """A step: `skip` drops this many bytes."""
        kind = "blocking-skip" if blocking else "skip"
        self.program.emit(f"(call $input.{kind} {self.code} (i64.const {size}) (i32.const 16))")
        self.program.expect(f"{self.name}.{kind}({size})", "(call $stream-outcome (i32.const 8))")
        self.program.equal("how many bytes were skipped", "(i64.load (i32.const 24))", skipped)


class Output(Handle):
    """`output-stream`."""

    resource = "output-stream"

    def subscribe(self) -> Pollable:
        """Its pollable."""
        return Pollable(self.program, f"(call $output.subscribe {self.code})")

    def check_write(self, *outcomes: str) -> Number:
        """A step, and the permit that it gave."""
        self.program.expect(f"{self.name}.check-write", f"(call $check-write {self.code})", outcomes)
        return self.program.number("permit", "(i64.load (i32.const 24))")

    def write(self, data: bytes, *outcomes: str) -> None:
        """A step: `write` succeeds, or comes to one of `outcomes`."""
        at = self.program.constant(data)
        self.write_from(f"{data!r}", f"(i32.const {at}) (i32.const {len(data)})", *outcomes)

    def write_from(self, shown: str, code: str, *outcomes: str) -> None:
        """A step: likewise, of what `code` gives, a place and a size."""
        self.program.expect(f"{self.name}.write({shown})", f"(call $write {self.code} {code})", outcomes)

    def write_all(self, data: bytes, *outcomes: str) -> None:
        """A step: wait, write what is permitted, until all is written and flushed."""
        at = self.program.constant(data)
        self.program.expect(
            f"writing {data!r} to {self.name}",
            f"(call $write-all {self.code} (i32.const {at}) (i32.const {len(data)}))",
            outcomes,
        )

    def flush(self, *outcomes: str) -> None:
        """A step."""
        self.program.expect(f"{self.name}.flush", f"(call $flush {self.code})", outcomes)

    def _call(self, name: str, arguments: str, shown: str, offset: int, outcomes: tuple[str, ...]) -> None:
        self.program.emit(f"(call $output.{name} {self.code} {arguments} (i32.const 16))")
        self.program.expect(
            f"{self.name}.{name}{shown}", f"(call $stream-outcome (i32.const {offset}))", outcomes
        )

    def blocking_flush(self, *outcomes: str) -> None:
        """A step."""
        self._call("blocking-flush", "", "", 4, outcomes)

    def blocking_write(self, data: bytes, *outcomes: str) -> None:
        """A step: `blocking-write-and-flush`."""
        at = self.program.constant(data)
        shown = f"({data!r})" if len(data) < 100 else f"({len(data)} bytes)"
        arguments = f"(i32.const {at}) (i32.const {len(data)})"
        self._call("blocking-write-and-flush", arguments, shown, 4, outcomes)

    def write_zeroes(self, size: int, *outcomes: str, blocking: bool = False) -> None:
        """A step."""
        name = "blocking-write-zeroes-and-flush" if blocking else "write-zeroes"
        self._call(name, f"(i64.const {size})", f"({size})", 4, outcomes)

    def splice(self, source: Input, size: int, moved: int, *, blocking: bool = False) -> None:
        """A step: `splice` moves this many bytes."""
        name = "blocking-splice" if blocking else "splice"
        self._call(name, f"{source.code} (i64.const {size})", f"({source.name}, {size})", 8, ())
        self.program.equal("how many bytes were moved", "(i64.load (i32.const 24))", moved)

    def fill_up(self, most: int) -> Number:
        """Writes zeroes until nothing is permitted for a while, at most about `most` bytes; how many went."""
        return self.program.number("filled", f"(call $fill-up {self.code} (i64.const {most}))")
