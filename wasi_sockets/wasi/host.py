"""What one guest was given by whoever runs it."""

from __future__ import annotations

from typing import Final

from wasi_sockets.network import Network
from wasi_sockets.sockets import SocketContext
from wasi_sockets.telemetry import OutputLines
from wasi_sockets.wasi.limits import Limits
from wasi_sockets.wasi.pipes import InputPipe, OutputPipe

__all__ = ["Host"]


class Host:
    """The network, standard streams and limits of one guest. It owns all that the guest opens.

    Attributes:
        network: where the guest's sockets live.
        name: what people call it.
        stdin: the virtual standard input, `None` to leave it to the stock host; `stdout` and `stderr` alike.
        limits: see `Limits`.
        sockets: what the guest's sockets have in common.
        lines: what makes log records of its output, by stream.
    """

    __slots__ = ("__weakref__", "limits", "lines", "name", "network", "sockets", "stderr", "stdin", "stdout")

    def __init__(
        self,
        network: Network,
        *,
        name: str = "",
        stdin: InputPipe | None = None,
        stdout: OutputPipe | None = None,
        stderr: OutputPipe | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.network: Final = network
        self.name: Final = name
        self.stdin: Final = stdin
        self.stdout: Final = stdout
        self.stderr: Final = stderr
        self.lines: Final[dict[str, OutputLines]] = {}
        self.limits: Final = Limits() if limits is None else limits
        self.sockets: Final = SocketContext(
            network,
            self,
            self.limits.sockets,
            tcp=self.limits.tcp,
            udp=self.limits.udp,
            name_lookup=self.limits.name_lookup,
            max_lookups=self.limits.lookups,
        )
        if not (self.limits.connections is self.limits.buffered is self.limits.datagrams is None):
            network.limit(
                self,
                connections=self.limits.connections,
                buffered=self.limits.buffered,
                datagrams=self.limits.datagrams,
            )

    def __str__(self) -> str:
        return self.name or "guest"

    def release(self) -> None:
        """End all that the guest left open in the network: connections are reset, ports freed.

        For a guest that was cut off; one that returned has had its handles closed in order by then.
        """
        for lines in self.lines.values():
            lines.finish()
        self.network.release(self)
