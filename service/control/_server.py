"""The host's end of the control socket."""

from __future__ import annotations

import json
import logging
import math
import os
import select
import socket
import struct
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from service.control._directory import control_directory, socket_path
from service.control._records import event_as_json, line_as_json, workload_as_json
from service.hosting import Host, Workload, WorkloadError

__all__ = ["serve_control"]

_logger: Final = logging.getLogger("wasi_sockets.control")

_MAX_REQUEST: Final = 16 * 1024
_REQUEST_SECONDS: Final = 5.0
_MAX_CLIENTS: Final = 32
_LINGER_SECONDS: Final = 1.0
_GONE_SECONDS: Final = 0.2
"""Between two looks whether a client that says nothing more is there at all."""
_CREDENTIALS: Final = struct.Struct("3i")
"""`struct ucred` of unix(7): process, user, group."""

_Answers = AsyncGenerator[dict[str, Any], None]


class _RefusedError(Exception):
    """The request cannot be carried out; the text goes to the client."""


async def serve_control(host: Host, *, task_status: trio.TaskStatus[Path] = trio.TASK_STATUS_IGNORED) -> None:
    """Answer requests of this user's other processes until cancelled.

    Args:
        host: what they are about.
        task_status: told the socket's path.

    Raises:
        ControlDirectoryError: there is no directory where a socket would be safe.
        OSError: the socket cannot be made.
    """
    path = socket_path(control_directory(create=True), os.getpid())
    with suppress(FileNotFoundError):
        path.unlink()  # of a process that had this number before
    listening = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with listening:
        await listening.bind(os.fspath(path))
        try:
            path.chmod(0o600)
            listening.listen(_MAX_CLIENTS)
            listener = trio.SocketListener(listening)
            room = trio.Semaphore(_MAX_CLIENTS)
            task_status.started(path)
            await trio.serve_listeners(partial(_serve, host, room), [listener])
        finally:
            with suppress(OSError):  # whatever became of the directory: the host ends as it was going to
                path.unlink()


async def _serve(host: Host, room: trio.Semaphore, stream: trio.SocketStream) -> None:
    # Whatever becomes of one client, the host and its workloads go on.
    try:
        async with stream:
            if not _is_of_this_user(stream.socket):
                await _refuse(stream, "this host is another user's")
                return
            try:
                room.acquire_nowait()
            except trio.WouldBlock:
                await _refuse(stream, f"the host answers {_MAX_CLIENTS} clients already; try again later")
                return
            try:
                await _answer(host, stream)
            finally:
                room.release()
    except* (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # the client has gone
    except* Exception:
        _logger.exception("a request could not be answered")


def _is_of_this_user(connected: trio.socket.SocketType) -> bool:
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the directory's mode has to do
    told = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    user: int = _CREDENTIALS.unpack(told)[1]
    return user in (os.geteuid(), 0)


async def _answer(host: Host, stream: trio.SocketStream) -> None:
    try:
        request = await _request(stream)
        command = request.get("command")
        answer = _COMMANDS.get(command) if isinstance(command, str) else None
        if answer is None:
            raise _RefusedError(f"there is no command {command!r}; there are {', '.join(_COMMANDS)}")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_gone, stream, nursery.cancel_scope)
            async with aclosing(answer(host, request)) as answers:
                async for each in answers:
                    await _send(stream, each)
            await _send(stream, {"ok": True})
            nursery.cancel_scope.cancel()
    except* (_RefusedError, WorkloadError) as group:
        await _refuse(stream, str(group.exceptions[0]))


async def _refuse(stream: trio.SocketStream, reason: str) -> None:
    await _send(stream, {"error": reason})
    await stream.send_eof()
    # Closing with something unread would reset the connection, and the client might never see the reason.
    with trio.move_on_after(_LINGER_SECONDS):
        while await stream.receive_some(_MAX_REQUEST):
            pass


