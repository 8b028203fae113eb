"""Pulling from a registry of this machine: what is fetched, what is verified, and what is kept."""

from __future__ import annotations

import base64
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from service.oci import Credentials, PulledComponent, PullError, Reference, pull
from service.oci._cache import ImageCache
from service.oci._registry import opened
from tests.service.oci.conftest import INDEX, MANIFEST, WASM, FakeRegistry, digest

_BLOB = f"blobs/{digest(WASM)}"


async def refused(reference: str, **options: Any) -> PullError:
    with pytest.raises(PullError) as told:
        await pull(reference, **options)
    return told.value


@pytest.mark.parametrize(
    "media_type",
    [
        "application/wasm",
        "application/vnd.wasm.content.layer.v1+wasm",
        "application/vnd.module.wasm.content.layer.v1+wasm",
    ],
)
async def test_a_component_by_tag_and_by_digest(registry: FakeRegistry, media_type: str) -> None:
    reference = registry.add(media_type=media_type)
    manifest = registry.digest_of()
    found = await pull(reference)
    assert found == PulledComponent(
        f"{reference}@{manifest}", manifest, digest(WASM), WASM, found.path, False
    )
    assert found.path.read_bytes() == WASM
    assert registry.paths() == ["manifests/1", _BLOB]
    assert (await pull(found.reference)).from_cache
    assert (await pull(f"{registry.host}/shop/tasks@{manifest}", policy="always")).from_cache
    assert registry.paths() == []


async def test_pull_policies(registry: FakeRegistry) -> None:
    reference = registry.add()
    assert (await refused(reference, policy="never")).reason == "not-cached"
    assert registry.paths() == []
    assert not (await pull(reference)).from_cache
    assert (await pull(reference, policy="never")).from_cache
    registry.paths()
    newer = WASM + b"newer"
    registry.add(wasm=newer)
    assert (await pull(reference)).wasm == WASM
    assert registry.paths() == []
    assert (await pull(reference, policy="always")).wasm == newer
    assert (await pull(reference, policy="always")).from_cache
    assert registry.paths() == ["manifests/1", f"blobs/{digest(newer)}", "manifests/1"]
    assert (await pull(reference)).wasm == newer


async def test_progress(registry: FakeRegistry) -> None:
    wasm = os.urandom(3 << 20)
    reference = registry.add(wasm=wasm)
    told: list[tuple[int, int]] = []
    await pull(reference, progress=lambda done, total: told.append((done, total)))
    assert told[0] == (0, len(wasm))
    assert told[-1] == (len(wasm), len(wasm))
    assert told == sorted(told)
    assert len(told) >= 4


def _files(cache: Path, kind: str) -> list[Path]:
    return sorted((cache / "oci" / kind).iterdir())


@pytest.mark.parametrize("kind", ["blobs", "manifests", "tags"])
@pytest.mark.parametrize(
    "damage", [lambda path: path.write_bytes(b"x"), Path.unlink, lambda path: path.write_bytes(b"")]
)
async def test_what_is_damaged_in_the_cache_is_pulled_again(
    registry: FakeRegistry, tmp_path: Path, kind: str, damage: Callable[[Path], object]
) -> None:
    reference = registry.add()
    await pull(reference)
    (path,) = _files(tmp_path / "cache", kind)
    before = path.read_bytes()
    damage(path)
    assert (await refused(reference, policy="never")).reason == "not-cached"
    assert (await pull(reference)).wasm == WASM
    assert path.read_bytes() == before
    assert (await pull(reference, policy="never")).wasm == WASM


async def test_the_cache_is_private(registry: FakeRegistry, tmp_path: Path) -> None:
    reference = registry.add()
    await pull(reference)
    assert (tmp_path / "cache" / "oci").stat().st_mode & 0o777 == 0o700
    (tmp_path / "cache" / "oci").chmod(0o777)
    assert "others may write there" in str(await refused(reference))
    (tmp_path / "file").touch()
    assert (await refused(reference, cache=tmp_path / "file" / "x")).reason == "cache"


async def test_several_at_once(registry: FakeRegistry, tmp_path: Path) -> None:
    reference = registry.add()
    found: list[PulledComponent] = []

    async def one() -> None:
        found.append(await pull(reference))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(one)
    assert [each.wasm for each in found] == [WASM] * 5
    assert [path.name for path in _files(tmp_path / "cache", "blobs")] == [
        digest(WASM).removeprefix("sha256:")
    ]


