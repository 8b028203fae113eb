"""The sockets of a network as a table and as JSON."""

from __future__ import annotations

import json

import pytest

from service._netstat import _amount, age, format_sockets, sockets_as_json
from wasi_sockets import Network


async def test_a_network_as_a_table_and_as_json() -> None:
    now = 100.0
    network = Network(clock=lambda: now)
    listener = network.listen_tcp(80, "0.0.0.0", backlog=5, owner="a\x1b[2J\n")
    client = await network.connect_tcp("127.0.0.1", 80, owner="guest")
    server = await listener.accept()
    await client.send_all(bytes(1500))
    await server.receive_some(1000)
    await server.send_all(b"ok")
    await client.send_eof()
    resolver = network.open_udp(53, "::1")
    await resolver.send(b"1234567", ("::1", 53))
    await resolver.receive()
    now = 407.0
    port = client.local_address.port
    assert format_sockets(network.sockets()) == (
        f"Proto  Recv-Q  Send-Q  Local            Remote           State        Received  Sent    Age  Owner\n"
        f"tcp         0       5  0.0.0.0:80       *                listening          0B    0B  5m07s  a\\x1b[2J\\n\n"
        f"tcp       500       2  127.0.0.1:80     127.0.0.1:{port}  close-wait       1.0K    2B  5m07s  a\\x1b[2J\\n\n"
        f"tcp         2     500  127.0.0.1:{port}  127.0.0.1:80     fin-wait           0B  1.5K  5m07s  guest\n"
        f"udp         0       0  [::1]:53         *                unconnected        7B    7B  5m07s  -\n"
    )
    records = json.loads(json.dumps(sockets_as_json(network.sockets())))
    assert records[1] == {
        "protocol": "tcp",
        "local": {"ip": "127.0.0.1", "port": 80},
        "remote": {"ip": "127.0.0.1", "port": port},
        "state": "close-wait",
        "receive_queue": 500,
        "send_queue": 2,
        "received": 1000,
        "sent": 2,
        "age": 307.0,
        "owner": "a\x1b[2J\n",
    }
    assert [record["received"] for record in records] == [0, 1000, 0, 7]
    network.close()


def test_nothing_is_a_heading_only() -> None:
    assert format_sockets([]).count("\n") == 1
    assert sockets_as_json([]) == []


@pytest.mark.parametrize(
    ("octets", "text"), [(0, "0B"), (999, "999B"), (1000, "1.0K"), (340 << 20, "340M"), (3 << 50, "3072T")]
)
def test_amounts(octets: int, text: str) -> None:
    assert _amount(octets) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.34, "0.3s"), (42.9, "42s"), (307, "5m07s"), (12_000, "3h20m"), (12 * 86_400 + 4 * 3600, "12d04h")],
)
def test_ages(seconds: float, text: str) -> None:
    assert age(seconds) == text