async def _until_gone(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    """A client that goes away needs no more answers; more than one request is not read."""
    with suppress(trio.BrokenResourceError):
        while await stream.receive_some(_MAX_REQUEST):
            pass
        while not _has_gone(stream.socket):  # noqa: ASYNC110  # it may only have nothing more to say, as `nc -N`
            await trio.sleep(_GONE_SECONDS)
    scope.cancel()


def _has_gone(connected: trio.socket.SocketType) -> bool:
    """Whether the peer has closed both directions."""
    polled = select.poll()
    polled.register(connected.fileno(), 0)  # hanging up is told in any case
    return bool(polled.poll(0))


async def _request(stream: trio.SocketStream) -> Mapping[str, Any]:
    received = b""
    with trio.move_on_after(_REQUEST_SECONDS):
        while b"\n" not in received:
            if len(received) > _MAX_REQUEST:
                raise _RefusedError(f"a request is one line of JSON of up to {_MAX_REQUEST} bytes")
            data = await stream.receive_some(_MAX_REQUEST)
            if not data:
                break
            received += data
    line, end, _ = received.partition(b"\n")
    if not end:
        raise _RefusedError("a request is one line of JSON, with its line end")
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _RefusedError(f"the request is no JSON: {error}") from error
    if not isinstance(request, dict):
        raise _RefusedError("a request is a JSON object")
    return request


async def _send(stream: trio.SocketStream, answer: Mapping[str, Any]) -> None:
    await stream.send_all(json.dumps(answer).encode() + b"\n")


# ---------------------------------------------------------------- the commands
async def _ps(host: Host, request: Mapping[str, Any]) -> _Answers:
    for workload in _chosen(host, request):
        yield {"workload": workload_as_json(workload.status())}


async def _netstat(host: Host, request: Mapping[str, Any]) -> _Answers:
    for workload in _chosen(host, request):
        yield {"workload": workload_as_json(workload.status(), sockets=True)}


async def _logs(host: Host, request: Mapping[str, Any]) -> _Answers:
    names = {each.id for each in _chosen(host, request)}
    service = _text(request, "service")
    if service:
        for each in _chosen(host, request):
            _check_service(each, service)
    count = _number(request, "lines", math.inf)

    def wanted(workload: str, name: str) -> bool:
        return workload in names and service in ("", name)

    with host.lines.follow() as more:
        kept = [each for each in host.lines.last() if wanted(each.workload, each.service)]
        for line in kept[len(kept) - int(min(count, len(kept))) :]:
            yield {"line": line_as_json(line)}
        if request.get("follow") is not True:
            return
        async for line in more:
            if wanted(line.workload, line.service):
                yield {"line": line_as_json(line)}


async def _events(host: Host, request: Mapping[str, Any]) -> _Answers:
    with host.events.follow() as more:
        for event in host.events.last():
            yield {"event": event_as_json(event)}
        if request.get("follow") is True:
            async for event in more:
                yield {"event": event_as_json(event)}


async def _restart(host: Host, request: Mapping[str, Any]) -> _Answers:
    workload = _one(host, request)
    service = _text(request, "service")
    names = [service] if service else [each.name for each in workload.spec.services]
    for name in names:
        _check_service(workload, name)
    if request.get("anew") is True:
        for name in names:
            await workload.load_anew(name)  # all that run go on if one cannot be had
    for name in names:
        workload.restart(name)
        yield {"restarted": f"{workload.id}/{name}"}


async def _stop(host: Host, request: Mapping[str, Any]) -> _Answers:
    within = _number(request, "within", 10.0)
    stopping = _chosen(host, request)
    for workload in stopping:
        workload.tell_to_stop(within)  # all of them first, so that they stop at the same time
    for workload in stopping:
        await workload.until_over()
        yield {"stopped": workload.id}


_COMMANDS: Final[dict[str, Callable[[Host, Mapping[str, Any]], _Answers]]] = {
    "ps": _ps,
    "netstat": _netstat,
    "logs": _logs,
    "events": _events,
    "restart": _restart,
    "stop": _stop,
}


def _chosen(host: Host, request: Mapping[str, Any]) -> list[Workload]:
    return [_one(host, request)] if _text(request, "workload") else list(host.workloads.values())


def _one(host: Host, request: Mapping[str, Any]) -> Workload:
    """The workload that the request names, by its name alone where that is enough."""
    name = _text(request, "workload")
    found = [each for each in host.workloads.values() if name in (each.id, each.spec.name)]
    if len(found) == 1:
        return found[0]
    running = ", ".join(host.workloads) or "none"
    problem = f"there are several workloads {name!r}" if found else f"there is no workload {name!r}"
    raise _RefusedError(f"{problem}; here run: {running}")


def _check_service(workload: Workload, name: str) -> None:
    names = [each.name for each in workload.status().services]
    if name not in names:
        raise _RefusedError(f"{workload.id} has no service {name!r}; it has {', '.join(names)}")


def _text(request: Mapping[str, Any], key: str) -> str:
    value = request.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _RefusedError(f"{key} must be a string")
    return value


def _number(request: Mapping[str, Any], key: str, default: float) -> float:
    value = request.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise _RefusedError(f"{key} must be a number, 0 or more")
    try:
        return float(value)
    except OverflowError:
        return math.inf
