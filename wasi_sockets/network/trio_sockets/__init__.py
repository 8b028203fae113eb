"""`trio.socket` on a private network: what stands on it, unmodified, then needs no kernel."""

from __future__ import annotations

from wasi_sockets.network.trio_sockets.datagram import DatagramSocket
from wasi_sockets.network.trio_sockets.installation import install
from wasi_sockets.network.trio_sockets.stream import StreamSocket

__all__ = ["DatagramSocket", "StreamSocket", "install"]
