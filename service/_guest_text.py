"""Text for guests out of the arguments and variables of this process, which are bytes and need not be text."""

from __future__ import annotations

import os

from service._notations import wrong

__all__ = ["guest_text"]


def guest_text(option: str, text: str) -> str:
    """What was given to this process, as the Unicode text that guests take.

    Where the locale is not one of UTF-8, Python has halves of surrogate pairs for what may be UTF-8 even so.

    Args:
        option: what `text` is, or is a part of, for the message.
        text: from arguments or variables of this process.

    Raises:
        argparse.ArgumentTypeError: it is not UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        given = os.fsencode(text)
    else:
        return text
    try:
        return given.decode()
    except UnicodeDecodeError as error:
        byte = given[error.start]
        raise wrong(option, f"the byte 0x{byte:02x} is not UTF-8, and guests take nothing else") from None
