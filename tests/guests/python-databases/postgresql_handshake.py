"""PostgreSQL's protocol 3.0 over a plain socket: asking for TLS, the start-up, a query, and a start-up that fails.

https://www.postgresql.org/docs/15/protocol-message-formats.html
"""

import socket
import struct
from collections.abc import Iterator

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_VERSION = 3 << 16


def _start_up(connected: socket.socket, user: str, database: str) -> None:
    parameters = b"".join(text.encode() + b"\0" for text in ("user", user, "database", database)) + b"\0"
    connected.sendall(struct.pack("!ii", 8 + len(parameters), _VERSION) + parameters)


def _messages(connected: socket.socket) -> Iterator[tuple[str, bytes]]:
    """Type and content of each message, until the server is ready for a query or has ended."""
    with connected.makefile("rb") as incoming:
        while header := incoming.read(5):
            kind, length = struct.unpack("!ci", header)
            content = incoming.read(length - 4)
            yield kind.decode(), content
            if kind == b"Z":
                return


def _fields(content: bytes) -> dict[str, str]:
    """An ErrorResponse's fields."""
    return {field[:1].decode(): field[1:].decode() for field in content.split(b"\0") if field}


def exercise(host: str, port: str, user: str, database: str) -> None:
    """One connection that works, and one to a database that there is not."""
    with socket.create_connection((host, int(port)), timeout=20) as connected:
        connected.sendall(_SSL_REQUEST)
        print("TLS", connected.recv(1).decode())
        _start_up(connected, user, database)
        parameters = {}
        for kind, content in _messages(connected):
            if kind == "S":
                name, value, _ = content.decode().split("\0")
                parameters[name] = value
            elif kind == "K":
                print("key data", len(content))
            else:
                print(kind, content.hex())
        print("server encoding", parameters["server_encoding"])
        query = b"select repeat('x', 300000), 40 + 2\0"
        connected.sendall(b"Q" + struct.pack("!i", 4 + len(query)) + query)
        for kind, content in _messages(connected):
            print(kind, len(content), content[-2:].decode() if kind == "D" else "")
        connected.sendall(b"X" + struct.pack("!i", 4))
        print("ended", connected.recv(1))
    with socket.create_connection((host, int(port)), timeout=20) as connected:
        _start_up(connected, user, "no-such-database")
        for kind, content in _messages(connected):
            print(kind, _fields(content).get("C", "") if kind == "E" else content.hex())
