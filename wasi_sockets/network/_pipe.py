"""One direction of a connection: a bounded queue of bytes with the ways a direction can end."""

from __future__ import annotations

import errno
import os
from collections import deque
from typing import Final

from wasi_sockets.network._waiters import Waiters

__all__ = ["DEFAULT_CAPACITY", "Pipe"]

#: Bytes that one direction of a connection holds.
DEFAULT_CAPACITY: Final = 256 * 1024

# Joining chunks copies them, so that only small ones are joined for a reader who takes what there is.
_GATHER_BELOW: Final = 8 * 1024

# A chunk costs about 40 bytes beside its data. Above this many queued chunks, small writes are merged into
# the last chunk until it has this size; otherwise two-byte writes could make a pipe of 256 KiB take 7 MB.
_MERGE_ABOVE_CHUNKS: Final = 64
_MERGE_UP_TO: Final = 1024


class Pipe:
    """One direction of a connection, from its only writer to its only reader. Nothing here waits.

    Whoever finds the pipe empty or full adds a callback to `readable` or `writable` and looks again when it
    is called. Both sets are woken by every change of state (`end`, `close_read`, `discard`, `abort`), so that
    a task waiting at an end that its own side closes wakes too. After a full pipe, `writable` is woken when
    a third of the capacity is free, as Linux does (`sk_stream_is_writeable`): a reader of single bytes does
    not wake the writer for each.

    Attributes:
        capacity: bytes that fit; change it with `resize`.
        buffered: bytes written and not yet read.
        delivered: bytes read since the beginning.
        ended: the writer will write no more (FIN).
        broken: the reader is gone; writing is an error.
        discarding: the reader has shut its half but its connection lives (SHUT_RD): the reader is at the end,
            and what is written is dropped, which the writer does not notice.
        reset: aborted; nothing is queued, and both ends see connection-reset.
    """

    __slots__ = (
        "_chunks",
        "_offset",
        "_open",
        "_reset_when_read",
        "broken",
        "buffered",
        "capacity",
        "delivered",
        "discarding",
        "ended",
        "readable",
        "reset",
        "writable",
    )

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {capacity}")
        self.capacity = capacity
        self.buffered = 0
        self.delivered = 0
        self.ended = False
        self.broken = False
        self.discarding = False
        self.reset = False
        self.readable = Waiters()
        self.writable = Waiters()
        self._chunks: deque[bytes] = deque()
        self._offset = 0  # how much of the first chunk has been read
        self._open = True  # none of the ways to end has happened: one test for the hot path
        self._reset_when_read = False

    def __repr__(self) -> str:
        flags = [name for name in ("ended", "broken", "discarding", "reset") if getattr(self, name) is True]
        return f"<Pipe {self.buffered}/{self.capacity}{''.join(' ' + flag for flag in flags)}>"

    def room(self) -> int:
        """Bytes that fit now, whatever the state of the pipe; 0 if more than `capacity` was written."""
        room = self.capacity - self.buffered
        return room if room > 0 else 0

    def available(self) -> int:
        """What the reader finds: the number of bytes queued, 0 for none yet, -1 at the end, -2 if reset."""
        if self.buffered:
            return self.buffered
        if self._open:
            return 0
        return -2 if self.reset else -1

    def permit(self) -> int:
        """What the writer finds: the room left, -1 if it ended or the reader is gone, -2 after a reset."""
        if not self._open:
            if self.reset:
                return -2
            if self.ended or self.broken:
                return -1
        room = self.capacity - self.buffered
        return room if room > 0 else 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue `data`, all of it. Keep to `room` for back-pressure.

        `bytes` are kept without copying, anything else is copied once.

        Raises:
            BrokenPipeError: after `end`, or when the reader is gone.
            ConnectionResetError: after a reset.
        """
        if data.__class__ is not bytes:
            data = bytes(data)
        size = len(data)
        if not self._open:
            if self.reset:
                raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
            if self.ended or self.broken:
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            return  # discarding
        if not size:
            return
        chunks = self._chunks
        if (
            len(chunks) > _MERGE_ABOVE_CHUNKS
            and size < _MERGE_UP_TO
            and len(chunks[-1]) + size <= _MERGE_UP_TO
        ):
            chunks[-1] += data
        else:
            chunks.append(data)
        self.buffered += size
        if self.readable:
            self.readable.wake_all()

    def read(self, max_bytes: int) -> bytes:
        """Take exactly `min(max_bytes, buffered)` bytes; `b""` when empty (`available` says why).

        A whole chunk is handed over without copying.
        """
        chunks = self._chunks
        if not chunks or max_bytes < 1:
            return b""
        data = chunks[0]
        offset = self._offset
        size = len(data) - offset
        if size > max_bytes:
            # The rest stays in place behind an offset: cutting it off would copy it at every read.
            self._offset = size = offset + max_bytes
            data = data[offset:size]
            size = max_bytes
        else:
            chunks.popleft()
            if offset:
                data = data[offset:]
                self._offset = 0
            if chunks and size < max_bytes:
                data = self._gather(data, max_bytes)
                size = len(data)
        self.delivered += size
        self.buffered -= size
        if self.writable or self.ended:
            self._after_read()
        return data

    def read_some(self, max_bytes: int) -> bytes:
        """Take between 1 and `max_bytes` bytes, as many as come cheaply; `b""` when empty.

        Small chunks are joined, a large one is handed over by itself. For readers of byte streams, who take
        what there is.
        """
        chunks = self._chunks
        if not chunks or self._offset or len(chunks[0]) > max_bytes:
            return self.read(max_bytes)
        data = chunks.popleft()
        size = len(data)
        if chunks and size < _GATHER_BELOW and len(chunks[0]) < _GATHER_BELOW:
            data = self._gather(data, min(max_bytes, _GATHER_BELOW))
            size = len(data)
        self.delivered += size
        self.buffered -= size
        if self.writable or self.ended:
            self._after_read()
        return data

    def _gather(self, first: bytes, max_bytes: int) -> bytes:
        """`first`, already taken from the queue, and the bytes after it."""
        chunks = self._chunks
        pieces = [first]
        missing = max_bytes - len(first)
        while chunks and missing > 0:
            piece = chunks[0]
            if len(piece) > missing:
                pieces.append(piece[:missing])
                self._offset = missing
                break
            missing -= len(piece)
            pieces.append(chunks.popleft())
        return b"".join(pieces)

    def _after_read(self) -> None:
        if self._reset_when_read and not self.buffered:
            self.abort()
        elif self.buffered * 3 <= self.capacity * 2:
            self.writable.wake_all()

    def end(self) -> None:
        """The writer will write no more. What is queued can still be read."""
        if not self.ended:
            self.ended = True
            self._changed()

    def close_read(self) -> None:
        """The reader is gone. What is queued is dropped."""
        if not self.broken:
            self.broken = True
            if self.buffered:
                self._drop_queue()
            self._changed()

    def discard(self) -> None:
        """The reader wants no more: what is queued and what will be written is dropped (SHUT_RD)."""
        if not self.discarding:
            self.discarding = True
            self._drop_queue()
            if self._reset_when_read:
                self.abort()
            else:
                self._changed()

    def abort(self) -> None:
        """Reset: what is queued is gone."""
        if not self.reset:
            self.reset = True
            self._drop_queue()
            self._changed()

    def abort_after_queued(self) -> None:
        """Reset, but the reader first gets what is queued; after `end` it sees nothing of the reset.

        This is what the peer of a close with unread data sees on Linux: the RST does not touch what already
        is in its receive queue (`tcp_reset`), so that the answer of a server that did not read all of the
        request arrives. And a reader that has got a FIN finds the end (SOCK_DONE).
        """
        if self.ended:
            return
        if self.buffered:
            self._reset_when_read = True
            self.end()
        else:
            self.abort()

    def resize(self, capacity: int) -> None:
        """Change how many bytes fit. Nothing queued is lost when it shrinks.

        Raises:
            ValueError: if `capacity` is below 1.
        """
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {capacity}")
        self.capacity = capacity
        if self.buffered < capacity:
            self.writable.wake_all()

    def _drop_queue(self) -> None:
        self._chunks.clear()
        self._offset = 0
        self.buffered = 0

    def _changed(self) -> None:
        self._open = False
        if self.readable:
            self.readable.wake_all()
        if self.writable:
            self.writable.wake_all()
