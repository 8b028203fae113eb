"""The exceptions of wasi_sockets that have no standard name of their own.

Network failures are the ones Python and trio already have (`ConnectionRefusedError`,
`OSError(EADDRINUSE)`, `trio.BrokenResourceError`...). What is here is about components and guests.
"""

from __future__ import annotations

__all__ = [
    "ComponentError",
    "GuestBusyError",
    "GuestClosedError",
    "GuestLimitError",
    "GuestTrap",
    "InvalidComponentError",
    "UnsupportedComponentError",
    "WasiSocketsError",
]


class WasiSocketsError(Exception):
    """The base of every exception that this library defines."""


class ComponentError(WasiSocketsError):
    """A file cannot be loaded as a guest. The subclasses say whether it is broken or not supported."""


class InvalidComponentError(ComponentError):
    """The bytes are not a well-formed WebAssembly component. Check how the file was built or copied."""


class UnsupportedComponentError(ComponentError):
    """The component is well-formed but uses something that cannot be interposed.

    Attributes:
        construct: what it is, as a component author would name it.
    """

    def __init__(self, construct: str, advice: str) -> None:
        super().__init__(f"{construct}: {advice}")
        self.construct = construct


class GuestTrap(WasiSocketsError):
    """The guest broke a rule that ends it, as a stock host would: a forged handle, a range outside memory..."""


class GuestBusyError(WasiSocketsError):
    """A call was made on a guest while another is running. Await the first one, or use a second guest."""


class GuestClosedError(WasiSocketsError):
    """A call was made on a guest that has ended (closed, trapped or cancelled). Instantiate a new one."""


class GuestLimitError(WasiSocketsError):
    """A guest was ended, or not begun, because of one of its limits or of this process's.

    Attributes:
        limit: which: an attribute of `Limits`, such as "lifetime", or "vm.max_map_count".
    """

    def __init__(self, limit: str, reason: str) -> None:
        super().__init__(reason)
        self.limit = limit
