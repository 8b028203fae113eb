"""For benchmarks: how old each change of a ConfigMap is when it comes to be handled."""

from __future__ import annotations

import time
from contextlib import aclosing

from api import Api

__all__ = ["tell"]


async def tell(api: Api, namespace: str, name: str) -> None:
    """Print, for each change, the nanoseconds since the time in its `data.sent`; never returns.

    Args:
        api: where.
        namespace: of the ConfigMap.
        name: of it.
    """
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    listed = await api.request("GET", path)
    version = listed["metadata"]["resourceVersion"]
    watching = f"{path}?watch=1&fieldSelector=metadata.name={name}&resourceVersion={version}"
    print("watches", flush=True)
    async with aclosing(api.watch(watching)) as events:
        async for event in events:
            print(time.time_ns() - int(event["object"]["data"]["sent"]), flush=True)