async def test_an_index_leads_to_its_entry(registry: FakeRegistry) -> None:
    registry.add("inner")
    entry = {"mediaType": MANIFEST, "digest": registry.digest_of("inner"), "size": 1}
    alone = registry.add_manifest("alone", {"manifests": [entry]}, INDEX)
    assert (await pull(alone)).digest == registry.digest_of("alone")
    assert (await pull(alone, policy="never")).wasm == WASM
    other = {**entry, "digest": digest(b"x"), "platform": {"architecture": "amd64", "os": "linux"}}
    wasm = {**entry, "platform": {"architecture": "wasm", "os": "wasip2"}}
    assert (
        await pull(registry.add_manifest("two", {"mediaType": INDEX, "manifests": [other, wasm]}))
    ).wasm == WASM
    told = await refused(registry.add_manifest("none", {"manifests": [other, other]}))
    assert "an index with 0 entries for WebAssembly" in str(told)


async def test_credentials_are_given_for_a_token(registry: FakeRegistry) -> None:
    registry.user = "me:pa:ss"
    reference = registry.add()
    told = await refused(reference)
    assert told.reason == "not-authorised"
    assert f"docker login {registry.host}" in str(told)
    registry.requests.clear()
    assert (await pull(reference, credentials=Credentials("me", "pa:ss"))).wasm == WASM
    assert [authorisation.partition(" ")[0] for _, authorisation in registry.requests] == [
        "",
        "Basic",
        "Bearer",
        "Bearer",
    ]
    assert "pa:ss" not in repr(Credentials("me", "pa:ss"))
    assert (
        await refused(reference, policy="always", credentials=Credentials("me", "no"))
    ).reason == "not-authorised"


async def test_a_named_secret(registry: FakeRegistry) -> None:
    registry.user, registry.scheme = "me:secret", "basic"
    reference = registry.add()
    secrets = {"shop": Credentials("me", "secret")}
    assert (await refused(reference)).reason == "not-authorised"
    assert (
        await refused(reference, secrets={"shop": Credentials("me", "x")}, secret="shop")
    ).reason == "not-authorised"
    assert (await pull(reference, secret="shop", secrets=secrets)).wasm == WASM
    told = await refused(reference, secret="other", secrets=secrets)
    assert str(told) == (
        f"{reference}: there is no pull secret 'other' (there: shop);"
        " give it by --pull-secret NAME=FILE, or Host(secrets=...)"
    )


async def test_a_secret_in_a_file_is_for_the_registries_it_names(
    registry: FakeRegistry, other_registry: FakeRegistry, tmp_path: Path
) -> None:
    registry.user = other_registry.user = "me:secret"
    file = tmp_path / ".dockerconfigjson"
    reference, elsewhere = registry.add(), other_registry.add()
    assert str(await refused(reference, secrets={"shop": file}, secret="shop")) == f"{file}: no such file"
    login = {"auth": base64.b64encode(b"me:secret").decode()}
    file.write_text(json.dumps({"auths": {registry.host: login}}))
    assert (await pull(reference, secret="shop", secrets={"shop": file})).wasm == WASM
    told = await refused(elsewhere, secret="shop", secrets={"shop": str(file)})
    assert (told.reason, str(told)) == (
        "credentials",
        f"{file} has no credentials for {other_registry.host}",
    )
    assert not any(authorisation for _, authorisation in other_registry.requests)


async def test_a_redirect_gets_no_credentials(registry: FakeRegistry, other_registry: FakeRegistry) -> None:
    registry.user, registry.redirect = "me:secret", f"http://{other_registry.host}"
    reference = registry.add()
    other_registry.add()
    assert (await pull(reference, credentials=Credentials("me", "secret"))).wasm == WASM
    assert other_registry.requests == [(f"/elsewhere/{digest(WASM)}", "")]


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("http://{host}/v2/shop/tasks/manifests/1", "more than 5 redirects"),
        ("ftp://{host}/", "redirects from http to ftp"),
        ("http://xn--a/", "gave an address that is none"),
        (None, "answers the request for the manifest with status 302"),
    ],
)
async def test_redirects_that_are_not_followed(
    registry: FakeRegistry, location: str | None, message: str
) -> None:
    reference = registry.add()
    there = {} if location is None else {"Location": location.format(host=registry.host)}
    registry.answers["/v2/shop/tasks/manifests/1"] = (302, there, b"")
    told = await refused(reference)
    assert told.reason == "bad-answer"
    assert message in str(told)


async def test_no_such_image(registry: FakeRegistry) -> None:
    told = await refused(f"{registry.host}/shop/tasks:2")
    assert (told.reason, str(told)) == (
        "no-such-image",
        f"{registry.host}/shop/tasks:2: {registry.host} has no such manifest",
    )
    reference = registry.add(digest=digest(b"not there"))
    assert (await refused(reference)).reason == "no-such-image"


