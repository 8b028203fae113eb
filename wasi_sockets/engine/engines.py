"""What belongs to an engine: the permission for direct memory, and the ticker that preempts its guests.

Both hold only for engines made from `config()`: an engine that somebody else configured may move its
memories, and its epochs may mean something else.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from wasmtime import Config, Engine

from wasi_sockets.engine.bindings import ObservedConfig
from wasi_sockets.engine.bindings_callbacks import CallbackGuest

if TYPE_CHECKING:
    from wasi_sockets.engine.guest import GuestState

__all__ = ["DEFAULT_TICK", "EngineState", "Ticker", "config", "engine_settings", "engine_state"]

DEFAULT_TICK = 0.002
"""Seconds between two moments at which a guest that only computes lets other tasks run."""

_IDLE_TICKS = 50
"""A ticker that saw no guest running at so many ticks in a row sleeps until one runs."""


class Ticker:
    """A thread that advances an engine's epoch while guests of it run, so that none can keep the trio loop.

    The thread exists while the engine has guests, and sleeps while none of them runs: a process full of
    parked guests wakes up for nothing else.

    Attributes:
        idle: the thread sleeps; whoever runs a guest must call `wake()`.
    """

    def __init__(self, seconds: float, running: dict[int, CallbackGuest]) -> None:
        self._seconds = seconds
        self._running = running
        self._users = 0
        self._lock = threading.Lock()  # a guest abandoned in a thread is released there
        self._stop: threading.Event | None = None
        self._work = threading.Event()
        self.idle = False

    def acquire(self, engine: Engine) -> None:
        """One more guest lives. The thread holds the engine, this object must not: it hangs on the engine."""
        with self._lock:
            self._users += 1
            if self._stop is not None:
                return
            self._stop = threading.Event()
            self._work = threading.Event()
            thread = threading.Thread(
                target=self._tick,
                args=(engine, self._stop, self._work),
                name="wasi-sockets ticker",
                daemon=True,
            )
            thread.start()

    def release(self) -> None:
        """One guest less; with the last one the thread ends."""
        with self._lock:
            self._users -= 1
            if self._users == 0 and self._stop is not None:
                self._stop.set()
                self._stop = None
                self._work.set()

    def wake(self) -> None:
        """Go on ticking: a guest runs."""
        self._work.set()

    def _tick(self, engine: Engine, stop: threading.Event, work: threading.Event) -> None:
        quiet = 0
        while not stop.wait(self._seconds):
            if self._running:
                quiet = 0
            else:
                quiet += 1
                if quiet > _IDLE_TICKS:
                    quiet = 0
                    self._sleep(stop, work)
                    continue
            engine.increment_epoch()

    def _sleep(self, stop: threading.Event, work: threading.Event) -> None:
        # The order matters: a guest enters `running` first and reads `idle` second, this thread sets `idle`
        # first and reads `running` second. So one of the two always sees the other. A thread that has been
        # replaced must not touch `idle`, which by then speaks of its successor.
        work.clear()
        if stop.is_set() or self._work is not work:
            return
        self.idle = True
        if not self._running and not stop.is_set():
            work.wait()
        if self._work is work:
            self.idle = False


class EngineState:
    """What the guests of one engine share.

    Attributes:
        running: by store-context address, the guests that are inside a poll now.
        stores: by store-context address, the guests that live.
        ticker: None when the engine was not made from `config()`.
        direct_memory: Python may read and write the memories of its guests by address.
        settings: every setting of its config as text; "unknown" when it was not made from `config()`.
    """

    __slots__ = ("direct_memory", "running", "settings", "stores", "ticker")

    def __init__(self) -> None:
        self.running: dict[int, CallbackGuest] = {}
        self.stores: dict[int, GuestState] = {}
        self.ticker: Ticker | None = None
        self.direct_memory = False
        self.settings = "unknown"


_states: WeakKeyDictionary[Engine, EngineState] = WeakKeyDictionary()


def engine_state(engine: Engine) -> EngineState:
    """The state of an engine, made from `config()` or not."""
    state = _states.get(engine)
    if state is None:
        state = _states[engine] = EngineState()
    return state


def config(*, tick: float = DEFAULT_TICK) -> Config:
    """A `wasmtime.Config` for engines whose guests share a trio loop.

    Epoch interruption is on, and engines made from it (`wasmtime.Engine(config())`) let Python use the memory
    of their guests by address. Other settings can be changed as usual; changing those of linear memories
    withdraws that permission.

    Args:
        tick: seconds after which a guest that only computes lets other tasks run.

    Raises:
        ValueError: `tick` is not positive.
    """
    if not tick > 0:
        raise ValueError(f"tick must be a positive number of seconds, not {tick!r}")

    def made(engine: Engine) -> None:
        state = engine_state(engine)
        state.ticker = Ticker(tick, state.running)
        state.direct_memory = settings.memories_are_default
        state.settings = repr(sorted(settings.changed.items()))

    settings = ObservedConfig(made)
    settings.epoch_interruption = True
    return settings


def engine_settings(engine: Engine) -> str:
    """What is known of how an engine was configured, for keys of caches of compiled code.

    It need not be complete: wasmtime itself refuses code that was compiled for other settings.
    """
    return f"{engine_state(engine).settings} pulley={engine.is_pulley()}"
