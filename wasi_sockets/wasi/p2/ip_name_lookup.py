"""`wasi:sockets/ip-name-lookup`. The resource `resolve-address-stream` is a `ResolveAddressStream`.

`subscribe` is missing: pollables belong to the shim, which asks the stream itself.
"""

from __future__ import annotations

from collections.abc import Callable

from wasi_sockets.component.values import Err
from wasi_sockets.sockets import ErrorCode, ResolveAddressStream, resolve_addresses
from wasi_sockets.wasi.host import Host
from wasi_sockets.wasi.p2.error_codes import failure
from wasi_sockets.wasi.p2.network import IpAddressValue, NetworkResource, from_ip

__all__ = ["functions"]

_INTERFACE = "wasi:sockets/ip-name-lookup"


def resolve_next_address(stream: ResolveAddressStream) -> IpAddressValue | Err | None:
    """`[method]resolve-address-stream.resolve-next-address`."""
    ip = stream.next_address()
    if isinstance(ip, ErrorCode):
        return failure(ip)
    return None if ip is None else from_ip(ip)


def functions(host: Host) -> dict[tuple[str, str], Callable[..., object]]:
    """The functions of this interface for one guest."""

    def resolve(network: NetworkResource, name: str) -> ResolveAddressStream | Err:
        stream = resolve_addresses(host.sockets, name)
        return failure(stream) if isinstance(stream, ErrorCode) else stream

    return {
        (_INTERFACE, "resolve-addresses"): resolve,
        (_INTERFACE, "[method]resolve-address-stream.resolve-next-address"): resolve_next_address,
        (_INTERFACE, "[resource-drop]resolve-address-stream"): ResolveAddressStream.close,
    }
