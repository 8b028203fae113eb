"""Looking up names."""

from wasi_sockets.conformance.check import check
from wasi_sockets.conformance.program import ANY, IPV4, IPV6, LOOPBACK, Handle, Ip, Pollable, Program

UPSTREAM = "wasmtime p2_ip_name_lookup"
WIT = "wasi:sockets/ip-name-lookup"


class Addresses(Handle):
    """`resolve-address-stream`."""

    resource = "resolve-address-stream"

    def __init__(self, program: Program, name: str) -> None:
        place = program.constant(name.encode() or b"\0")
        size = len(name.encode())
        program.expect(
            f"resolve-addresses({name!r})", f"(call $resolve (i32.const {place}) (i32.const {size}))"
        )
        super().__init__(program, "(i32.load (i32.const 20))")

    def subscribe(self) -> Pollable:
        """Its pollable."""
        return Pollable(self.program, f"(call $addresses.subscribe {self.code})")

    def next(self, ip: Ip | None) -> None:
        """Steps: this address is next; None: there are no more."""
        program = self.program
        program.expect(f"{self.name}.resolve-next-address", f"(call $next-address {self.code})")
        program.equal("whether there is one", "(i64.load8_u (i32.const 18))", int(ip is not None))
        if ip is None:
            return
        program.equal("its IP version", "(i64.load8_u (i32.const 20))", int(ip.family))
        width = 1 if ip.family is IPV4 else 2
        packed = b"".join(part.to_bytes(width, "little") for part in ip.parts)
        place = program.constant(packed)
        program.equal(
            f"it is {ip}",
            f"(call $same-bytes (i32.const 22) (i32.const {place}) (i32.const {len(packed)}))",
            1,
        )


def outcome(p: Program, name: str, *outcomes: str) -> None:
    """A step: looking this name up comes to one of `outcomes`."""
    place, size = p.constant(name.encode() or b"\0"), len(name.encode())
    p.expect(f"looking up {name!r}", f"(call $look-up (i32.const {place}) (i32.const {size}))", outcomes)


def _invalid(name: str, text: str, about: str) -> None:
    def invalid(p: Program) -> None:
        outcome(p, text, "invalid-argument")

    invalid.__doc__ = f"{about} is no name: invalid-argument."
    check(f"names/invalid-{name}", UPSTREAM)(invalid)


def _reads_as(name: str, text: str, ip: Ip, source: str = UPSTREAM) -> None:
    def literal(p: Program) -> None:
        addresses = Addresses(p, text)
        addresses.next(ip)
        addresses.next(None)

    literal.__doc__ = f'The name "{text}" is the address {ip}, and no other.'
    check(f"names/literal-{name}", source)(literal)


_reads_as("ipv4", "127.0.0.1", LOOPBACK[IPV4])
_reads_as("ipv4-unspecified", "0.0.0.0", ANY[IPV4])
_reads_as("ipv4-foreign", "192.0.2.0", Ip(IPV4, (192, 0, 2, 0)))
_reads_as("ipv6-loopback", "::1", LOOPBACK[IPV6])
_reads_as("ipv6-unspecified", "::", ANY[IPV6])
_reads_as("ipv6-brackets", "[::]", ANY[IPV6])
_reads_as("ipv6-long", "2001:0db8:0:0:0:0:0:0", Ip(IPV6, (0x2001, 0xDB8, 0, 0, 0, 0, 0, 0)))
_reads_as("ipv6-short", "dead:beef::", Ip(IPV6, (0xDEAD, 0xBEEF, 0, 0, 0, 0, 0, 0)))
_reads_as("ipv6-shorter", "dead:beef::0", Ip(IPV6, (0xDEAD, 0xBEEF, 0, 0, 0, 0, 0, 0)))
_reads_as("ipv6-upper-case", "DEAD:BEEF::0", Ip(IPV6, (0xDEAD, 0xBEEF, 0, 0, 0, 0, 0, 0)))

_invalid("empty", "", "The empty text")
_invalid("space", " ", "A space")
_invalid("characters", "a.b<&>", "A text with characters that no host name has")
_invalid("ipv4-port", "127.0.0.1:80", "An IPv4 address with a port")
_invalid("ipv6-port", "[::]:80", "An IPv6 address with a port")
_invalid("url", "http://example.com/", "A URL")


@check("names/localhost", UPSTREAM)
def localhost(p: Program) -> None:
    """localhost is a name with a loopback address of either IP version."""
    addresses = Addresses(p, "localhost")
    p.expect("resolve-next-address", f"(call $next-address {addresses.code})")
    p.equal("whether there is one", "(i64.load8_u (i32.const 18))", 1)
    six = p.constant(b"".join(part.to_bytes(2, "little") for part in LOOPBACK[IPV6].parts))
    p.equal(
        "whether it is 127.x.x.x or ::1",
        "(if (result i64) (i32.eqz (i32.load8_u (i32.const 20)))"
        " (then (i64.extend_i32_u (i32.eq (i32.load8_u (i32.const 22)) (i32.const 127))))"
        f" (else (call $same-bytes (i32.const 22) (i32.const {six}) (i32.const 16))))",
        1,
    )


@check("names/unknown", f"{WIT}: name-unresolvable, temporary-resolver-failure")
def unknown(p: Program) -> None:
    """A name that nobody has (RFC 6761: .invalid) fails with a code for names."""
    outcome(
        p, "nobody.invalid", "name-unresolvable", "temporary-resolver-failure", "permanent-resolver-failure"
    )


@check("names/end-again", f"{WIT} resolve-next-address: none at the end")
def end_again(p: Program) -> None:
    """After the last address there are no more, however often one asks."""
    addresses = Addresses(p, "127.0.0.1")
    addresses.next(LOOPBACK[IPV4])
    addresses.next(None)
    addresses.next(None)


@check("names/pollable", f"{WIT} subscribe")
def pollable(p: Program) -> None:
    """The pollable of a look-up becomes ready, and then the answer is there."""
    addresses = Addresses(p, "127.0.0.1")
    addresses.subscribe().wait()
    addresses.next(LOOPBACK[IPV4])


@check("names/several-at-once", f"{WIT} resolve-addresses: each result is its own")
def several_at_once(p: Program) -> None:
    """Two look-ups at a time do not disturb each other."""
    one, two = Addresses(p, "127.0.0.1"), Addresses(p, "::1")
    two.next(LOOPBACK[IPV6])
    one.next(LOOPBACK[IPV4])
    two.next(None)
    one.next(None)
