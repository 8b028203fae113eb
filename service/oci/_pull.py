"""Pulling a component out of a registry, or out of the cache."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import trio

from service.oci._cache import ImageCache, digest_of
from service.oci._credentials import Credentials, Secret, docker_credentials, secret_credentials
from service.oci._errors import PullError
from service.oci._reference import DIGEST, Reference
from service.oci._registry import INDEX_TYPES, Registry, opened
from service.spec import PullPolicy
from wasi_sockets import telemetry

__all__ = ["DEFAULT_MAX_BYTES", "PulledComponent", "pull"]

DEFAULT_MAX_BYTES: Final = 256 << 20

#: The media types of a layer that is a component: the artifact format's, the older one, and wasmCloud's.
_WASM_TYPES: Final = (
    "application/wasm",
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/vnd.module.wasm.content.layer.v1+wasm",
)


@dataclass(frozen=True, slots=True)
class PulledComponent:
    """A component from an image, verified.

    Attributes:
        reference: with its digest, so that it names the same component for ever.
        digest: of the manifest.
        layer_digest: of the component's bytes.
        wasm: the component.
        path: the file in the cache that has the same bytes.
        from_cache: whether no bytes of it had to be fetched.
    """

    reference: str
    digest: str
    layer_digest: str
    wasm: bytes
    path: Path
    from_cache: bool

    def __repr__(self) -> str:
        return f"<PulledComponent {self.reference}, {len(self.wasm)} bytes>"


@dataclass(frozen=True, slots=True)
class _Layer:
    digest: str
    size: int


async def pull(
    reference: str,
    *,
    policy: PullPolicy = "if-not-present",
    credentials: Credentials | None = None,
    secret: str = "",
    secrets: Mapping[str, Secret] | None = None,
    cache: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], object] | None = None,
    max_bytes: int = DEFAULT_MAX_BYTES,
    plain_http: Collection[str] = (),
) -> PulledComponent:
    """A component by the reference of its image.

    Args:
        reference: `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`.
        policy: "always" asks the registry what the tag leads to, and fetches what is not cached; "if-not-present" asks
            only when nothing is cached for the reference; "never" does not use the network.
        credentials: for the registry; by default what `docker login` has left, if the registry wants any.
        secret: name of the credentials among `secrets` instead.
        secrets: credentials by name, or files like Docker's config.json that have them.
        cache: directory of images; by default one in the user's cache.
        progress: called with the bytes that have come and all that will, in the task that pulls.
        max_bytes: a larger component is refused.
        plain_http: registries besides those on this machine that speak HTTP without TLS.

    Raises:
        PullError: it cannot be had.
        ValueError: `reference` is none.
        ModuleNotFoundError: httpx is not installed; the message says how to get it.
    """
    wanted = Reference.parse(reference)
    if secret:
        if secret not in (secrets or {}):
            known = ", ".join(secrets or ()) or "none"
            raise PullError(
                "credentials",
                f"{wanted}: there is no pull secret {secret!r} (there: {known}); give it by --pull-secret"
                " NAME=FILE, or Host(secrets=...)",
            )
        given: Secret | None = (secrets or {})[secret]
    else:
        given = credentials
    said = {"wasi_sockets.image": str(wanted), "server.address": wanted.registry}
    with telemetry.span("component.pull", said) as span:
        pulled = await _had(wanted, policy, given, cache, progress, max_bytes, plain_http)
        span.set_attributes(
            {
                "oci.manifest.digest": pulled.digest,
                "wasi_sockets.component.size": len(pulled.wasm),
                "wasi_sockets.cache": "hit" if pulled.from_cache else "miss",
            }
        )
    return pulled


async def _had(
    wanted: Reference,
    policy: PullPolicy,
    secret: Secret | None,
    cache: str | os.PathLike[str] | None,
    progress: Callable[[int, int], object] | None,
    max_bytes: int,
    plain_http: Collection[str],
) -> PulledComponent:
    images = await trio.to_thread.run_sync(ImageCache, cache)
    # A digest means the same for ever: there is nothing to ask.
    if policy != "always" or wanted.digest:
        found = await trio.to_thread.run_sync(_cached, images, wanted, max_bytes, abandon_on_cancel=True)
        if found is not None:
            return found
    if policy == "never":
        raise PullError("not-cached", f"{wanted}: it is not in the image cache, and the pull policy is never")

    async def for_registry() -> Credentials | None:
        if secret is None:
            return await docker_credentials(wanted.registry)
        return await secret_credentials(secret, wanted.registry)

    plain = wanted.is_local or wanted.registry in plain_http
    async with opened(wanted, for_registry, plain_http=plain) as registry:
        return await _fetched(registry, images, wanted, progress, max_bytes)


def _cached(images: ImageCache, wanted: Reference, max_bytes: int) -> PulledComponent | None:
    digest = wanted.digest or images.tagged(wanted)
    manifest = images.manifest(digest) if digest else None
    if digest is None or manifest is None:
        return None
    document = _parsed(manifest, wanted)
    if _is_index(document):
        manifest = images.manifest(_only_entry(document, wanted))
        if manifest is None:
            return None
        document = _parsed(manifest, wanted)
    layer = _layer(document, wanted, max_bytes)
    wasm = images.blob(layer.digest)
    return None if wasm is None else _pulled(images, wanted, digest, layer, wasm, from_cache=True)


async def _fetched(
    registry: Registry,
    images: ImageCache,
    wanted: Reference,
    progress: Callable[[int, int], object] | None,
    max_bytes: int,
) -> PulledComponent:
    manifest, digest = await _manifest(registry, wanted, wanted.digest or wanted.tag, wanted.digest)
    kept = [manifest]
    document = _parsed(manifest, wanted)
    if _is_index(document):
        entry = _only_entry(document, wanted)
        manifest, _ = await _manifest(registry, wanted, entry, entry)
        kept.append(manifest)
        document = _parsed(manifest, wanted)
    layer = _layer(document, wanted, max_bytes)
    wasm = await trio.to_thread.run_sync(images.blob, layer.digest, abandon_on_cancel=True)
    from_cache = wasm is not None
    if wasm is None:
        wasm = await _blob(registry, images, wanted, layer, progress)
    try:
        for each in kept:
            await trio.to_thread.run_sync(images.keep_manifest, each)
        # The last: whoever finds the tag finds all. Beside a digest a tag was not asked for.
        if not wanted.digest:
            await trio.to_thread.run_sync(images.keep_tag, wanted, digest)
    except OSError as error:
        raise _cache_failed(wanted, error) from error
    return _pulled(images, wanted, digest, layer, wasm, from_cache=from_cache)


async def _manifest(registry: Registry, wanted: Reference, name: str, digest: str) -> tuple[bytes, str]:
    content, said = await registry.manifest(name)
    found = digest_of(content)
    expected = digest or (said if DIGEST.fullmatch(said) else found)
    if found != expected:
        raise PullError("digest-mismatch", f"{wanted}: the manifest has the digest {found}, not {expected}")
    return content, found


async def _blob(
    registry: Registry,
    images: ImageCache,
    wanted: Reference,
    layer: _Layer,
    progress: Callable[[int, int], object] | None,
) -> bytes:
    try:
        partial_blob = await trio.to_thread.run_sync(images.new_blob)
    except OSError as error:
        raise _cache_failed(wanted, error) from error
    chunks: list[bytes] = []

    async def take(chunk: bytes) -> None:
        await trio.to_thread.run_sync(partial_blob.write, chunk)
        chunks.append(chunk)
        if partial_blob.size > layer.size:
            raise PullError("digest-mismatch", f"{wanted}: the component is larger than its manifest says")
        if progress is not None:
            progress(partial_blob.size, layer.size)

    try:
        if progress is not None:
            progress(0, layer.size)
        await registry.blob(layer.digest, take)
        if not await trio.to_thread.run_sync(partial_blob.keep, layer.digest):
            raise PullError(
                "digest-mismatch", f"{wanted}: the component that came has not the digest {layer.digest}"
            )
    except OSError as error:
        raise _cache_failed(wanted, error) from error
    finally:
        partial_blob.close()
    return b"".join(chunks)


def _cache_failed(wanted: Reference, error: OSError) -> PullError:
    return PullError("cache", f"{wanted}: the image cache cannot be written: {error.strerror or error}")


def _parsed(manifest: bytes, wanted: Reference) -> dict[str, Any]:
    try:
        document = json.loads(manifest)
    except (ValueError, RecursionError) as error:
        raise PullError("bad-answer", f"{wanted}: the manifest is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise PullError("bad-answer", f"{wanted}: the manifest is no JSON object")
    return document


def _is_index(document: Mapping[str, Any]) -> bool:
    return document.get("mediaType") in INDEX_TYPES or ("manifests" in document and "layers" not in document)


def _only_entry(document: Mapping[str, Any], wanted: Reference) -> str:
    """The digest of an index's entry: its only one, or the only one for WebAssembly."""
    entries = _descriptors(document.get("manifests"), wanted)
    if len(entries) != 1:
        entries = [each for each in entries if _architecture(each) == "wasm"]
    if len(entries) != 1:
        raise PullError(
            "no-wasm-layer",
            f"{wanted}: an index with {len(entries)} entries for WebAssembly; name one by its digest",
        )
    digest: str = entries[0]["digest"]
    return digest


