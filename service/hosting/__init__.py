"""Running workloads: what another host program embeds, and `wasi-sockets up` stands on.

async with Host() as host:
    workload = await host.start(spec)       # a service.spec.WorkloadSpec
    await workload.until_ready()
    print(workload.status())
    await workload.stop()
"""

from __future__ import annotations

from service.hosting._feeds import Feed, OutputLine
from service.hosting._host import Host
from service.hosting._states import ENDED, Event, ServiceStatus, State, WorkloadStatus
from service.hosting._workload import Workload, WorkloadError

__all__ = [
    "ENDED",
    "Event",
    "Feed",
    "Host",
    "OutputLine",
    "ServiceStatus",
    "State",
    "Workload",
    "WorkloadError",
    "WorkloadStatus",
]
