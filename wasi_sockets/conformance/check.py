"""What a check is, and the list of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast

from wasi_sockets.conformance.program import IPV4, IPV6, Constants, Family, Program

__all__ = ["BOTH", "CHECKS", "Check", "Denial", "check", "family_checks"]

BOTH: Final = (IPV4, IPV6)

Denial = Literal["tcp", "udp", "ip-name-lookup"]


@dataclass(frozen=True)
class Check:
    """One rule, and the program that tries whether a host keeps it.

    Attributes:
        name: area, rule and, where it is tried with both, IP version: "tcp-bind/wrong-family/ipv4".
        about: the rule, one sentence.
        source: where it stands; where sources differ, which one is followed.
        build: writes the program.
        denied: what the host must not allow the guest for this check.
        traps: the rule is that the guest traps; a part of the host's message, "" for any. None: it does not trap.
    """

    name: str
    about: str
    source: str
    build: Callable[[Program], None]
    denied: frozenset[Denial] = frozenset()
    traps: str | None = None

    @property
    def area(self) -> str:
        """The first part of the name."""
        return self.name.partition("/")[0]

    @property
    def needs_ipv6(self) -> bool:
        """Whether it uses IPv6 addresses."""
        return self.name.endswith("/ipv6")

    def program(self, constants: Constants) -> Program:
        """Its steps."""
        program = Program(constants)
        self.build(program)
        return program


CHECKS: Final[dict[str, Check]] = {}
"""Every check by its name, in the order of the areas' files."""


def _add(new: Check) -> None:
    if new.name in CHECKS:
        raise ValueError(f"two checks are named {new.name}")
    CHECKS[new.name] = new


def check(
    name: str, source: str, *, denied: Sequence[Denial] = (), traps: str | None = None
) -> Callable[[Callable[[Program], None]], Callable[[Program], None]]:
    """Makes a function a check. Its docstring is the rule."""

    def register(build: Callable[[Program], None]) -> Callable[[Program], None]:
        _add(Check(name, _rule(build), source, build, frozenset(denied), traps))
        return build

    return register


def family_checks(
    name: str, source: str, *, families: Sequence[Family] = BOTH, traps: str | None = None
) -> Callable[[Callable[[Program, Family], None]], Callable[[Program, Family], None]]:
    """Makes a function a check for each IP version."""

    def register(build: Callable[[Program, Family], None]) -> Callable[[Program, Family], None]:
        for family in families:

            def one(program: Program, family: Family = family) -> None:
                build(program, family)

            builder = cast(Callable[[Program], None], one)
            _add(Check(f"{name}/{family}", _rule(build), source, builder, traps=traps))
        return build

    return register


def _rule(build: Callable[..., None]) -> str:
    return " ".join((build.__doc__ or "").split())
