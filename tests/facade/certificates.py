"""A certificate authority of the tests, and the two ends of TLS that it makes."""

from __future__ import annotations

import ssl

import trustme


def contexts(*names: str, protocols: tuple[str, ...] = ()) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server with a certificate for `names`, and a client that trusts it; both offer `protocols` (ALPN)."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    if protocols:
        server.set_alpn_protocols(protocols)
        client.set_alpn_protocols(protocols)
    return server, client
