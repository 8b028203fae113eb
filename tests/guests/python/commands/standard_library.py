"""Servers and clients of the standard library: both sides in one guest where one thread can be both, else one each."""

import asyncio
import errno
import http.client
import select
import selectors
import socket
import socketserver
import xmlrpc.client
import xmlrpc.server
from http.server import BaseHTTPRequestHandler, HTTPServer

from commands.failure import expect


class _Upper(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line.upper())


def socket_server(host: str, port: str, clients: str) -> None:
    """A TCPServer that answers so many connections, one after the other."""
    with socketserver.TCPServer((host, int(port)), _Upper) as server:
        for _ in range(int(clients)):
            server.handle_request()
    print("served", clients)


def socket_client(host: str, port: str) -> None:
    """What talks to it, through file objects."""
    with socket.create_connection((host, int(port))) as own, own.makefile("rwb") as file:
        for line in (b"one\n", b"two\n"):
            file.write(line)
            file.flush()
            print(file.readline().decode().rstrip())


class _Pages(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(200 if self.path == "/here" else 404, self.path.encode())

    def do_POST(self) -> None:
        self._answer(200, self.rfile.read(int(self.headers["content-length"]))[::-1])

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def http_server(host: str, port: str) -> None:
    """An http.server that answers one kept-alive connection."""
    with HTTPServer((host, int(port)), _Pages) as server:
        server.handle_request()
    print("served")


def http_requests(host: str, port: str) -> None:
    """What talks to it."""
    connection = http.client.HTTPConnection(host, int(port))
    for method, path, body in (
        ("GET", "/here", None),
        ("GET", "/gone", None),
        ("POST", "/", b"stressed" * 10_000),
    ):
        connection.request(method, path, body)
        response = connection.getresponse()
        data = response.read()
        print(response.status, len(data), data[:8].decode())
    connection.close()


def xmlrpc_server(host: str, port: str, calls: str) -> None:
    """A SimpleXMLRPCServer that answers so many connections."""
    with xmlrpc.server.SimpleXMLRPCServer((host, int(port)), logRequests=False, allow_none=True) as server:
        server.register_function(pow)
        server.register_function(lambda text: text[::-1], "reverse")
        for _ in range(int(calls)):
            server.handle_request()
    print("served", calls)


def xmlrpc_calls(host: str, port: str) -> None:
    """What calls it. Each proxy keeps one connection."""
    with xmlrpc.client.ServerProxy(f"http://{host}:{port}/", allow_none=True) as proxy:
        print(proxy.pow(2, 10), proxy.reverse("stressed"))
        try:
            proxy.missing()
        except xmlrpc.client.Fault as fault:
            print("fault", "missing" in fault.faultString)


def _listener(host: str) -> socket.socket:
    """What `create_server` makes; that itself fails for IPv6 in this libc, see `dual_stack`."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.bind((host, 0))
    listener.listen()
    return listener


def selector(host: str) -> None:
    """An echo server and three clients, all non-blocking, on one selector."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    chosen = selectors.DefaultSelector()
    listener = _listener(host)
    listener.setblocking(False)
    chosen.register(listener, selectors.EVENT_READ, "listener")
    answers: dict[int, bytes] = {}
    clients = []
    for number in range(3):
        client = socket.socket(family)
        client.setblocking(False)
        code = client.connect_ex(listener.getsockname()[:2])
        expect(code in (0, errno.EINPROGRESS), f"connect_ex gave {code}")
        chosen.register(client, selectors.EVENT_WRITE, number)
        clients.append(client)
    accepted = []
    while len(answers) < 3:
        ready = chosen.select(timeout=5)
        expect(bool(ready), "nothing happened in time")
        for key, _ in ready:
            one = key.fileobj
            assert isinstance(one, socket.socket)
            if key.data == "listener":
                own, _peer = one.accept()
                own.setblocking(False)
                accepted.append(own)
                chosen.register(own, selectors.EVENT_READ, "server")
            elif key.data == "server":
                one.send(one.recv(100))
            elif key.events == selectors.EVENT_WRITE:
                one.send(f"client {key.data}".encode())
                chosen.modify(one, selectors.EVENT_READ, key.data)
            else:
                answers[key.data] = one.recv(100)
    print(*sorted(text.decode() for text in answers.values()), sep=", ")
    chosen.close()
    for each in (listener, *clients, *accepted):
        each.close()


def nonblocking_connect(host: str) -> None:
    """connect_ex and select: to a listener, and to where nobody is."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with _listener(host) as listener, socket.socket(family) as own:
        own.setblocking(False)
        code = own.connect_ex(listener.getsockname()[:2])
        expect(code in (0, errno.EINPROGRESS), f"connect_ex gave {code}")
        _, writable, _ = select.select([], [own], [], 5)
        expect(writable == [own], "it did not become writable")
        print(
            "connected:",
            own.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR),
            own.getpeername() == listener.getsockname(),
        )
        gone = listener.getsockname()[:2]
    with socket.socket(family) as own:
        own.setblocking(False)
        code = own.connect_ex(gone)
        if code == errno.EINPROGRESS:
            select.select([], [own], [], 5)
            code = own.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        print("refused:", errno.errorcode.get(code, code))


def dual_stack() -> None:
    """What `create_server` says of dual-stack sockets, which WASI does not have."""
    print("has_dualstack_ipv6:", socket.has_dualstack_ipv6())
    try:
        socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True).close()
        print("created")
    except ValueError as error:
        print("ValueError:", error)
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        print("created")
    except OSError as error:
        print("without it:", errno.errorcode[error.errno])
    with _listener("::1") as listener:
        print("by hand:", listener.getsockname()[0])


async def _streams(host: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()

    async def talk(number: int) -> str:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(f"line {number}\n".encode())
        writer.write_eof()
        text = (await reader.read()).decode().rstrip()
        writer.close()
        return text

    server = await asyncio.start_server(serve, sock=_listener(host))
    port = server.sockets[0].getsockname()[1]
    print(*await asyncio.gather(*map(talk, range(4))), sep=", ")
    server.close()


def asyncio_streams(host: str) -> None:
    """A server and four clients of asyncio's streams, in one loop."""
    asyncio.run(_streams(host))


class _Reverse(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        assert isinstance(self.transport, asyncio.DatagramTransport)
        self.transport.sendto(data[::-1], source)


class _Collect(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.came: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        self.came.put_nowait(data)


async def _datagrams(host: str) -> None:
    loop = asyncio.get_running_loop()
    server, _ = await loop.create_datagram_endpoint(_Reverse, local_addr=(host, 0))
    where = server.get_extra_info("sockname")[:2]
    client, collected = await loop.create_datagram_endpoint(_Collect, remote_addr=where)
    for data in (b"first", b"second"):
        client.sendto(data)
    print((await collected.came.get()).decode(), (await collected.came.get()).decode())
    client.close()
    server.close()


def asyncio_datagrams(host: str) -> None:
    """A server and a client of asyncio's datagrams, in one loop."""
    asyncio.run(_datagrams(host))
