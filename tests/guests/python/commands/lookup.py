"""Name lookup."""

import socket


def lookup(name: str = "localhost", port: str = "80") -> None:
    """Print each address of `name` that `getaddrinfo` gives, or the kind of error."""
    try:
        found = socket.getaddrinfo(name, int(port), type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        print("gaierror", error.args[1])
        return
    for family, _, _, _, address in found:
        print({socket.AF_INET: "ipv4", socket.AF_INET6: "ipv6"}[family], *address[:2])