def _architecture(entry: Mapping[str, Any]) -> Any:
    platform = entry.get("platform")
    return platform.get("architecture") if isinstance(platform, dict) else None


def _layer(document: Mapping[str, Any], wanted: Reference, max_bytes: int) -> _Layer:
    layers = _descriptors(document.get("layers"), wanted)
    wasm = [each for each in layers if each.get("mediaType") in _WASM_TYPES]
    if len(wasm) != 1:
        types = ", ".join(sorted({str(each.get("mediaType")) for each in layers})) or "none"
        found = "no component" if not wasm else f"{len(wasm)} components"
        raise PullError(
            "no-wasm-layer", f"{wanted}: the image holds {found}; its layers are of the types: {types}"
        )
    size = wasm[0]["size"]
    if size > max_bytes:
        raise PullError(
            "too-large", f"{wanted}: the component has {size} bytes, and at most {max_bytes} are taken"
        )
    return _Layer(wasm[0]["digest"], size)


def _descriptors(found: Any, wanted: Reference) -> list[dict[str, Any]]:
    """The descriptors of a manifest, each with a digest and a size that can be."""
    good = isinstance(found, list) and all(
        isinstance(each, dict)
        and isinstance(each.get("digest"), str)
        and DIGEST.fullmatch(each["digest"])
        and isinstance(each.get("size"), int)
        and each["size"] >= 0
        for each in found
    )
    if not good:
        raise PullError(
            "bad-answer", f"{wanted}: the manifest has no list of descriptors with sizes and sha256 digests"
        )
    return list(found)


def _pulled(
    images: ImageCache, wanted: Reference, digest: str, layer: _Layer, wasm: bytes, *, from_cache: bool
) -> PulledComponent:
    named = str(replace(wanted, digest=digest))
    return PulledComponent(named, digest, layer.digest, wasm, images.blob_path(layer.digest), from_cache)
