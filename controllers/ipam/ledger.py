"""Who holds which number, from live Services and IPAddress objects: rebuilt from the caches, never stored (IP-59).

An address is held while a Service lists it or an IPAddress object bears its name (IP-19); a node port while a Service
has it. All of it runs on one event loop: no locks.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterator
from typing import Final

from controllers.ipam.objects import Address, Service
from controllers.ipam.ranges import IPV4, Spans, number_of, parsed

# So many numbers are remembered after they were given back, for cool-downs and for "least recently used".
_REMEMBERED: Final = 100_000
_NOBODY: Final[dict[str, None]] = {}


class Holdings:
    """Numbers of one kind, with the Services (`namespace/name`) that hold each, and when they were given back."""

    def __init__(self) -> None:
        self.holders: dict[int, dict[str, None]] = {}
        # Numbers of an object that blocks them, whatever the Services say.
        self.blocked: set[int] = set()
        self.freed: OrderedDict[int, float] = OrderedDict()
        self.by_namespace: dict[str, dict[int, int]] = {}

    def __contains__(self, number: int) -> bool:
        return number in self.holders or number in self.blocked

    def held(self) -> Iterator[int]:
        """Every number that is held or blocked, each once, in no order."""
        yield from self.holders
        yield from (number for number in self.blocked if number not in self.holders)

    def count(self, spans: Spans) -> int:
        """How many of these numbers are held or blocked."""
        return spans.count_within(self.held())

    def of_namespace(self, namespace: str, spans: Spans) -> int:
        """How many of these numbers the Services of a Namespace hold."""
        return spans.count_within(self.by_namespace.get(namespace, ()))

    def take(self, number: int, key: str) -> None:
        """A Service holds a number."""
        holders = self.holders.setdefault(number, {})
        if key not in holders:
            holders[key] = None
            counts = self.by_namespace.setdefault(key.partition("/")[0], {})
            counts[number] = counts.get(number, 0) + 1

    def give_back(self, number: int, key: str, now: float) -> None:
        """A Service does not hold a number any more."""
        holders = self.holders.get(number)
        if holders is None or key not in holders:
            return
        del holders[key]
        namespace = key.partition("/")[0]
        counts = self.by_namespace[namespace]
        counts[number] -= 1
        if not counts[number]:
            del counts[number]
        if not counts:
            del self.by_namespace[namespace]
        if not holders:
            del self.holders[number]
            self._freed(number, now)

    def block(self, number: int) -> None:
        """An object bears this number."""
        self.blocked.add(number)

    def unblock(self, number: int, now: float) -> None:
        """The object has gone."""
        if number in self.blocked:
            self.blocked.discard(number)
            self._freed(number, now)

    def _freed(self, number: int, now: float) -> None:
        if number not in self:
            self.freed[number] = now
            self.freed.move_to_end(number)
            if len(self.freed) > _REMEMBERED:
                self.freed.popitem(last=False)

    def cooling(self, number: int, cooldown: float, now: float) -> bool:
        """Whether it was given back less than `cooldown` seconds ago."""
        at = self.freed.get(number)
        return at is not None and now - at < cooldown


class Ledger:
    """All numbers of the cluster. Fed with changes; `now` is monotonic, in seconds."""

    def __init__(self) -> None:
        self.ipv4 = Holdings()
        self.ipv6 = Holdings()
        self.ports = Holdings()

    def of(self, family: str) -> Holdings:
        """The holdings of "IPv4" or "IPv6"."""
        return self.ipv4 if family == IPV4 else self.ipv6

    def holders(self, address: str) -> Collection[str]:
        """The Services that list this address (canonical text)."""
        family, number = number_of(address)
        return self.of(family).holders.get(number, _NOBODY).keys()

    def port_holders(self, port: int) -> Collection[str]:
        """The Services that have this node port."""
        return self.ports.holders.get(port, _NOBODY).keys()

    def service_changed(self, old: Service | None, new: Service | None, now: float) -> None:
        """A Service came, changed or went."""
        before = numbers_of(old) if old is not None else {}
        after = numbers_of(new) if new is not None else {}
        either = new or old
        if either is None:
            return
        for kind, number in before.keys() - after.keys():
            self._holdings(kind).give_back(number, either.key, now)
        for kind, number in after.keys() - before.keys():
            self._holdings(kind).take(number, either.key)

    def address_changed(self, old: Address | None, new: Address | None, now: float) -> None:
        """An IPAddress came or went."""
        if (old is None) == (new is None):
            return
        found = parsed(new.name if new is not None else old.name if old is not None else "")
        if found is None:
            return
        family, number = found
        if new is not None:
            self.of(family).block(number)
        else:
            self.of(family).unblock(number, now)

    def _holdings(self, kind: str) -> Holdings:
        return self.ports if kind == "port" else self.of(kind)


def numbers_of(service: Service) -> dict[tuple[str, int], None]:
    """Every number that a Service has, each with its kind: "IPv4", "IPv6" or "port"."""
    found = {each: None for each in map(parsed, service.addresses) if each is not None}
    return {**found, **{("port", number): None for number in service.node_ports}}
