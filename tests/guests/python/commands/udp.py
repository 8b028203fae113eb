"""UDP with plain sockets, select and asyncio. The other side is an echo service."""

import asyncio
import errno
import select
import socket
import socketserver

from commands.failure import expect


def _socket(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)


def _loopback(host: str) -> str:
    return "::1" if ":" in host else "127.0.0.1"


def unconnected(host: str, port: str) -> None:
    """sendto and recvfrom: empty, small, large and too large datagrams, and where they came from."""
    with _socket(host) as own:
        for size in (0, 5, 1400, 40_000):
            sent = bytes(range(256)) * (size // 256 + 1)
            expect(own.sendto(sent[:size], (host, int(port))) == size, f"{size} bytes were not sent whole")
            data, source = own.recvfrom(65_536)
            expect(data == sent[:size], f"{size} bytes came back as {len(data)}")
            expect(source[:2] == (host, int(port)), f"the answer came from {source}")
            print("echoed", len(data), "bytes")
        try:
            own.sendto(bytes(65_530), (host, int(port)))
        except OSError as error:
            print("too large:", errno.errorcode[error.errno])
        print("bound to the wildcard:", own.getsockname()[0] in ("0.0.0.0", "::"), own.getsockname()[1] != 0)


def connected(host: str, port: str) -> None:
    """connect, send and recv; a timeout; connecting again; a stranger who is not heard; a peer who is gone."""
    with _socket(host) as own, _socket(host) as stranger:
        own.bind((_loopback(host), 0))
        stranger.bind((_loopback(host), 0))
        for text in (b"once", b"twice"):
            own.connect((host, int(port)))
            own.send(text)
            print(own.recv(100).decode(), "from", own.getpeername()[1] == int(port))
        stranger.sendto(b"unwanted", own.getsockname()[:2])
        own.settimeout(0.05)
        try:
            print("heard", own.recv(100))
        except TimeoutError:
            print("timed out")
        with _socket(host) as gone:
            gone.bind((_loopback(host), 0))
            own.connect(gone.getsockname()[:2])
        own.send(b"anybody?")
        own.settimeout(5)
        try:
            print("heard", own.recv(100))
        except ConnectionRefusedError:
            print("refused")


def server(host: str = "127.0.0.1", port: str = "0", count: str = "1") -> None:
    """Answer `count` datagrams in upper case, waiting with select."""
    with _socket(host) as own:
        own.bind((host, int(port)))
        own.setblocking(False)
        print("listening on", *own.getsockname()[:2], flush=True)
        answered = 0
        while answered < int(count):
            select.select([own], [], [])
            while answered < int(count):
                try:
                    data, source = own.recvfrom(2048)
                except BlockingIOError:
                    break
                own.sendto(data.upper(), source)
                answered += 1
        print("answered", answered)


class _Upper(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, own = self.request
        own.sendto(data.upper(), self.client_address)


def socket_server(host: str = "127.0.0.1", port: str = "0", count: str = "1") -> None:
    """The same with `socketserver`."""
    with socketserver.UDPServer((host, int(port)), _Upper) as server:
        print("listening on", *server.server_address[:2], flush=True)
        for _ in range(int(count)):
            server.handle_request()
    print("answered", count)


class _Collector(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.received.put_nowait(data)


async def _endpoints(host: str, port: int, count: int) -> None:
    loop = asyncio.get_running_loop()
    connected_transport, protocol = await loop.create_datagram_endpoint(_Collector, remote_addr=(host, port))
    for number in range(count):
        connected_transport.sendto(b"%d" % number)
    async with asyncio.timeout(10):
        answers = [int(await protocol.received.get()) for _ in range(count)]
    print("connected:", len(answers), "in order" if answers == list(range(count)) else answers)
    connected_transport.close()

    own_address = (_loopback(host), 0)
    one, first = await loop.create_datagram_endpoint(_Collector, local_addr=own_address)
    other, second = await loop.create_datagram_endpoint(_Collector, local_addr=own_address)
    one.sendto(b"inside", other.get_extra_info("sockname")[:2])
    one.sendto(b"outside", (host, port))
    async with asyncio.timeout(10):
        print("unconnected:", (await second.received.get()).decode(), (await first.received.get()).decode())
    other.close()
    one.close()


def endpoints(host: str, port: str, count: str = "20") -> None:
    """asyncio's datagram endpoints: connected to an echo server, and two of our own."""
    asyncio.run(_endpoints(host, int(port), int(count)))
