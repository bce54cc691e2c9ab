"""Sets of numbers as sorted, disjoint intervals: the addresses of a pool and its ports, however large.

An address is an `int` beside its family; a /64 has as many as a /24 takes lines, so nothing here ever lists them.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
    summarize_address_range,
)
from typing import Final, NamedTuple

IPV4: Final = "IPv4"
IPV6: Final = "IPv6"
# Above this prefix length alone the API server allocates IPv6 (IP-12).
_LEAST_IPV6_PREFIX: Final = 64


class Span(NamedTuple):
    """All numbers from `first` to `last`, both included."""

    first: int
    last: int


class Spans:
    """An immutable set of numbers. Its size is a number too: an IPv6 range has more members than `len` may say."""

    __slots__ = ("_firsts", "_offsets", "size", "spans")

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        """`spans` may overlap and come in any order; those with last < first are empty."""
        merged: list[Span] = []
        for span in sorted(each for each in spans if each.first <= each.last):
            if merged and span.first <= merged[-1].last + 1:
                merged[-1] = Span(merged[-1].first, max(merged[-1].last, span.last))
            else:
                merged.append(span)
        self.spans = tuple(merged)
        self._firsts = [span.first for span in merged]
        self._offsets: list[int] = []
        size = 0
        for span in merged:
            self._offsets.append(size)
            size += span.last - span.first + 1
        self.size = size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spans) and self.spans == other.spans

    def __hash__(self) -> int:
        return hash(self.spans)

    def __repr__(self) -> str:
        return f"Spans({list(self.spans)})"

    def __bool__(self) -> bool:
        return bool(self.spans)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self.spans[at].last

    def __iter__(self) -> Iterator[int]:
        return (number for span in self.spans for number in range(span.first, span.last + 1))

    def nth(self, index: int) -> int:
        """The number at this place, counted from 0 in ascending order. Raises IndexError outside 0 … size-1."""
        if not 0 <= index < self.size:
            raise IndexError(index)
        at = bisect_right(self._offsets, index) - 1
        return self.spans[at].first + index - self._offsets[at]

    def count_within(self, numbers: Iterable[int]) -> int:
        """How many of these numbers are members."""
        return sum(number in self for number in numbers)

    def union(self, other: "Spans") -> "Spans":
        """What is in either."""
        return Spans([*self.spans, *other.spans])

    def minus(self, other: "Spans") -> "Spans":
        """What is in this one and not in the other."""
        left: list[Span] = []
        for span in self.spans:
            start = span.first
            for hole in other.spans:
                if hole.last < start or hole.first > span.last:
                    continue
                left.append(Span(start, hole.first - 1))
                start = hole.last + 1
            left.append(Span(start, span.last))
        return Spans(left)

    def overlap(self, other: "Spans") -> "Spans":
        """What is in both."""
        return self.minus(self.minus(other))


NONE: Final = Spans()


class Addresses(NamedTuple):
    """A set of IP addresses, by family."""

    ipv4: Spans = NONE
    ipv6: Spans = NONE

    def of(self, family: str) -> Spans:
        """The addresses of "IPv4" or "IPv6"."""
        return self.ipv4 if family == IPV4 else self.ipv6

    def holds(self, text: str) -> bool:
        """Whether this address (canonical text) is a member; what is no address is not."""
        found = parsed(text)
        return found is not None and found[1] in self.of(found[0])

    def union(self, other: "Addresses") -> "Addresses":
        """What is in either."""
        return Addresses(self.ipv4.union(other.ipv4), self.ipv6.union(other.ipv6))

    def minus(self, other: "Addresses") -> "Addresses":
        """What is in this one and not in the other."""
        return Addresses(self.ipv4.minus(other.ipv4), self.ipv6.minus(other.ipv6))

    def overlap(self, other: "Addresses") -> "Addresses":
        """What is in both."""
        return Addresses(self.ipv4.overlap(other.ipv4), self.ipv6.overlap(other.ipv6))

    @property
    def families(self) -> tuple[str, ...]:
        """The families of which there is any address, IPv4 first."""
        return tuple(family for family in (IPV4, IPV6) if self.of(family))


NOWHERE: Final = Addresses()


def number_of(text: str) -> tuple[str, int]:
    """The family of an address and its number. Raises ValueError when it is none."""
    address = ip_address(text)
    return (IPV4 if address.version == 4 else IPV6), int(address)


def parsed(text: str) -> tuple[str, int] | None:
    """The same, and None for what is no address."""
    try:
        return number_of(text)
    except ValueError:
        return None


def text_of(family: str, number: int) -> str:
    """The address in canonical text."""
    return str(IPv4Address(number) if family == IPV4 else IPv6Address(number))


def family_of(text: str) -> str:
    """ "IPv4" or "IPv6", by its looks alone."""
    return IPV6 if ":" in text else IPV4


def network(text: str) -> tuple[str, Span]:
    """All addresses of a CIDR, also those that no Service can have. Raises ValueError."""
    found = ip_network(text)
    return (IPV4 if found.version == 4 else IPV6), Span(int(found.network_address), int(found.broadcast_address))


def usable(text: str) -> tuple[str, Span]:
    """The addresses of a ServiceCIDR that Services can have: not the network's, nor IPv4's broadcast (IP-13)."""
    family, span = network(text)
    return family, Span(span.first + 1, span.last - (family == IPV4))


def usable_span(cidr: str) -> list[tuple[str, Span]]:
    """The addresses that the API server allocates from a ServiceCIDR's range: none if it can use it for nothing."""
    try:
        family, whole = network(cidr)
        if family == IPV6 and whole.last - whole.first >= 1 << (128 - _LEAST_IPV6_PREFIX):
            return []
        return [usable(cidr)]
    except ValueError:
        return []


def static_band(text: str) -> int:
    """How many of a ServiceCIDR's first usable addresses the API server picks last by itself (IP-14)."""
    _, span = network(text)
    size = span.last - span.first + 1
    return 0 if size <= 16 or size >= 1 << 127 or text.endswith(("/0", "/1")) else min(max(16, size // 16), 256)


def static_ports(first: int, last: int) -> int:
    """How many of a node port range's first ports the API server picks last by itself (IP-38)."""
    size = last - first + 1
    return 0 if size <= 16 else min(max(16, size // 32), 128)


def addresses_of(spans: Iterable[tuple[str, Span]]) -> Addresses:
    """The set of these ranges, each with its family."""
    by_family: dict[str, list[Span]] = {IPV4: [], IPV6: []}
    for family, span in spans:
        by_family[family].append(span)
    return Addresses(Spans(by_family[IPV4]), Spans(by_family[IPV6]))


def cidrs(addresses: Addresses) -> list[str]:
    """The fewest CIDRs that hold exactly these addresses: what a policy's CEL can test for (IP-65)."""
    nets: list[IPv4Network | IPv6Network] = []
    for span in addresses.ipv4.spans:
        nets += summarize_address_range(IPv4Address(span.first), IPv4Address(span.last))
    for span in addresses.ipv6.spans:
        nets += summarize_address_range(IPv6Address(span.first), IPv6Address(span.last))
    return [str(each) for each in nets]


def shown(family: str, spans: Spans) -> str:
    """For people: `10.96.0.16-10.96.0.31, 10.96.0.40`."""
    return ", ".join(
        text_of(family, span.first)
        if span.first == span.last
        else f"{text_of(family, span.first)}-{text_of(family, span.last)}"
        for span in spans.spans
    )


def texts(addresses: Addresses) -> str:
    """The same of both families."""
    return ", ".join(shown(family, addresses.of(family)) for family in addresses.families)
