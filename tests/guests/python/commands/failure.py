"""The error by which a sub-command says that something was not as it should be."""


class Failure(Exception):
    """Printed on stderr by `app`, which then answers the error result; no trap."""


def expect(condition: bool, what: str) -> None:
    """Raise `Failure(what)` unless `condition` holds (guests run with or without -O alike)."""
    if not condition:
        raise Failure(what)
