"""UDP sockets as checks use them."""

from __future__ import annotations

from collections.abc import Sequence

from wasi_sockets.conformance.program import Address, Handle, Number, Pollable
from wasi_sockets.conformance.streams import ZEROES
from wasi_sockets.conformance.tcp import Socket

__all__ = ["Incoming", "Outgoing", "Udp"]


class Incoming(Handle):
    """`incoming-datagram-stream`."""

    resource = "incoming-datagram-stream"

    def subscribe(self) -> Pollable:
        """Its pollable."""
        return Pollable(self.program, f"(call $incoming.subscribe {self.code})")

    def receive(self, most: int, *outcomes: str) -> None:
        """A step: asking once."""
        self.program.expect(
            f"{self.name}.receive({most})", f"(call $receive {self.code} (i64.const {most}))", outcomes
        )

    def receive_some(self, most: int, *outcomes: str) -> None:
        """A step: asking until at least one datagram came, or an error."""
        self.program.expect(
            f"{self.name}.receive({most}), when ready",
            f"(call $receive-some {self.code} (i64.const {most}))",
            outcomes,
        )

    def got(self, *datagrams: tuple[bytes, Address | None]) -> None:
        """Steps: the last call gave exactly these; the address is looked at where one is named."""
        program = self.program
        program.equal("how many datagrams came", "(i64.load32_u (i32.const 24))", len(datagrams))
        for number, (data, source) in enumerate(datagrams):
            record = f"(i32.add (i32.load (i32.const 20)) (i32.const {40 * number}))"
            program.equal(f"the size of datagram {number}", f"(i64.load32_u offset=4 {record})", len(data))
            if data:
                program.equal(
                    f"datagram {number} is {data!r}",
                    f"(call $same-bytes (i32.load {record}) (i32.const {program.constant(data)})"
                    f" (i32.const {len(data)}))",
                    1,
                )
            if source is not None:
                seen = program.take_address("its source", f"(i32.add {record} (i32.const 8))")
                program.same_address(f"the source of datagram {number} is {source}", seen, source)


class Outgoing(Handle):
    """`outgoing-datagram-stream`."""

    resource = "outgoing-datagram-stream"

    def subscribe(self) -> Pollable:
        """Its pollable."""
        return Pollable(self.program, f"(call $outgoing.subscribe {self.code})")

    def check_send(self) -> Number:
        """A step, and the permit that it gave."""
        self.program.emit(f"(call $outgoing.check-send {self.code} (i32.const 16))")
        self.program.expect(f"{self.name}.check-send", "(call $outcome (i32.const 8))")
        return self.program.number("permit", "(i64.load (i32.const 24))")

    def send_once(self, datagrams: Sequence[tuple[bytes | int, Address | None]], *outcomes: str) -> None:
        """A step: `send`, whatever `check-send` said before."""
        at = self._list(datagrams)
        self.program.expect(
            f"{self.name}.send({_shown(datagrams)})",
            f"(call $send-datagrams {self.code} (i32.const {at}) (i32.const {len(datagrams)}))",
            outcomes,
        )

    def sent(self, count: int) -> None:
        """A step: the last `send` took this many."""
        self.program.equal("how many datagrams were sent", "(i64.load (i32.const 24))", count)

    def send(self, *datagrams: tuple[bytes | int, Address | None]) -> None:
        """A step: all are sent, as `check-send` permits, within some seconds."""
        at = self._list(datagrams)
        self.program.expect(
            f"sending {_shown(datagrams)} on {self.name}",
            f"(call $send-all-datagrams {self.code} (i32.const {at}) (i32.const {len(datagrams)}))",
        )

    def send_code(self, count: str) -> str:
        """What sends `count` empty datagrams, an i32."""
        return f"(drop (call $send-datagrams {self.code} (i32.const {ZEROES}) {count}))"

    def _list(self, datagrams: Sequence[tuple[bytes | int, Address | None]]) -> int:
        """Writes the records, 44 bytes each; a number stands for that many zero bytes. Returns their place."""
        program = self.program
        at = program.slot(44 * len(datagrams))
        for number, (data, remote) in enumerate(datagrams):
            record = at + 44 * number
            if isinstance(data, int):
                place, size = ZEROES, data
            else:
                place, size = program.constant(data), len(data)
            program.emit(f"(memory.fill (i32.const {record}) (i32.const 0) (i32.const 44))")
            program.emit(f"(i32.store (i32.const {record}) (i32.const {place}))")
            program.emit(f"(i32.store (i32.const {record + 4}) (i32.const {size}))")
            if remote is not None:
                program.emit(f"(call $put-address {remote.code} (i32.const {record + 8}))")
        return at


def _shown(datagrams: Sequence[tuple[bytes | int, Address | None]]) -> str:
    texts = []
    for data, remote in datagrams:
        shown = f"{data} bytes" if isinstance(data, int) else repr(data)
        texts.append(shown if remote is None else f"{shown} to {remote}")
    return f"[{', '.join(texts)}]"


class Udp(Socket):
    """`udp-socket`."""

    resource = "udp-socket"
    kind = "udp"

    def stream(self, remote: Address | None = None) -> tuple[Incoming, Outgoing]:
        """A step; the streams."""
        self._stream(remote, ())
        incoming = Incoming(self.program, "(i32.load (i32.const 20))")
        return incoming, Outgoing(self.program, "(i32.load (i32.const 24))")

    def no_stream(self, remote: Address | None, *outcomes: str) -> None:
        """A step: it comes to one of `outcomes`."""
        self._stream(remote, outcomes)

    def _stream(self, remote: Address | None, outcomes: tuple[str, ...]) -> None:
        self._expect(
            "stream(none)" if remote is None else f"stream({remote})", self.stream_code(remote), outcomes
        )

    def stream_code(self, remote: Address | None = None) -> str:
        """What calls `stream`."""
        place = "(i32.const 0)" if remote is None else remote.code
        return f"(call $udp-stream {self.code} (i32.const {int(remote is not None)}) {place})"
