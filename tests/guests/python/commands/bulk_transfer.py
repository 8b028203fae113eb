"""Random bytes in both directions."""

import hashlib
import os
import select
import socket


def exchange(host: str, port: str, size: str, block: str = "50000") -> None:
    """Send `size` random bytes while reading whatever the peer sends until it ends; print both digests.

    The socket never blocks, and one `select` serves both directions.
    """
    sent, received = hashlib.sha256(), hashlib.sha256()
    remaining, total = int(size), 0
    waiting = b""
    with socket.create_connection((host, int(port))) as connection:
        connection.setblocking(False)
        reading, writing = True, True
        while reading or writing:
            readable, writable, _ = select.select(
                [connection] if reading else [], [connection] if writing else [], []
            )
            if readable:
                piece = connection.recv(1 << 16)
                received.update(piece)
                total += len(piece)
                reading = bool(piece)
            if writable:
                if not waiting:
                    waiting = os.urandom(min(remaining, int(block)))
                    remaining -= len(waiting)
                if waiting:
                    count = connection.send(waiting)
                    sent.update(waiting[:count])
                    waiting = waiting[count:]
                else:
                    connection.shutdown(socket.SHUT_WR)
                    writing = False
    print("sent", size, sent.hexdigest())
    print("received", total, received.hexdigest())
