"""Between a network and the real one: ports forwarded out, ports published, and direct connects.

The only part of the network that makes kernel sockets, all of them in `kernel.py`. A bridge is an async function
that runs until cancelled; when it ends, everything that went over it ends too. What goes wrong with one connection
ends that connection and is logged.
"""

from wasi_sockets.network.bridges.datagram_flows import forward_udp, publish_udp
from wasi_sockets.network.bridges.egress import Resolver, egress
from wasi_sockets.network.bridges.forward import forward
from wasi_sockets.network.bridges.publish import publish, publish_all

__all__ = ["Resolver", "egress", "forward", "forward_udp", "publish", "publish_all", "publish_udp"]
