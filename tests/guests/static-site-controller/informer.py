"""Which objects there are, and which change: list, then watch from there, for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from api import Api, ApiError, Object

__all__ = ["follow"]

_GONE = 410
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_PAGE = 500

#: The API server ends a watch after so many seconds, so that one that died without a word is noticed.
_WATCH_SECONDS = 240


async def follow(api: Api, collection: str, selector: str, changed: Callable[[Object], None]) -> None:
    """Call `changed` with every object that is there, and with each that comes, changes or goes; never returns.

    A watch that ends is begun again where it was; one that is told "410 Gone" starts from a list again. What goes
    unseen meanwhile must be found by who is told of the objects: it sees to names, not to events.

    Args:
        api: where.
        collection: path of the resource.
        selector: of labels; "" for all.
        changed: called with objects.
    """
    query = f"labelSelector={selector}&" if selector else ""
    version = ""
    pause = _FIRST_PAUSE
    told = ""
    while True:
        try:
            if not version:
                version = await _list(api, f"{collection}?{query}limit={_PAGE}", changed)
            path = f"{collection}?{query}watch=1&allowWatchBookmarks=true&timeoutSeconds={_WATCH_SECONDS}"
            async with aclosing(api.watch(f"{path}&resourceVersion={version}")) as events:
                async for event in events:
                    version = event["object"]["metadata"]["resourceVersion"]
                    pause, told = _FIRST_PAUSE, ""
                    if event["type"] != "BOOKMARK":
                        changed(event["object"])
        except ApiError as error:
            if error.code == _GONE:
                print(f"{collection}: listing again: {error.reason}", flush=True)
                version = ""
            elif str(error) != told:
                told = str(error)
                print(f"{collection}: {told}", flush=True)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


async def _list(api: Api, path: str, changed: Callable[[Object], None]) -> str:
    """Tell all objects, page by page; the version that a watch goes on from."""
    token = ""
    while True:
        listed = await api.request("GET", f"{path}&continue={token}" if token else path)
        for item in listed["items"]:
            changed(item)
        token = listed["metadata"].get("continue", "")
        if not token:
            return str(listed["metadata"]["resourceVersion"])
