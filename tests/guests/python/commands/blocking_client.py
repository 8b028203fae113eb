"""TCP clients with blocking sockets."""

import errno
import socket

from commands.failure import expect


def receive_exactly(connection: socket.socket, size: int) -> bytes:
    """Read until `size` bytes are there, or fewer when the peer ends the stream."""
    chunks = []
    while size and (chunk := connection.recv(size)):
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)


def pattern(size: int) -> bytes:
    """`size` bytes in which every position differs from its neighbours."""
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def round_trips(host: str = "127.0.0.1", port: str = "8080", count: str = "1", size: str = "32") -> None:
    """Send `size` bytes `count` times over one connection to an echo server and compare what returns."""
    with socket.create_connection((host, int(port))) as connection:
        local, peer = connection.getsockname(), connection.getpeername()
        print("connected to", *peer[:2])
        expect(local[1] != 0, "the local port is 0 after connect")
        payload = pattern(int(size))
        total = 0
        for _ in range(int(count)):
            connection.sendall(payload)
            answer = receive_exactly(connection, len(payload))
            expect(answer == payload, f"sent {payload[:40]!r}..., got {answer[:40]!r}...")
            total += len(answer)
    print("echoed", total, "bytes in", count, "round trips")


def half_close(host: str, port: str, text: str = "until the end") -> None:
    """Send `text`, end our direction, and print what the peer still says until it ends its own."""
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(text.encode())
        connection.shutdown(socket.SHUT_WR)
        print("got", receive_exactly(connection, 1 << 20).decode())


def connect_error(host: str, port: str) -> None:
    """Print the name of the error that connecting ends with, or `connected`."""
    try:
        with socket.create_connection((host, int(port))):
            print("connected")
    except OSError as error:
        print(type(error).__name__, errno.errorcode.get(error.errno or 0, error.errno))
