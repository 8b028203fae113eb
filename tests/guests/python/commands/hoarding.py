"""Programs that take all they can get."""

import socket
import time


def hoard_memory(then: str = "fail") -> None:
    """Take memory until there is no more; then `fail` by the MemoryError, or `wait` with what was got."""
    taken = []
    try:
        while True:
            taken.append(bytearray(1 << 20))
    except MemoryError:
        print("got", len(taken), "MiB", flush=True)
        if then == "fail":
            raise
    time.sleep(3600)


def hoard_sockets(host: str, port: str, most: str = "100000") -> None:
    """Open connections until one is refused, say why, and keep them."""
    taken = []
    try:
        while len(taken) < int(most):
            taken.append(socket.create_connection((host, int(port))))
    except OSError as error:
        print("got", len(taken), "connections:", error, flush=True)
    time.sleep(3600)
