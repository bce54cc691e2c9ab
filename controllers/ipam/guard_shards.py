"""How the guards' entries are spread over policies: so many in each (IP-64), and few of them change with one entry."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, TypeVar
from zlib import crc32

from controllers.ipam.guard_rules import AddressRegion, PortRegion
from controllers.ipam.ranges import IPV4, IPV6, Spans, cidrs, family_of, number_of

# Ranges, names or grandfathered Services of one policy. Each has up to 200 characters, and an expression of CEL at
# most 100,000.
LIMIT: Final = 256
# Where entries are counted by their characters, some hundreds of them.
CHARACTERS: Final = 48_000
_MOST: Final = 1 << 14
_LONGEST_STEM: Final = 150

K = TypeVar("K", str, int)
V = TypeVar("V")
Held = tuple[str, str]
Networks = Sequence[IPv4Network | IPv6Network]


def chunks(entries: Sequence[K]) -> list[Sequence[K]]:
    """The entries in order, so many at a time; one empty chunk when there are none."""
    return [entries[at : at + LIMIT] for at in range(0, max(len(entries), 1), LIMIT)]


def buckets(
    entries: Mapping[K, V], weight: Callable[[K, V], int], most: int = CHARACTERS
) -> list[tuple[str, dict[K, V]]]:
    """The entries by a hash of their key, each bucket with a suffix for its name that tells how many buckets there are.

    `weight` is about how many characters an entry takes, `most` how many a bucket may have. An entry that comes or goes
    changes one bucket, unless their number, a power of two, changes too.
    """
    count = 1
    while True:
        found: list[dict[K, V]] = [{} for _ in range(count)]
        for key, value in sorted(entries.items(), key=lambda item: item[0]):
            found[crc32(str(key).encode()) % count][key] = value
        # One entry that is too much by itself cannot be helped here.
        if count == _MOST or all(len(e) < 2 or sum(weight(*item) for item in e.items()) <= most for e in found):
            return [(f"{at}-of-{count}", some) for at, some in enumerate(found) if some]
        count *= 2


def stem(region: AddressRegion | PortRegion) -> str:
    """A part of a name that stays the same as long as the same pools make the region, whatever others there are."""
    names = [each.pool.name for each in region.entitled]
    if len(names) == 1 and len(names[0]) <= _LONGEST_STEM:
        return names[0]
    return f"{names[0][:_LONGEST_STEM].rstrip('.-')}-{sha256(' '.join(names).encode()).hexdigest()[:8]}"


def address_parts(region: AddressRegion) -> Iterator[tuple[list[str], list[Held]]]:
    """A region in parts of so many CIDRs and grandfathered entries at most."""
    networks: list[str] = []
    held: list[Held] = []
    for network, inside in _pieces(region):
        if networks and (len(networks) == LIMIT or len(held) + len(inside) > LIMIT):
            yield networks, held
            networks, held = [], []
        networks = [*networks, network]
        held = [*held, *inside]
    if networks:
        yield networks, held


def port_parts(region: PortRegion) -> list[Spans]:
    """A region in parts of so many ranges at most."""
    spans = region.ports.spans
    return [Spans(spans[at : at + LIMIT]) for at in range(0, len(spans), LIMIT)]


def _pieces(region: AddressRegion) -> Iterator[tuple[str, Sequence[Held]]]:
    """The CIDRs of a region, halved while more Services are grandfathered in one than a policy takes."""
    held = {family: [e for e in region.grandfathered if family_of(e[0]) == family] for family in (IPV4, IPV6)}
    numbers = {family: [number_of(address)[1] for address, _ in each] for family, each in held.items()}
    left = [ip_network(each) for each in reversed(cidrs(region.addresses))]
    while left:
        network = left.pop()
        family = IPV4 if network.version == 4 else IPV6
        first = bisect_left(numbers[family], int(network.network_address))
        last = bisect_left(numbers[family], int(network.broadcast_address) + 1)
        if last - first > LIMIT and network.prefixlen < network.max_prefixlen:
            left += reversed(list(network.subnets()))
        else:
            yield str(network), held[family][first:last]