async def test_an_unreachable_registry() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        reference = f"127.0.0.1:{bound.getsockname()[1]}/a:1"
        told = await refused(reference)
    assert told.reason == "unreachable"
    assert str(told).startswith(f"{reference}: 127.0.0.1:")


async def test_tls_is_spoken_to_other_registries(registry: FakeRegistry) -> None:
    port = registry.host.rpartition(":")[2]
    registry.add()
    # 127.0.0.2 is this machine too, but not one of the names that plain HTTP is spoken to without being asked.
    reference = f"127.0.0.2:{port}/shop/tasks:1"
    assert (await refused(reference)).reason == "unreachable"
    assert registry.requests == []


def _layers(*layers: Any) -> dict[str, Any]:
    return {"schemaVersion": 2, "layers": list(layers)}


_LAYER = {"mediaType": "application/wasm", "digest": digest(WASM), "size": len(WASM)}
_TAR = {**_LAYER, "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"}


@pytest.mark.parametrize(
    ("document", "reason", "message"),
    [
        (_layers(_TAR), "no-wasm-layer", "holds no component; its layers are of the types: application/vnd.oci.image."),
        (_layers(), "no-wasm-layer", "holds no component; its layers are of the types: none"),
        (_layers(_LAYER, _LAYER), "no-wasm-layer", "holds 2 components"),
        (_layers({**_LAYER, "size": 1 << 40}), "too-large", "at most 268435456 are taken"),
        (_layers({**_LAYER, "size": -1}), "bad-answer", "no list of descriptors"),
        (_layers({**_LAYER, "digest": "sha256:../../x"}), "bad-answer", "no list of descriptors"),
        (_layers({**_LAYER, "size": len(WASM) - 1}), "digest-mismatch", "larger than its manifest says"),
        ({}, "bad-answer", "no list of descriptors"),
        ([], "bad-answer", "no JSON object"),
        (b"<html>", "bad-answer", "not JSON"),
        (b"[" * 100_000, "bad-answer", "not JSON"),
        (b" " * (5 << 20), "too-large", "the manifest is larger than 4 MiB"),
    ],
)  # fmt: skip
async def test_manifests_that_are_of_no_use(
    registry: FakeRegistry, document: Any, reason: str, message: str, tmp_path: Path
) -> None:
    registry.add()
    told = await refused(registry.add_manifest("bad", document))
    assert told.reason == reason
    assert message in str(told)
    assert _files(tmp_path / "cache", "tags") == []
    assert _files(tmp_path / "cache", "blobs") == []


async def test_a_manifest_or_a_component_with_another_digest(registry: FakeRegistry, tmp_path: Path) -> None:
    reference = registry.add()
    named = f"{registry.host}/shop/tasks@{registry.digest_of()}"
    other = b'{"layers": []}'
    registry.answers[f"/v2/shop/tasks/manifests/{registry.digest_of()}"] = (200, {}, other)
    told = await refused(named)
    assert (told.reason, digest(other) in str(told)) == ("digest-mismatch", True)
    registry.answers["/v2/shop/tasks/manifests/1"] = (200, {"Docker-Content-Digest": digest(b"x")}, other)
    assert (await refused(reference)).reason == "digest-mismatch"
    registry.answers.clear()
    registry.answers[f"/v2/shop/tasks/{_BLOB}"] = (200, {}, WASM[:-1] + b"x")
    told = await refused(reference)
    assert (told.reason, digest(WASM) in str(told)) == ("digest-mismatch", True)
    registry.answers[f"/v2/shop/tasks/{_BLOB}"] = (500, {}, b"")
    assert "status 500" in str(await refused(reference))
    assert _files(tmp_path / "cache", "blobs") == []


@pytest.mark.parametrize(
    ("challenge", "message"),
    [
        ("", "in a way not known here"),
        ("Bearer x", "in a way not known here"),
        ('Bearer realm="http://{host}/none"', "gives no token: status 404"),
        ('Bearer realm="http://{host}/odd"', "gives no token"),
        ('Bearer realm="http://{host}/list"', "gives no token"),
        ('Bearer realm="http://{host}/deep"', "gives no token"),
        ('Bearer realm="http://{host}/foreign"', "gives no token"),
        # Reading a long one as parameters kept the whole host waiting.
        (f'Bearer {"a" * 60_000} realm="http://{{host}}/odd"', "in a way not known here"),
    ],
)
async def test_challenges_that_lead_nowhere(registry: FakeRegistry, challenge: str, message: str) -> None:
    reference = registry.add()
    wanted = {"WWW-Authenticate": challenge.format(host=registry.host)}
    registry.answers["/v2/shop/tasks/manifests/1"] = (401, wanted, b"")
    scope = "?scope=repository%3Ashop%2Ftasks%3Apull"
    registry.answers[f"/odd{scope}"] = (200, {}, b"{}")
    registry.answers[f"/list{scope}"] = (200, {}, b"[]")
    registry.answers[f"/deep{scope}"] = (200, {}, b"[" * 900_000)
    registry.answers[f"/foreign{scope}"] = (200, {}, '{"token": "\u00e9"}'.encode())
    told = await refused(reference)
    assert told.reason == "bad-answer"
    assert message in str(told)


