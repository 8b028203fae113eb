"""TCP sockets as checks use them."""

from __future__ import annotations

from typing import Literal, NamedTuple

from wasi_sockets.conformance.program import LOOPBACK, Address, Family, Handle, Number, Pollable, Program
from wasi_sockets.conformance.streams import Input, Output

__all__ = ["OPTIONS", "Connection", "Tcp", "connected", "listening"]

#: Option -> the core type of its value, where in the result it stands, and the instruction that reads it.
OPTIONS = {
    "keep-alive-enabled": ("i32", 1, "i64.load8_u"),
    "keep-alive-idle-time": ("i64", 8, "i64.load"),
    "keep-alive-interval": ("i64", 8, "i64.load"),
    "keep-alive-count": ("i32", 4, "i64.load32_u"),
    "hop-limit": ("i32", 1, "i64.load8_u"),
    "receive-buffer-size": ("i64", 8, "i64.load"),
    "send-buffer-size": ("i64", 8, "i64.load"),
    "unicast-hop-limit": ("i32", 1, "i64.load8_u"),
}
_HOW = {"receive": 0, "send": 1, "both": 2}


class Socket(Handle):
    """What TCP and UDP sockets have in common.

    Attributes:
        kind: "tcp" or "udp".
        family: of its addresses.
    """

    kind = ""

    def __init__(self, program: Program, family: Family, code: str | None = None) -> None:
        self.family = family
        if code is None:
            program.emit(f"(call ${self.kind}.create (i32.const {int(family)}) (i32.const 16))")
            program.expect(f"create-{self.kind}-socket({family})", "(call $outcome (i32.const 4))")
            code = "(i32.load (i32.const 20))"
        super().__init__(program, code)

    def _expect(self, text: str, code: str, outcomes: tuple[str, ...]) -> None:
        self.program.expect(f"{self.name}.{text}", code, outcomes)

    def _simple(self, name: str, offset: int, outcomes: tuple[str, ...]) -> None:
        self.program.emit(f"(call ${self.kind}.{name} {self.code} (i32.const 16))")
        self._expect(name, f"(call $outcome (i32.const {offset}))", outcomes)

    def bind(self, address: Address, *outcomes: str) -> None:
        """A step: `start-bind`, and `finish-bind` as soon as it does not say would-block."""
        self._expect(f"bind({address})", f"(call ${self.kind}-bind {self.code} {address.code})", outcomes)

    def bind_loopback(self) -> None:
        """A step: bound to a free port of the loopback address."""
        self.bind(self.program.address(LOOPBACK[self.family]))

    def start_bind(self, address: Address, *outcomes: str) -> None:
        """A step."""
        self._expect(
            f"start-bind({address})", f"(call ${self.kind}-start-bind {self.code} {address.code})", outcomes
        )

    def finish_bind(self, *outcomes: str) -> None:
        """A step."""
        self._expect("finish-bind", f"(call ${self.kind}-finish-bind {self.code})", outcomes)

    def local_address(self) -> Address:
        """A step, and the address."""
        self._simple("local-address", 4, ())
        return self.program.take_address(f"(the address of {self.name})")

    def remote_address(self) -> Address:
        """A step, and the address."""
        self._simple("remote-address", 4, ())
        return self.program.take_address(f"(the peer of {self.name})")

    def no_local_address(self, *outcomes: str) -> None:
        """A step: asking for it comes to one of `outcomes`."""
        self._simple("local-address", 4, outcomes)

    def no_remote_address(self, *outcomes: str) -> None:
        """A step: asking for it comes to one of `outcomes`."""
        self._simple("remote-address", 4, outcomes)

    def has_family(self) -> None:
        """A step: `address-family` gives what the socket was made with."""
        code = f"(i64.extend_i32_u (call ${self.kind}.address-family {self.code}))"
        self.program.equal(f"{self.name}.address-family", code, int(self.family))

    def get(self, option: str, *outcomes: str) -> Number:
        """A step, and the value."""
        _, offset, load = OPTIONS[option]
        self._simple(option, offset, outcomes)
        return self.program.number(option, f"({load} (i32.const {16 + offset}))")

    def set(self, option: str, value: int | Number, *outcomes: str) -> None:
        """A step."""
        core_type = OPTIONS[option][0] if option in OPTIONS else "i64"
        if isinstance(value, Number):
            code, shown = value.code if core_type == "i64" else f"(i32.wrap_i64 {value.code})", "..."
        else:
            code, shown = f"({core_type}.const {value})", str(value)
        self.program.emit(f"(call ${self.kind}.set-{option} {self.code} {code} (i32.const 16))")
        self._expect(f"set-{option}({shown})", "(call $outcome (i32.const 1))", outcomes)

    def subscribe(self) -> Pollable:
        """Its pollable."""
        return Pollable(self.program, f"(call ${self.kind}.subscribe {self.code})")


