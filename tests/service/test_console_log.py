"""What the library logs, on a standard error that is read late."""

from __future__ import annotations

import logging
import threading

import pytest

from service import _console_log
from service._console_log import MOST_UNSAID, warnings_told

LOGGER = logging.getLogger("wasi_sockets.policy")


class Reader:
    """In place of a standard error: takes nothing before it is told to."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.writing = threading.Event()
        self.reads = threading.Event()

    def __call__(self, message: str) -> None:
        self.writing.set()
        self.reads.wait()
        self.said.append(message)


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Reader:
    reader = Reader()
    monkeypatch.setattr(_console_log, "say", reader)
    return reader


def test_what_finds_no_room_is_counted_and_that_is_said_once(reader: Reader) -> None:
    with warnings_told():
        LOGGER.warning("first")
        reader.writing.wait()
        for number in range(MOST_UNSAID + 7):
            LOGGER.warning("message %d", number)
        reader.reads.set()
    lost = "7 further messages are lost: standard error was not read in time"
    assert reader.said == ["first", *(f"message {number}" for number in range(MOST_UNSAID)), lost]


def test_what_is_of_interest_is_a_line_of_its_own(reader: Reader) -> None:
    reader.reads.set()
    with warnings_told():
        LOGGER.warning("a\nb")
        LOGGER.info("of no interest")
        logging.getLogger("wasi_sockets.guest").warning("on the console already")
        LOGGER.warning("c")
    assert reader.said == [r"a\nb", "c"]
