"""References to images."""

from __future__ import annotations

import pytest

from service.oci import Reference

_DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("text", "whole", "host"),
    [
        (
            "registry.example.com/shop/tasks:1.2",
            "registry.example.com/shop/tasks:1.2",
            "registry.example.com",
        ),
        ("localhost/a", "localhost/a:latest", "localhost"),
        ("127.0.0.1:5000/a_b/c-d.e:x", "127.0.0.1:5000/a_b/c-d.e:x", "127.0.0.1:5000"),
        ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000"),
        (f"r.io/a@{_DIGEST}", f"r.io/a@{_DIGEST}", "r.io"),
        (f"r.io/a:1@{_DIGEST}", f"r.io/a:1@{_DIGEST}", "r.io"),
        ("tasks", "docker.io/library/tasks:latest", "registry-1.docker.io"),
        ("shop/tasks:1", "docker.io/shop/tasks:1", "registry-1.docker.io"),
        ("docker.io/tasks", "docker.io/library/tasks:latest", "registry-1.docker.io"),
        ("Registry.Example.com/a", "registry.example.com/a:latest", "registry.example.com"),
    ],
)
def test_what_a_reference_means(text: str, whole: str, host: str) -> None:
    found = Reference.parse(text)
    assert (str(found), found.host) == (whole, host)
    assert Reference.parse(whole) == found


@pytest.mark.parametrize(
    "text",
    [
        "", "/", "a b", "r.io/", "r.io/A", "r.io/a//b", "r.io/../a", "r.io/a:", "r.io/a:-x", "r.io:x/a", "r.io:99999/a",
        "r.io/a@", "r.io/a@sha256:12", "r.io/a@md5:" + "0" * 32, "https://r.io/a", "user@r.io/a", "r.io/a:1:2",
        "-r.io/a",
        "r.io/a\n", "r.io/" + "a" * 256,
    ],
)  # fmt: skip
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"^image "):
        Reference.parse(text)


@pytest.mark.parametrize(
    ("registry", "local"),
    [
        ("localhost", True),
        ("127.0.0.1:5000", True),
        ("[::1]:1", True),
        ("127.0.0.1.example.com", False),
        ("r.io", False),
    ],
)
def test_which_registries_are_of_this_machine(registry: str, local: bool) -> None:
    assert Reference(registry, "a").is_local is local