class Tcp(Socket):
    """`tcp-socket`."""

    resource = "tcp-socket"
    kind = "tcp"

    def connect(self, address: Address) -> tuple[Input, Output]:
        """A step: connected in time; the streams."""
        self._expect(f"connect({address})", f"(call $tcp-connect {self.code} {address.code})", ())
        return self._streams(20)

    def no_connect(self, address: Address, *outcomes: str) -> None:
        """A step: connecting comes to one of `outcomes`."""
        self._expect(f"connect({address})", f"(call $tcp-connect {self.code} {address.code})", outcomes)

    def start_connect(self, address: Address, *outcomes: str) -> None:
        """A step."""
        self._expect(
            f"start-connect({address})", f"(call $tcp-start-connect {self.code} {address.code})", outcomes
        )

    def wait_connect(self) -> tuple[Input, Output]:
        """A step: `finish-connect` as soon as it does not say would-block; the streams."""
        self._expect("finish-connect", f"(call $tcp-wait-connect {self.code})", ())
        return self._streams(20)

    def finish_connect(self, *outcomes: str) -> None:
        """A step: asking once comes to one of `outcomes`."""
        self._expect("finish-connect", f"(call $tcp-finish-connect {self.code})", outcomes)

    def listen(self, *outcomes: str) -> None:
        """A step: `start-listen` and `finish-listen`."""
        self._expect("listen", f"(call $tcp-listen {self.code})", outcomes)

    def start_listen(self, *outcomes: str) -> None:
        """A step."""
        self._expect("start-listen", f"(call $tcp-start-listen {self.code})", outcomes)

    def finish_listen(self, *outcomes: str) -> None:
        """A step."""
        self._expect("finish-listen", f"(call $tcp-finish-listen {self.code})", outcomes)

    def accept(self) -> tuple[Tcp, Input, Output]:
        """A step: a client comes in time; its socket and streams."""
        self._expect("accept", f"(call $tcp-accept {self.code})", ())
        accepted = Tcp(self.program, self.family, "(i32.load (i32.const 20))")
        return accepted, *self._streams(24)

    def no_accept(self, *outcomes: str) -> None:
        """A step: asking once comes to one of `outcomes`."""
        self._expect("accept", f"(call $tcp-try-accept {self.code})", outcomes)

    def shutdown(self, how: Literal["receive", "send", "both"], *outcomes: str) -> None:
        """A step."""
        self.program.emit(f"(call $tcp.shutdown {self.code} (i32.const {_HOW[how]}) (i32.const 16))")
        self._expect(f"shutdown({how})", "(call $outcome (i32.const 1))", outcomes)

    def is_listening(self, expected: bool) -> None:
        """A step."""
        code = f"(i64.extend_i32_u (call $tcp.is-listening {self.code}))"
        self.program.equal(f"{self.name}.is-listening", code, int(expected))

    def _streams(self, at: int) -> tuple[Input, Output]:
        incoming = Input(self.program, f"(i32.load (i32.const {at}))")
        return incoming, Output(self.program, f"(i32.load (i32.const {at + 4}))")


class Connection(NamedTuple):
    """Both ends of a connection, and the listener that made it."""

    listener: Tcp
    client: Tcp
    client_in: Input
    client_out: Output
    server: Tcp
    server_in: Input
    server_out: Output

    def drop_server(self) -> None:
        """Gives back the accepted end."""
        for each in (self.server_in, self.server_out, self.server):
            each.drop()

    def drop_client(self) -> None:
        """Gives back the connecting end."""
        for each in (self.client_in, self.client_out, self.client):
            each.drop()


def listening(p: Program, family: Family) -> tuple[Tcp, Address]:
    """A socket that listens at a free port of the loopback address."""
    listener = Tcp(p, family)
    listener.bind_loopback()
    listener.listen()
    return listener, listener.local_address()


def connected(p: Program, family: Family) -> Connection:
    """A connection over the loopback."""
    listener, address = listening(p, family)
    client = Tcp(p, family)
    client_in, client_out = client.connect(address)
    server, server_in, server_out = listener.accept()
    return Connection(listener, client, client_in, client_out, server, server_in, server_out)
