"""A TCP server with blocking sockets: one connection after the other, answers in upper case."""

import socket


def serve(port: str = "8080", connections: str = "1", host: str = "127.0.0.1") -> None:
    """Listen on `host:port`, serve that many connections, then end. Port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, int(port)))
        listener.listen(16)
        print("listening on", *listener.getsockname()[:2], flush=True)
        for _ in range(int(connections)):
            connection, _peer = listener.accept()
            with connection:
                while data := connection.recv(4096):
                    connection.sendall(data.upper())
    print("served", connections, flush=True)
