"""What belongs to an engine: the permission for direct memory, and the ticker that preempts its guests.

Both hold only for engines made from `config()`: an engine that somebody else configured may move its
memories, and its epochs may mean something else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from wasmtime import Config, Engine

from wasi_sockets.engine.bindings import ObservedConfig
from wasi_sockets.engine.bindings_callbacks import CallbackGuest
from wasi_sockets.engine.ticker import Ticker

if TYPE_CHECKING:
    from wasi_sockets.engine.guest import GuestState

__all__ = [
    "DEFAULT_TICK",
    "EngineState",
    "config",
    "engine_settings",
    "engine_state",
    "engine_states",
]

DEFAULT_TICK = 0.002
"""Seconds between two moments at which a guest that only computes lets other tasks run."""


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


def engine_states() -> list[EngineState]:
    """Those of all engines that there are."""
    return list(_states.values())


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
