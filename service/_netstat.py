"""The sockets of a network as people and as programs read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Any, Final

from service._tables import table
from service._terminal import escaped
from wasi_sockets.network import SocketAddress, SocketRecord

__all__ = ["age", "format_sockets", "sockets_as_json", "sockets_from_json"]

_HEADINGS: Final = (
    "Proto",
    "Recv-Q",
    "Send-Q",
    "Local",
    "Remote",
    "State",
    "Received",
    "Sent",
    "Age",
    "Owner",
)
_RIGHT: Final = {"Recv-Q", "Send-Q", "Received", "Sent", "Age"}
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"))
_BYTES: Final = ("B", "K", "M", "G", "T")


def format_sockets(records: Iterable[SocketRecord]) -> str:
    """A table with a line for each socket: listeners first, then by address. Ends with a line end.

    Owners are shown by `str`, in one line, with control characters escaped.
    """
    rows: list[Sequence[str]] = [_HEADINGS]
    rows.extend(
        (
            record.protocol,
            str(record.receive_queue),
            str(record.send_queue),
            str(record.local),
            "*" if record.remote is None else str(record.remote),
            record.state,
            _amount(record.received),
            _amount(record.sent),
            age(record.age),
            "-" if record.owner is None else escaped(str(record.owner)),
        )
        for record in sorted(records, key=_order)
    )
    return table(rows, _RIGHT)


def sockets_from_json(told: Iterable[dict[str, Any]]) -> list[SocketRecord]:
    """The records that `sockets_as_json` told of; owners are only their names."""
    return [
        SocketRecord(
            each["protocol"],
            _address_from(each["local"]),
            None if each["remote"] is None else _address_from(each["remote"]),
            each["state"],
            each["receive_queue"],
            each["send_queue"],
            each["owner"],
            each["age"],
            each["received"],
            each["sent"],
        )
        for each in told
    ]


def sockets_as_json(records: Iterable[SocketRecord]) -> list[dict[str, Any]]:
    """The same for `json.dumps`: numbers in bytes and seconds, addresses as ``{"ip", "port"}``."""
    return [
        {
            "protocol": record.protocol,
            "local": _address(record.local),
            "remote": None if record.remote is None else _address(record.remote),
            "state": record.state,
            "receive_queue": record.receive_queue,
            "send_queue": record.send_queue,
            "received": record.received,
            "sent": record.sent,
            "age": record.age,
            "owner": None if record.owner is None else str(record.owner),
        }
        for record in sorted(records, key=_order)
    ]


def _order(record: SocketRecord) -> tuple[object, ...]:
    remote = record.remote
    return (
        record.state != "listening",
        record.protocol,
        record.local.ip.version,
        int(record.local.ip),
        record.local.port,
        (0, 0, 0) if remote is None else (remote.ip.version, int(remote.ip), remote.port),
    )


def _address(address: SocketAddress) -> dict[str, str | int]:
    return {"ip": str(address.ip), "port": address.port}


def _address_from(told: dict[str, Any]) -> SocketAddress:
    return SocketAddress(ip_address(told["ip"]), told["port"])


def _amount(octets: int) -> str:
    """A number of bytes in three digits or so: 0B, 999B, 1.0K, 340M."""
    number = float(octets)
    unit = 0
    while number >= 1000 and unit < len(_BYTES) - 1:
        number /= 1024
        unit += 1
    return f"{number:.1f}{_BYTES[unit]}" if unit and number < 10 else f"{number:.0f}{_BYTES[unit]}"


def age(seconds: float) -> str:
    """A time in its largest two units: 0.3s, 42s, 5m07s, 3h20m, 12d04h."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    for position, (size, unit) in enumerate(_UNITS):
        if whole >= size:
            smaller, small_unit = _UNITS[position + 1] if position + 1 < len(_UNITS) else (1, "s")
            return f"{whole // size}{unit}{whole % size // smaller:02}{small_unit}"
    return f"{whole}s"
