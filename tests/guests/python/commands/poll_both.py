"""One `select` over standard input and a socket together."""

import select
import socket
import sys


def watch(host: str, port: str) -> None:
    """Print what arrives on stdin and on a connection, each as it comes, until both have ended."""
    with socket.create_connection((host, int(port))) as connection:
        print("watching", flush=True)
        open_sources = {sys.stdin.fileno(): "stdin", connection.fileno(): "socket"}
        while open_sources:
            readable, _, _ = select.select(list(open_sources), [], [])
            for descriptor in readable:
                name = open_sources[descriptor]
                data = sys.stdin.buffer.raw.read(4096) if name == "stdin" else connection.recv(4096)
                if data:
                    print(name, data.decode(), flush=True)
                else:
                    print(name, "ended", flush=True)
                    del open_sources[descriptor]
