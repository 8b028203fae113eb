"""TLS made by the host, over a connection to the outside."""

from __future__ import annotations

import errno
import ssl
from typing import Final

import trio

from wasi_sockets.network.bridges.kernel import CHUNK, KernelStream

__all__ = ["TlsStream"]


class TlsStream:
    """A TLS client over a kernel stream, which it owns.

    Unlike `trio.SSLStream` it can end one direction alone: TLS can, by one "close notify", and a guest that shuts its
    sending half down wants its answer.
    """

    __slots__ = ("_incoming", "_outgoing", "_sending", "_stream", "_tls")

    def __init__(self, stream: KernelStream, context: ssl.SSLContext, server_hostname: str | None) -> None:
        self._stream: Final = stream
        self._incoming: Final = ssl.MemoryBIO()
        self._outgoing: Final = ssl.MemoryBIO()
        self._tls: Final = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        # Both directions may have something to send: an answer to the peer's key update, say.
        self._sending: Final = trio.Lock()

    async def handshake(self) -> None:
        """Shake hands, and verify the peer as the context says.

        Raises:
            ssl.SSLError: if that fails.
            OSError: as from the socket.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._receive()
            except ssl.SSLError:
                await self._flush()  # tells the peer why
                raise
            else:
                await self._flush()
                return

    async def receive_some(self) -> bytes:
        """Bytes, or `b""` after the peer's "close notify".

        Raises:
            OSError: also when the peer ended without one: something may be missing.
        """
        while True:
            try:
                return self._tls.read(CHUNK)
            except ssl.SSLWantReadError:
                await self._flush()
                await self._receive()
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLEOFError as error:
                raise ConnectionResetError(
                    errno.ECONNRESET, "the peer ended without saying so in TLS"
                ) from error

    async def send_all(self, data: bytes | memoryview) -> None:
        """Send all of it."""
        with memoryview(data) as view:
            for start in range(0, len(view), CHUNK):
                with view[start : start + CHUNK] as piece:
                    self._tls.write(piece)
                await self._flush()

    async def send_eof(self) -> None:
        """Say "close notify"; receiving goes on."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # the peer's own has not come yet
        await self._flush()

    def close(self) -> None:
        """Close it. Idempotent."""
        self._stream.close()

    def abort(self) -> None:
        """Close it with a reset. Idempotent."""
        self._stream.abort()

    async def _receive(self) -> None:
        data = await self._stream.receive_some()
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def _flush(self) -> None:
        if self._outgoing.pending:
            async with self._sending:
                await self._stream.send_all(self._outgoing.read())
