"""The shim's private half as a core module of its own, with a host in plain Python that notes what it is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import wasmtime
from wasmtime import FuncType, Linker, Module, Store, ValType

from wasi_sockets.interposer.items import TRAPS
from wasi_sockets.interposer.library import state_text
from wasi_sockets.interposer.plan import REALM_FAST_PATHS

INPUT, OUTPUT, OTHER = 1, 2, 3
NUMBERS = {name: number for number, name in enumerate(REALM_FAST_PATHS)}
DROP = 900
"""The item number that these tests use for drops of Python-owned handles."""

METHOD = 800
"""The item number of `subscribe` of whatever these tests subscribe to that is no stream."""

_ARITIES = {"call0": 0, "call1": 1, "call2": 2, "call7": 7, "wait1": 1, "wait2": 2}


def handle(index: int, generation: int = 0) -> int:
    """A Python-owned handle."""
    return 0x4000_0000 | generation << 20 | index


class ShimTrap(Exception):
    """The private half asked for a trap, with the text of its reason."""


@dataclass
class Thing:
    """What stands behind a Python-owned handle; `level` as in the contract, readiness for other waitables.

    Attributes:
        methods: the items that subscribe to things of its resource.
    """

    kind: int
    level: int = 0
    methods: tuple[int, ...] = (METHOD,)


@dataclass
class Host:
    """Answers the private half, and plays the guest to it.

    Attributes:
        things: by handle.
        stock: readiness of stock pollables, by handle.
        time: nanoseconds on the guest's clock.
        virtual: what `hello` says of the clock.
        asked: names of the items called, with their arguments.
        on_wait: what happens during a suspension.
    """

    things: dict[int, Thing] = field(default_factory=dict)
    stock: dict[int, bool] = field(default_factory=dict)
    time: int = 1_000
    virtual: bool = True
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    on_wait: Any = None
    watched: list[int] = field(default_factory=list)
    exports: Any = None
    store: Any = None

    def __post_init__(self) -> None:
        self.store = Store(_engine())
        linker = Linker(_engine())
        for name, arity in _ARITIES.items():
            kind = FuncType([ValType.i64()] * (arity + 1), [ValType.i64()])
            linker.define_func("host", name, kind, self.called)
        self.exports = linker.instantiate(self.store, _module()).exports(self.store)

    def guest(self, name: str, *arguments: int) -> Any:
        """Calls an export. `subscribe_other` is called by METHOD unless another item is given, and `drop_owned` as the
        drop of what the handle stands for unless another kind is."""
        if name == "subscribe_other" and len(arguments) == 1:
            arguments = (*arguments, METHOD)
        if name == "drop_owned" and len(arguments) == 2:
            thing = self.things.get(arguments[0])
            arguments = (*arguments, thing.kind if thing is not None and thing.kind in (INPUT, OUTPUT) else 0)
        return self.exports[name](self.store, *arguments)

    def memory(self) -> Any:
        return self.exports["memory"]

    def give_clock(self) -> None:
        """Fills the slot of the stock clock."""
        now = wasmtime.Func(self.store, FuncType([], [ValType.i64()]), lambda: self.time)
        self.exports["stock"].set(self.store, 0, now)

    def give_stock_pollables(self) -> None:
        """Fills the slot of the stock `pollable.ready`."""

        def ready(pollable: int) -> int:
            return int(self.stock[pollable])

        kind = FuncType([ValType.i32()], [ValType.i32()])
        self.exports["stock"].set(self.store, 1, wasmtime.Func(self.store, kind, ready))

    def poll(self, handles: list[int]) -> list[int]:
        """The positions that are ready, as `poll` of the guest would see them."""
        self.guest("poll_begin", len(handles))
        for each in handles:
            self.guest("poll_add", each)
        return [self.guest("poll_result", position) for position in range(self.guest("poll_run"))]

    def become(self, owned: int, level: int) -> bool:
        """Changes the level of a thing, and says that this ends a wait."""
        self.things[owned].level = level
        return True

    def took(self) -> list[str]:
        """Names of what was asked since the last time."""
        names = [each[0] for each in self.asked]
        self.asked.clear()
        return names

    # ------------------------------------------------------------ the host's side
    def called(self, word: int, *arguments: int) -> int:
        item = word & 0xFFFF_FFFF
        if item == DROP:
            self.asked.append(("drop", *arguments))
            del self.things[arguments[0]]
            return 0
        name = REALM_FAST_PATHS[item]
        unsigned = tuple([each & 0xFFFF_FFFF_FFFF_FFFF for each in arguments])
        self.asked.append((name, *unsigned))
        answer: int = getattr(self, f"_{name.replace('-', '_')}")(*unsigned)
        return answer - (1 << 64) if answer >= 1 << 63 else answer

    def _thing(self, owned: int) -> Thing:
        if owned not in self.things:
            raise ShimTrap("unknown handle to Python")
        return self.things[owned]

    def _hello(self) -> int:
        return int(self.virtual)

    def _now(self) -> int:
        return self.time

    def _attach(self, code: int) -> int:
        wanted, owned = code >> 32, code & 0xFFFF_FFFF
        thing = self._thing(owned)
        if wanted and (thing.kind != OTHER or wanted - 1 not in thing.methods):
            raise ShimTrap("unknown handle to Python: of another type")
        level = 0 if thing.kind == OTHER else thing.level & 0xFFFF_FFFF
        return thing.kind | level << 32

    def _avail(self, owned: int) -> int:
        return self._thing(owned).level & 0xFFFF_FFFF

    _permit = _avail

    def _flush(self, owned: int) -> int:
        return min(self._thing(owned).level, 0) & 0xFFFF_FFFF

    def _failure(self, owned: int) -> int:
        return handle(77)

    def _drops(self, *codes: int) -> int:
        for code in codes:
            if code:
                assert code >> 32 == DROP
                del self.things[code & 0xFFFF_FFFF]
        return 0

    def _take_back(self, socket: int, streams: int) -> int:
        del self.things[streams & 0xFFFF_FFFF]
        return 0

    def _trap(self, reason: int, detail: int) -> int:
        raise ShimTrap(TRAPS[reason])

    def _check(self, code: int) -> int:
        return self._thing(code & 0xFFFF_FFFF).level & 0xFFFF_FFFF

    def _wait(self, code: int, timeout: int) -> int:
        if not self._check(code):
            self._pass(timeout)
        return self._check(code)

    def _watch(self, *codes: int) -> int:
        self.watched += [code for code in codes if code]
        return 0

    def _wait_many(self, timeout: int) -> int:
        if not self._bits():
            self._pass(timeout)
        bits = self._bits()
        self.watched.clear()
        return bits

    def _bits(self) -> int:
        bits = 0
        for position, code in enumerate(self.watched):
            if self._check(code):
                bits |= 1 << min(position, 62)
        return bits

    def _sleep(self, duration: int) -> int:
        self._pass(duration)
        return 0

    def _pass(self, timeout: int) -> None:
        """Time passes until the timeout, unless `on_wait` says that something happened before."""
        if timeout and (self.on_wait is None or not self.on_wait(timeout)):
            if timeout >= 1 << 63:
                raise ShimTrap("the guest would wait for ever")
            self.time += timeout


@cache
def _engine() -> wasmtime.Engine:
    return wasmtime.Engine()


@cache
def _module() -> Module:
    return Module(_engine(), state_text(NUMBERS))
