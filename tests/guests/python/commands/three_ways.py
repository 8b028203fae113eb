"""The same HTTP server reached three ways: `http.client`, a plain socket, and asyncio."""

import asyncio
import http.client
import socket

from commands.failure import expect


def _by_http_client(host: str, port: int) -> None:
    connection = http.client.HTTPConnection(host, port, timeout=5)
    for path in ("/from/http.client", "/again"):
        connection.request("GET", path)
        response = connection.getresponse()
        text = response.read().decode()
        expect(response.status == 200, f"status {response.status} for {path}")
        print("http.client:", text)
    connection.close()


def _request(path: str, host: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()


def _body(answer: bytes) -> str:
    head, _, body = answer.partition(b"\r\n\r\n")
    expect(head.startswith(b"HTTP/1.1 200"), f"answered {head[:60]!r}")
    return body.decode()


def _by_socket(host: str, port: int) -> None:
    with socket.create_connection((host, port), timeout=5) as connection:
        connection.sendall(_request("/from/socket", host))
        with connection.makefile("rb") as answer:
            print("socket:", _body(answer.read()))


async def _by_asyncio(host: str, port: int, count: int) -> None:
    async def one(number: int) -> str:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(_request(f"/from/asyncio/{number}", host))
        await writer.drain()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return _body(answer)

    answers = await asyncio.gather(*(one(number) for number in range(count)))
    expect(len(set(answers)) == count, "two connections got the same answer")
    print(f"asyncio: {count} connections at once, the last: {answers[-1]}")


def fetch(host: str = "127.0.0.1", port: str = "8080", count: str = "20") -> None:
    """GET pages that name their own path, with `http.client`, with a socket, and `count` at once with asyncio."""
    _by_http_client(host, int(port))
    _by_socket(host, int(port))
    asyncio.run(_by_asyncio(host, int(port), int(count)))
