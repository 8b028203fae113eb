"""HTTP/1.1 with a guest: one connection's requests and answers, streamed, by h11."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import trio

from service.kubernetes.headers import Field
from service.kubernetes.paths import ApiRequest
from service.kubernetes.status import status_body
from wasi_sockets.network import TcpStream

try:
    import h11
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"the Kubernetes gateway needs h11 ({error.name} is missing): pip install 'wasi-sockets[kubernetes]'",
        name=error.name,
    ) from error

__all__ = ["Exchange", "GuestGone", "InvalidRequest", "Refusal"]

#: Of a request's line and header fields, bytes.
_MAX_HEAD: Final = 64 * 1024

#: For the head of a request, and between two requests; client libraries keep idle connections for as long.
_HEAD_SECONDS: Final = 90.0

#: Between two pieces of a request's body: the API server gives a whole request no more.
_BODY_SECONDS: Final = 60.0

#: What is still read of a refused request's body, so that the guest sees the answer and may go on; bytes.
_MAX_DRAINED: Final = 1024 * 1024


class GuestGone(Exception):
    """The guest closed or reset its connection before it had its answer."""


class InvalidRequest(Exception):
    """What the guest sends is no HTTP/1.1; the connection cannot go on.

    Attributes:
        code: HTTP's for the answer.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code: Final = code


class Refusal(Exception):
    """An answer of the gateway's own.

    Attributes:
        code: HTTP's.
        request: what it is about, if that is known.
        retry_after: seconds.
    """

    def __init__(
        self, code: int, message: str, request: ApiRequest | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.code: Final = code
        self.request: Final = request
        self.retry_after: Final = retry_after


class Exchange:
    """A guest's connection: its requests, one after the other.

    Attributes:
        method: of the request.
        target: of it, as it came.
        fields: its header fields, names in lower case.
    """

    def __init__(self, stream: TcpStream) -> None:
        self._stream: Final = stream
        self._http: Final = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD)
        self.method = ""
        self.target = ""
        self.fields: list[Field] = []

    async def next_request(self) -> bool:
        """Wait for the head of the next request; False when there is none.

        Raises:
            InvalidRequest: what comes is none.
            GuestGone: the connection was reset, or there was no request for a minute and a half.
        """
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        if self._http.our_state is not h11.IDLE:
            return False
        # What follows may be no request: an answer to that is none to the one before.
        self.method, self.target, self.fields = "", "", []
        with trio.move_on_after(_HEAD_SECONDS) as patience:
            event = await self._next_event()
        if patience.cancelled_caught:
            raise GuestGone(f"no request came within {_HEAD_SECONDS:g} seconds")
        if not isinstance(event, h11.Request):
            return False
        self.method = event.method.decode("ascii")
        self.target = event.target.decode("latin-1")
        self.fields = list(event.headers)
        return True

    @property
    def has_body(self) -> bool:
        """Whether the request announced a body, be it empty."""
        return any(
            name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0"))
            for name, value in self.fields
        )

    def body(self) -> AsyncIterator[bytes]:
        """The request's body, as it comes.

        Raises:
            InvalidRequest: while iterating: its framing is wrong, or nothing came for a minute.
            GuestGone: while iterating: it ends too soon.
        """
        return _Body(self)

    async def next_piece(self) -> bytes | None:
        """As `body`; None at its end."""
        if self._http.they_are_waiting_for_100_continue:
            await self._send(h11.InformationalResponse(status_code=100, headers=[]))
        event = await self._next_event_of_body()
        if isinstance(event, h11.Data):
            return bytes(event.data)
        if isinstance(event, h11.EndOfMessage):
            return None
        raise GuestGone("the request's body ended too soon")

    async def answer(self, code: int, fields: list[Field]) -> None:
        """Send the head of the answer.

        Raises:
            GuestGone: nobody is there to read it.
        """
        await self._send(h11.Response(status_code=code, headers=fields))

    async def send(self, data: bytes) -> None:
        """Send a piece of the answer's body, waiting while the guest does not read.

        Raises:
            GuestGone: nobody is there to read it.
        """
        await self._send(h11.Data(data=data))

    async def end(self) -> None:
        """The answer is complete. What is left of the request's body is read, if it is not much."""
        await self._send(h11.EndOfMessage())
        await self._drain()

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with a `Status`, if no answer has begun; the connection goes on where it can.

        Raises:
            GuestGone: nobody is there to read it.
        """
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = status_body(refusal.code, str(refusal), refusal.request, refusal.retry_after)
        fields = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if refusal.retry_after is not None:
            fields.append((b"retry-after", str(refusal.retry_after).encode()))
        if self._http.their_state is h11.ERROR:
            fields.append((b"connection", b"close"))
        await self.answer(refusal.code, fields)
        await self.send(b"" if self.method == "HEAD" else body)
        await self.end()

    @asynccontextmanager
    async def while_guest_is_there(self) -> AsyncIterator[None]:
        """Cancels what is in the block once the guest has closed or reset the connection.

        A guest that only ended its sending half still wants its answer.

        Raises:
            GuestGone: it was so.
        """
        soon = trio.lowlevel.current_trio_token().run_sync_soon
        with trio.CancelScope() as scope:
            pipe = self._stream.connection.send_pipe

            def look() -> None:
                if pipe.permit() < 0:
                    # Not at once: the task to be cancelled may be about to be woken by the very same change.
                    soon(scope.cancel)
                else:
                    pipe.writable.add(look)

            look()
            try:
                yield
            finally:
                pipe.writable.discard(look)
        if scope.cancelled_caught:
            raise GuestGone("the guest closed the connection")

    async def _drain(self) -> None:
        left = _MAX_DRAINED
        if self._http.they_are_waiting_for_100_continue:
            return
        while self._http.their_state is h11.SEND_BODY and left > 0:
            event = await self._next_event_of_body()
            if isinstance(event, h11.Data):
                left -= len(event.data)

    async def _next_event_of_body(self) -> Any:
        with trio.move_on_after(_BODY_SECONDS):
            return await self._next_event()
        raise InvalidRequest("the request's body does not come", 408)

    async def _next_event(self) -> Any:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise InvalidRequest(f"this is no HTTP/1.1: {error}", error.error_status_hint) from None
            if event is h11.NEED_DATA:
                try:
                    self._http.receive_data(await self._stream.receive_some())
                except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                    raise GuestGone(str(error)) from None
            elif event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                return None
            else:
                return event

    async def _send(self, event: Any) -> None:
        data = self._http.send(event)
        if data:
            try:
                await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise GuestGone(str(error)) from None


class _Body(AsyncIterator[bytes]):
    """A request's body. No generator: who takes it may stop before its end, and would leave that to the GC."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange: Final = exchange

    async def __anext__(self) -> bytes:
        piece = await self._exchange.next_piece()
        if piece is None:
            raise StopAsyncIteration
        return piece
