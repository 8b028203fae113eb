"""Sequences at random, most of whose operations make sense where they stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, TypeVar

from tests.differential.operations import (
    Abort,
    Accept,
    Address,
    Bind,
    Close,
    Connect,
    Disconnect,
    Drain,
    Flood,
    GetOption,
    Listen,
    LocalAddress,
    Open,
    Operation,
    Port,
    PortOf,
    Receive,
    RemoteAddress,
    Send,
    SendTo,
    SetOption,
    Shutdown,
)

__all__ = ["Pick", "tcp_sequence", "udp_sequence"]

T = TypeVar("T")

#: Takes one of several: `random.Random.choice`, or what hypothesis draws.
Pick = Callable[[Sequence[Any]], Any]

_SLOTS: Final = range(6)
_OWN: Final = {4: ["127.0.0.1"] * 5 + ["127.0.0.2", "0.0.0.0"], 6: ["::1"] * 4 + ["::"]}
_FOREIGN: Final = {4: "192.0.2.1", 6: "2001:db8::1"}
_SIZES: Final = [1, 10, 1000, 2500]
_MOST_SENT: Final = 16_000  # of either end: less than any buffer, so that only floods fill one
_OPTIONS: Final[list[Any]] = [
    "keep-alive-enabled",
    "keep-alive-idle-time",
    "keep-alive-interval",
    "keep-alive-count",
    "hop-limit",
]


class _Tcp:
    """What the sockets of a sequence probably are."""

    def __init__(self, pick: Pick) -> None:
        self.pick = pick
        self.sequence: list[Operation] = []
        self.kinds: dict[int, str] = {}
        self.families: dict[int, Literal[4, 6]] = {}
        self.budget = _MOST_SENT
        self.main_family: Literal[4, 6] = pick([4, 4, 6])

    def some(self, kind: str) -> list[int]:
        return [number for number, each in self.kinds.items() if each == kind]

    def add(self, operation: Operation) -> None:
        self.sequence.append(operation)

    def free(self) -> int:
        unused = [number for number in _SLOTS if number not in self.kinds]
        return unused[0] if unused else int(self.pick(list(_SLOTS)))

    def open(self) -> int:
        number = self.free()
        family = self.main_family if self.pick(range(12)) else self.pick([4, 6])
        self.add(Open(number, "tcp", family))
        self.kinds[number], self.families[number] = "unbound", family
        return number

    def address(self, number: int, port: Port) -> Address:
        return Address(self.pick(_OWN[self.families[number]]), port)

    def bind(self, number: int) -> None:
        port: Port = 0
        if len(self.kinds) > 1 and not self.pick(range(3)):
            port = PortOf(self.pick(list(self.kinds)))
        address = self.address(number, port)
        if not self.pick(range(30)):
            address = Address(_FOREIGN[self.families[number]], 0)
        self.add(Bind(number, address))
        self.kinds[number] = "bound"

    def listen(self) -> int:
        number = self.open()
        self.bind(number)
        self.add(Listen(number, self.pick([0, 1, 2, 5])))
        self.kinds[number] = "listening"
        return number

    def connect(self, number: int) -> None:
        listening = [each for each in self.some("listening") if self.families[each] == self.families[number]]
        if listening and self.pick(range(8)):
            target = self.pick(listening)
        else:
            target = self.pick(list(self.kinds))
        self.add(Connect(number, self.address(number, PortOf(target))))
        self.kinds[number] = "connected" if target in listening else "gone"

    def pair(self) -> None:
        """A connection and both its ends."""
        listening = self.some("listening")
        listener = self.pick(listening) if listening and self.pick(range(3)) else self.listen()
        client = self.open()
        if self.families[client] != self.families[listener]:
            return
        if not self.pick(range(6)):
            self.bind(client)
        self.add(Connect(client, self.address(client, PortOf(listener))))
        self.kinds[client] = "connected"
        self.accept(listener)

    def accept(self, listener: int) -> None:
        into = self.free()
        self.add(Accept(listener, into))
        self.kinds[into], self.families[into] = "connected", self.families[listener]

    def transfer(self, number: int) -> None:
        what = self.pick(["send"] * 8 + ["receive"] * 8 + ["drain"] * 2 + ["flood"])
        if what == "send":
            size = min(self.pick(_SIZES), self.budget)
            if size:
                self.budget -= size
                self.add(Send(number, size))
        elif what == "receive":
            self.add(Receive(number, self.pick([1, 500, 100_000])))
        else:
            self.add(Drain(number) if what == "drain" else Flood(number))

    def end(self, number: int) -> None:
        if self.pick(range(5)):
            self.add(Close(number))
        else:
            self.add(Abort(number))
        self.kinds.pop(number, None)

    def wild(self) -> None:
        """Anything on anything."""
        number = self.pick(list(_SLOTS))
        other = self.pick(list(_SLOTS))
        ip = self.pick(_OWN[self.families.get(number, 4)])
        self.add(
            self.pick(
                [
                    Bind(number, Address(ip, 0)),
                    Bind(number, Address(ip, PortOf(other))),
                    Listen(number, 1),
                    Connect(number, Address(ip, PortOf(other))),
                    Accept(number, other),
                    Send(number, 1),
                    Receive(number, 10),
                    Shutdown(number, self.pick(["send", "receive", "both"])),
                ]
            )
        )

    def ask(self) -> None:
        number = self.pick(list(self.kinds or _SLOTS))
        what = self.pick(["local", "remote", "get", "set"])
        name = self.pick(_OPTIONS)
        if what == "local":
            self.add(LocalAddress(number))
        elif what == "remote":
            self.add(RemoteAddress(number))
        elif what == "get":
            self.add(GetOption(number, name))
        else:
            value = self.pick(
                [0, 1] if name == "keep-alive-enabled" else [0, 1, 7, 42, 127, 255, 300, 40_000]
            )
            self.add(SetOption(number, name, value))


def tcp_sequence(pick: Pick) -> list[Operation]:
    """A sequence of operations on TCP sockets."""
    state = _Tcp(pick)
    state.pair()
    for _ in range(pick(range(1, 25))):
        connected, listening = state.some("connected"), state.some("listening")
        what = pick(
            ["transfer"] * 10 + ["end"] * 3 + ["shutdown"] * 2 + ["ask"] * 3 + ["listener"] * 3 + ["wild"]
        )
        if what == "transfer" and connected:
            state.transfer(pick(connected))
        elif what == "shutdown" and connected:
            state.add(Shutdown(pick(connected), pick(["send", "send", "send", "receive", "both"])))
        elif what == "end" and state.kinds:
            state.end(pick(connected or list(state.kinds)) if pick(range(4)) else pick(list(state.kinds)))
        elif what == "ask":
            state.ask()
        elif what == "wild":
            state.wild()
        elif listening and pick(range(3)):
            if pick(range(2)):
                state.accept(pick(listening))
            else:
                state.connect(state.open())
        elif pick(range(3)):
            state.pair()
        else:
            state.bind(state.open())
    return state.sequence


def udp_sequence(pick: Pick) -> list[Operation]:
    """A sequence of operations on UDP sockets."""
    sequence: list[Operation] = []
    families: dict[int, Literal[4, 6]] = {}
    main_family: Literal[4, 6] = pick([4, 4, 6])
    slots = range(4)

    def address(number: int) -> Address:
        port: Port = PortOf(pick(list(families))) if pick(range(20)) else 0
        return Address(pick(_OWN[families[number]]), port)

    def new(number: int) -> None:
        families[number] = main_family if pick(range(12)) else pick([4, 6])
        sequence.append(Open(number, "udp", families[number]))
        if pick(range(15)):
            to = Address(pick(_OWN[families[number]]), 0)
            if not pick(range(6)):
                to = address(number)
            elif not pick(range(30)):
                to = Address(_FOREIGN[families[number]], 0)
            sequence.append(Bind(number, to))

    new(0)
    new(1)
    for _ in range(pick(range(1, 25))):
        number = pick(list(slots))
        if number not in families:
            new(number)
            continue
        what = pick(
            ["send-to"] * 7 + ["send"] * 4 + ["receive"] * 8 + ["connect"] * 4 + ["disconnect", "close", "bind", "new"]
            + ["local", "remote", "get", "set"]
        )  # fmt: skip
        size = pick([0, 1, 10, 1000] * 4 + [65_507, 65_508, 65_527, 65_528, 70_000])
        if what == "send-to":
            sequence.append(SendTo(number, size, address(number)))
        elif what == "send":
            sequence.append(Send(number, size))
        elif what == "receive":
            sequence.append(Receive(number))
        elif what == "connect":
            sequence.append(Connect(number, address(number)))
        elif what == "disconnect":
            sequence.append(Disconnect(number))
        elif what == "close":
            sequence.append(Close(number))
            if not pick(range(3)):
                new(number)
        elif what == "bind":
            sequence.append(Bind(number, address(number)))
        elif what == "local":
            sequence.append(LocalAddress(number))
        elif what == "remote":
            sequence.append(RemoteAddress(number))
        elif what == "get":
            sequence.append(GetOption(number, "hop-limit"))
        elif what == "set":
            sequence.append(SetOption(number, "hop-limit", pick([0, 1, 42, 255, 300])))
        else:
            new(number)
    return sequence
