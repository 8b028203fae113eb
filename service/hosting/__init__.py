"""Running workloads: what another host program embeds, and `wasi-sockets up` stands on.

async with Host() as host:
    workload = await host.start(spec)       # a service.spec.WorkloadSpec
    await workload.until_ready()
    print(workload.status())
    await workload.stop()
"""

from __future__ import annotations

from service.hosting._feeds import Feed, Lines, OutputLine, OutputStream
from service.hosting._host import Host
from service.hosting._speakers import Speaker, speaker
from service.hosting._states import ENDED, Event, ServiceStatus, State, WorkloadStatus
from service.hosting._workload import Workload, WorkloadError

__all__ = [
    "ENDED",
    "Event",
    "Feed",
    "Host",
    "Lines",
    "OutputLine",
    "OutputStream",
    "ServiceStatus",
    "Speaker",
    "State",
    "Workload",
    "WorkloadError",
    "WorkloadStatus",
    "speaker",
]
