"""What a guest is told when its host does not allow something."""

from wasi_sockets.conformance.check import check
from wasi_sockets.conformance.checks.names import outcome
from wasi_sockets.conformance.program import IPV4, IPV6, Program


def _no_socket(p: Program, kind: str) -> None:
    for family in (IPV4, IPV6):
        p.emit(f"(call ${kind}.create (i32.const {int(family)}) (i32.const 16))")
        p.expect(f"create-{kind}-socket({family})", "(call $outcome (i32.const 4))", ("access-denied",))


@check("denied/tcp", "wasmtime p2_cli_no_tcp", denied=["tcp"])
def no_tcp(p: Program) -> None:
    """Without TCP, create-tcp-socket gives access-denied."""
    _no_socket(p, "tcp")


@check("denied/udp", "wasmtime p2_cli_no_udp", denied=["udp"])
def no_udp(p: Program) -> None:
    """Without UDP, create-udp-socket gives access-denied."""
    _no_socket(p, "udp")


@check("denied/ip-name-lookup", "wasmtime p2_cli_no_ip_name_lookup", denied=["ip-name-lookup"])
def no_ip_name_lookup(p: Program) -> None:
    """Without name lookup, names give permanent-resolver-failure."""
    outcome(p, "example.com", "permanent-resolver-failure")


@check("denied/ip-name-lookup-localhost", "wasmtime p2_cli_no_ip_name_lookup", denied=["ip-name-lookup"])
def no_localhost(p: Program) -> None:
    """Without name lookup, localhost gives permanent-resolver-failure too."""
    outcome(p, "localhost", "permanent-resolver-failure")
