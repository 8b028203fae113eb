"""What is said to a registry: the OCI distribution specification's pull part, and token authentication.

On httpx and not on the package `oras`, whose requests block without a way to cancel them, wait between retries, check
no digest, have no bound, and put whole layers where the annotations of a manifest say.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

from service.oci._credentials import Credentials
from service.oci._errors import PullError
from service.oci._reference import Reference

if TYPE_CHECKING:
    import httpx

__all__ = ["INDEX_TYPES", "Registry", "opened"]

INDEX_TYPES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFEST_TYPES: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    *INDEX_TYPES,
)

_MAX_MANIFEST: Final = 4 << 20
_MAX_TOKEN: Final = 1 << 20
_MAX_REDIRECTS: Final = 5
_CHUNK: Final = 1 << 20
_SECONDS: Final = 60.0
"""Between two pieces of an answer; for a head, a whole manifest or a token: in all."""
_TOKEN: Final = re.compile(r"[!-~]+")
_MAX_CHALLENGE: Final = 8192
# Possessive, and at the beginning of a word only: a registry must not say what takes long to be found out to be none.
_PARAMETER: Final = re.compile(r'(?<![a-zA-Z])([a-zA-Z]++)="((?:[^"\\]|\\.)*+)"')


@asynccontextmanager
async def opened(
    reference: Reference,
    credentials: Callable[[], Any],
    *,
    plain_http: bool,
    client: httpx.AsyncClient | None = None,
) -> AsyncIterator[Registry]:
    """A registry for the time of one pull.

    Args:
        reference: whose registry.
        credentials: async; called only when the registry wants some.
        plain_http: whether it speaks HTTP without TLS.
        client: for tests.

    Raises:
        ModuleNotFoundError: httpx is not installed; the message says how to get it.
    """
    try:
        import httpx
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"pulling images needs httpx ({error.name} is missing): pip install 'wasi-sockets[workloads]'",
            name=error.name,
        ) from error
    # A proxy is for what is outside.
    made = client or httpx.AsyncClient(
        timeout=_SECONDS, trust_env=not reference.is_local, follow_redirects=False
    )
    async with made:
        try:
            yield Registry(reference, credentials, made, plain_http=plain_http)
        except (httpx.TimeoutException, trio.TooSlowError) as error:
            raise PullError(
                "unreachable", f"{reference}: {reference.host} took too long to answer"
            ) from error
        except httpx.TransportError as error:
            why = str(error) or type(error).__name__
            hint = ""
            if not plain_http and "SSL" in why:
                hint = "; a registry without TLS has to be named as one"
            raise PullError(
                "unreachable", f"{reference}: {reference.host} cannot be reached: {why}{hint}"
            ) from error
        except (httpx.InvalidURL, UnicodeError) as error:  # the latter of what is no international name
            raise PullError(
                "bad-answer", f"{reference}: {reference.host} gave an address that is none: {error}"
            ) from error


class Registry:
    """A registry, asked for one image."""

    def __init__(
        self,
        reference: Reference,
        credentials: Callable[[], Any],
        client: httpx.AsyncClient,
        *,
        plain_http: bool,
    ) -> None:
        self._reference = reference
        self._credentials = credentials
        self._client = client
        scheme = "http" if plain_http else "https"
        self._base = f"{scheme}://{reference.host}/v2/{reference.repository}"
        self._authorisation = ""

    async def manifest(self, tag_or_digest: str) -> tuple[bytes, str]:
        """A manifest's bytes, and its digest as the registry has it ("" when it does not say)."""
        url = f"{self._base}/manifests/{tag_or_digest}"
        async with self._get(url, {"Accept": ", ".join(_MANIFEST_TYPES)}) as response:
            self._check(response, "manifest")
            with trio.fail_after(_SECONDS):
                content = await self._bounded(response, _MAX_MANIFEST, "the manifest")
            return content, response.headers.get("docker-content-digest", "")

    async def blob(self, digest: str, sink: Callable[[bytes], Awaitable[None]]) -> None:
        """Gives the bytes of a blob to `sink`, as they come; what that raises ends the transfer."""
        async with self._get(f"{self._base}/blobs/{digest}", {}) as response:
            self._check(response, "blob")
            await _transfer(response, sink)

    @asynccontextmanager
    async def _get(self, url: str, headers: dict[str, str]) -> AsyncIterator[httpx.Response]:
        response = await self._send(url, headers)
        try:
            if response.status_code == 401:
                challenge = response.headers.get("www-authenticate", "")
                await response.aclose()
                await self._authorise(challenge)
                response = await self._send(url, headers)
            yield response
        finally:
            with trio.CancelScope(shield=True):
                await response.aclose()

    async def _send(self, url: str, headers: dict[str, str]) -> httpx.Response:
        """One request, redirects followed: what authorises goes to the registry itself and to nobody else."""
        import httpx

        # What is hashed is what is sent.
        given = {**headers, "Accept-Encoding": "identity"}
        address = home = httpx.URL(url)
        for _ in range(_MAX_REDIRECTS + 1):
            own = (address.scheme, address.host, address.port) == (home.scheme, home.host, home.port)
            authorisation = {"Authorization": self._authorisation} if own and self._authorisation else {}
            request = self._client.build_request("GET", address, headers={**given, **authorisation})
            response = await self._sent(request)
            if not response.has_redirect_location:
                return response
            await response.aclose()
            following = address.join(response.headers["location"])
            if following.scheme not in ("http", "https") or (
                address.scheme == "https" and following.scheme != "https"
            ):
                raise self._error(
                    "bad-answer", f"{address.host} redirects from {address.scheme} to {following.scheme}"
                )
            address = following
        raise self._error("bad-answer", f"more than {_MAX_REDIRECTS} redirects")

    async def _sent(self, request: httpx.Request) -> httpx.Response:
        # In all: interim answers may come without end.
        with trio.fail_after(_SECONDS):
            return await self._client.send(request, stream=True)

    async def _authorise(self, challenge: str) -> None:
        """What the registry wants to see, from now on.

        Rules: https://distribution.github.io/distribution/spec/auth/token/
        """
        if self._authorisation:
            raise self._not_authorised()
        credentials: Credentials | None = await self._credentials()
        basic = _basic(credentials) if credentials else ""
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic":
            if not basic:
                raise self._not_authorised()
            self._authorisation = basic
            return
        parameters = {name.lower(): value for name, value in _PARAMETER.findall(rest[:_MAX_CHALLENGE])}
        realm = parameters.get("realm", "")
        if scheme.lower() != "bearer" or not realm:
            raise self._error(
                "bad-answer", f"{self._reference.host} asks for authorisation in a way not known here"
            )
        self._authorisation = f"Bearer {await self._token(realm, parameters, basic)}"

    async def _token(self, realm: str, parameters: dict[str, str], basic: str) -> str:
        import httpx

        address = httpx.URL(realm)
        if address.scheme != "https" and not self._base.startswith("http:"):
            raise self._error(
                "bad-answer", f"{self._reference.host} wants the token from {address.host} without TLS"
            )
        scope = parameters.get("scope") or f"repository:{self._reference.repository}:pull"
        wanted = {"service": parameters["service"]} if "service" in parameters else {}
        request = self._client.build_request(
            "GET",
            address.copy_merge_params({**wanted, "scope": scope}),
            headers={"Authorization": basic} if basic else {},
        )
        response = await self._sent(request)
        try:
            if response.status_code in (401, 403):
                raise self._not_authorised()
            if response.status_code != 200:
                raise self._error(
                    "bad-answer", f"{address.host} gives no token: status {response.status_code}"
                )
            with trio.fail_after(_SECONDS):
                found = json.loads(await self._bounded(response, _MAX_TOKEN, "the token"))
            token = found.get("token") or found["access_token"]
        except (ValueError, KeyError, AttributeError, RecursionError) as error:
            raise self._error("bad-answer", f"{address.host} gives no token") from error
        finally:
            with trio.CancelScope(shield=True):
                await response.aclose()
        if not isinstance(token, str) or _TOKEN.fullmatch(token) is None:
            raise self._error("bad-answer", f"{address.host} gives no token that a header field can hold")
        return token

    def _check(self, response: httpx.Response, what: str) -> None:
        status = response.status_code
        if status == 200:
            return
        if status in (401, 403):
            raise self._not_authorised()
        if status == 404:
            raise self._error("no-such-image", f"{self._reference.host} has no such {what}")
        raise self._error(
            "bad-answer", f"{self._reference.host} answers the request for the {what} with status {status}"
        )

    async def _bounded(self, response: httpx.Response, limit: int, what: str) -> bytes:
        content = bytearray()

        async def add(chunk: bytes) -> None:
            content.extend(chunk)
            if len(content) > limit:
                raise self._error("too-large", f"{what} is larger than {limit >> 20} MiB")

        await _transfer(response, add)
        return bytes(content)

    def _not_authorised(self) -> PullError:
        return self._error(
            "not-authorised",
            f"{self._reference.host} does not let it be pulled: log in with `docker login {self._reference.registry}`,"
            " or name a pull secret",
        )

    def _error(self, reason: Any, text: str) -> PullError:
        return PullError(reason, f"{self._reference}: {text}")


async def _transfer(response: httpx.Response, sink: Callable[[bytes], Awaitable[None]]) -> None:
    """Gives a body to `sink`.

    httpx iterates by generators within generators. Leaving the loop would leave the inner ones to the garbage
    collector, which trio complains about; a read that is cancelled ends all of them.
    """
    failure: Exception | None = None
    with trio.CancelScope() as scope:
        async for chunk in response.aiter_raw(_CHUNK):
            if failure is not None:
                continue
            try:
                with trio.CancelScope(shield=True):
                    await sink(chunk)
            except Exception as error:
                failure = error
                scope.cancel()
    if failure is not None:
        raise failure


def _basic(credentials: Credentials) -> str:
    pair = f"{credentials.username}:{credentials.password}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"
