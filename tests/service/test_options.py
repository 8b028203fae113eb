"""What option values mean, and text that must not reach a terminal as it is."""

from __future__ import annotations

import argparse
import string
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service._options import ServiceOption, environment, pull_secret, service_option
from service._terminal import escaped, escaped_lines


@pytest.mark.parametrize(
    ("text", "hosts", "port"),
    [
        ("7=echo", ("127.0.0.1", "::1"), 7),
        ("65535=echo", ("127.0.0.1", "::1"), 65535),
        ("localhost:7=echo", ("127.0.0.1", "::1"), 7),
        ("127.0.0.2:7=echo", ("127.0.0.2",), 7),
        ("0.0.0.0:7=echo", ("0.0.0.0",), 7),
        ("[::1]:7=echo", ("::1",), 7),
        ("[0:0::1]:7=echo", ("::1",), 7),
    ],
)
def test_where_a_service_listens(text: str, hosts: tuple[str, ...], port: int) -> None:
    assert service_option(text) == ServiceOption(text, hosts, port, "echo")


@pytest.mark.parametrize(
    ("what", "kind", "module", "path"),
    [
        ("echo", "echo", "", ""),
        ("echo:handle", "handler", "echo", "handle"),
        ("shop.wire:handle", "handler", "shop.wire", "handle"),
        ("shop:Box.handle", "handler", "shop", "Box.handle"),
        ("asgi:shop.web:app", "asgi", "shop.web", "app"),
    ],
)
def test_what_a_service_is(what: str, kind: str, module: str, path: str) -> None:
    option = service_option(f"80={what}")
    assert (option.kind, option.module, option.path) == (kind, module, path)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "80",
            "80=",
            "=echo",
            "0=echo",
            "65536=echo",
            "-1=echo",
            "+1=echo",
            "\u0663=echo",
            "8 0=echo",
            "x=echo",
        ),
        *(
            "::1:80=echo",
            "[127.0.0.1]:80=echo",
            "[::1]=echo",
            "[::1:80=echo",
            ":80=echo",
            "example.org:80=echo",
        ),
        *(
            "80=Echo",
            "80=mod",
            "80=mod:",
            "80=:f",
            "80=mod:f()",
            "80=a b:f",
            "80=asgi:app",
            "80=wsgi:mod:app",
            "80=a..b:f",
        ),
        "9" * 5000 + "=echo",
    ],
)
def test_what_is_no_service(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        service_option(text)


@given(st.text(st.sampled_from(string.printable + "\x1b\u202e\udc80é"), max_size=40))
@example("[::1]:80=\x1b[31m")
def test_any_text_is_a_service_or_a_usage_error(text: str) -> None:
    refused = ""
    try:
        option = service_option(text)
    except argparse.ArgumentTypeError as error:
        refused = str(error)
    assert "\x1b" not in refused
    assert refused or (1 <= option.port <= 65535 and option.hosts)


def test_a_pull_secret(tmp_path: Path) -> None:
    file = tmp_path / "a=b.json"
    file.touch()
    assert pull_secret(f"shop={file}") == ("shop", str(file))
    for text in ("shop", "=x", f"={file}"):
        with pytest.raises(argparse.ArgumentTypeError, match="expected NAME=FILE"):
            pull_secret(text)
    for text in ("shop=", f"shop={tmp_path}", f"shop={tmp_path / 'none'}"):
        with pytest.raises(argparse.ArgumentTypeError, match="is not a file"):
            pull_secret(text)


def test_environment() -> None:
    own = {"PASSED": "on", "OTHER": "x"}
    assert environment(["A=1", "A=2", "PASSED", "ABSENT", "B=", "C==="], own) == {
        "A": "2",
        "PASSED": "on",
        "B": "",
        "C": "==",
    }


@given(st.text())
def test_escaped_text_has_no_control_characters(text: str) -> None:
    shown = escaped(text)
    assert not any(unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"} for letter in shown)
    assert not any(
        unicodedata.bidirectional(letter) in {"RLO", "LRO", "RLE", "LRE", "PDF"} for letter in shown
    )
    lines = escaped_lines(text)
    assert not any(
        unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"} for letter in lines if letter not in "\n\t"
    )
    assert lines.count("\n") == text.count("\n")


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_ordinary_text_is_not_escaped(text: str) -> None:
    assert escaped(text) == text
