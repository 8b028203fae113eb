"""A Kubernetes controller in a CPython component: `controller.wasm HOST PORT NAMESPACE IDENTITY [LEASE_SECONDS]`.

It turns each `StaticSite` of a namespace into a ConfigMap, a Deployment and a Service. HOST and PORT are those of an
API gateway, which speaks plain HTTP and adds the credentials. Several may run: they share a Lease, and one acts.

`controller.wasm latencies HOST PORT NAMESPACE NAME` is for `python -m benchmarks.kubernetes`.
"""

import snapshot  # noqa: F401, I001 - has to come first, see there

import asyncio
import sys

import controller
import latencies
from api import Api
from wit_world import exports


class Run(exports.Run):
    def run(self) -> None:
        if sys.argv[1] == "latencies":
            _, _, host, port, namespace, name = sys.argv
            asyncio.run(latencies.tell(Api(host, int(port)), namespace, name))
            return
        host, port, namespace, identity, *rest = sys.argv[1:]
        lease_seconds = int(rest[0]) if rest else 15
        asyncio.run(controller.control(host, int(port), namespace, identity, lease_seconds))