async def test_a_pull_that_is_cancelled_leaves_nothing(registry: FakeRegistry, tmp_path: Path) -> None:
    reference = registry.add(wasm=os.urandom(3 << 20))
    with trio.CancelScope() as scope:
        await pull(reference, progress=lambda done, _: scope.cancel() if done else None)
    assert scope.cancelled_caught
    assert _files(tmp_path / "cache", "blobs") == []
    assert _files(tmp_path / "cache", "tags") == []


@pytest.mark.parametrize("answers", [None, b"{"], ids=["nothing", "one byte a second"])
async def test_a_manifest_that_does_not_come_is_not_waited_for(
    answers: bytes | None, autojump_clock: MockClock
) -> None:
    async def trickle() -> AsyncIterator[bytes]:
        while True:
            await trio.sleep(1)
            yield answers or b""

    async def answer(request: httpx.Request) -> httpx.Response:
        if answers is None:
            await trio.sleep_forever()
        return httpx.Response(200, content=trickle())

    client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    reference = Reference.parse("r.io/a/b:1")
    with pytest.raises(PullError, match="took too long to answer") as told:
        async with opened(reference, lambda: None, plain_http=False, client=client) as registry:
            await registry.manifest("1")
    assert told.value.reason == "unreachable"
    assert trio.current_time() <= 61


async def test_what_a_registry_says_does_not_make_endless_messages(registry: FakeRegistry) -> None:
    layers = [{"mediaType": f"type/{n}", "digest": digest(WASM), "size": 1} for n in range(10_000)]
    told = await refused(registry.add_manifest("1", {"layers": layers}))
    assert told.reason == "no-wasm-layer"
    assert len(str(told)) < 1100


async def test_a_part_that_cannot_be_written_is_removed(registry: FakeRegistry, tmp_path: Path) -> None:
    # So little that it waits in a buffer until the file is closed.
    reference = registry.add(wasm=WASM[:1000], size=999)

    def full(limit: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        told = await refused(reference, progress=lambda *_: full(100))
    finally:
        full(soft)
        signal.signal(signal.SIGXFSZ, before)
    assert told.reason == "digest-mismatch"
    assert _files(tmp_path / "cache", "blobs") == []


async def test_a_reference_that_is_none() -> None:
    with pytest.raises(ValueError, match="is no tag"):
        await pull("r.io/a:?")


async def test_without_the_extra(registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = registry.add()
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'wasi-sockets\[workloads\]'"):
        await pull(reference)


@pytest.mark.parametrize("status", [300, 302, 304])
async def test_a_redirect_to_nowhere(registry: FakeRegistry, status: int) -> None:
    reference = registry.add()
    registry.answers["/v2/shop/tasks/manifests/1"] = (status, {}, b"")
    told = await refused(reference)
    assert (told.reason, str(told).endswith(f"with status {status}")) == ("bad-answer", True)


@pytest.mark.parametrize(
    "answer",
    [b"[" * 100_000, b'{"token": "caf\\u00e9"}', b'{"token": "one\\r\\ntwo"}', b'{"token": ["a b"]}'],
    ids=["deep", "not-ascii", "lines", "list"],
)
async def test_tokens_that_cannot_be_used(registry: FakeRegistry, answer: bytes) -> None:
    reference = registry.add()
    realm = {"WWW-Authenticate": f'Bearer realm="http://{registry.host}/odd"'}
    registry.answers["/v2/shop/tasks/manifests/1"] = (401, realm, b"")
    registry.answers["/odd?scope=repository%3Ashop%2Ftasks%3Apull"] = (200, {}, answer)
    told = await refused(reference)
    assert (told.reason, "gives no token" in str(told)) == ("bad-answer", True)


async def test_a_pull_that_is_cancelled_on_a_full_disk_leaves_nothing(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    reference = registry.add(wasm=WASM[:2000])
    ImageCache()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # As with a full disk, what is still in the file's buffer cannot be written when it is closed.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with trio.CancelScope() as scope:
            await pull(reference, progress=lambda done, _: scope.cancel() if done else None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert scope.cancelled_caught
    assert not [each for each in (tmp_path / "cache" / "oci").rglob("*") if each.is_file()]
