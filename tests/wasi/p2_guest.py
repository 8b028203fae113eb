"""A guest's calls, made from Python."""

from __future__ import annotations

from wasi_sockets.wasi import Host
from wasi_sockets.wasi.p2 import functions

__all__ = ["Guest"]


class Guest:
    """Calls what a guest would call, by the names it would use."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._functions = functions(host)
        self.network = self.call("wasi:sockets/instance-network", "instance-network")

    def call(self, interface: str, name: str, *arguments: object) -> object:
        return self._functions[interface, name](*arguments)

    def tcp(self, name: str, socket: object, *arguments: object) -> object:
        return self.call("wasi:sockets/tcp", f"[method]tcp-socket.{name}", socket, *arguments)

    def socket(self, family: str = "ipv4") -> object:
        return self.call("wasi:sockets/tcp-create-socket", "create-tcp-socket", family)

    def listener(self, address: object) -> object:
        listener = self.socket("ipv4" if "ipv4" in str(address) else "ipv6")
        assert self.tcp("start-bind", listener, self.network, address) is None
        assert self.tcp("finish-bind", listener) is None
        assert self.tcp("start-listen", listener) is None
        assert self.tcp("finish-listen", listener) is None
        return listener
