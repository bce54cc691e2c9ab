"""Numbers set aside, so that no two replicas choose the same one while a request is under way (IP-58, IP-74).

A replica claims numbers by the batch, ahead of need, in a book that all replicas share: one object of the API server
for each kind of number, changed by compare-and-swap. A request then takes from what was claimed without a write. That
is instead of one Lease for each candidate (two writes a request, as many as the Service itself takes).

Safe without synchronised clocks: the owner hands a number out only for `FRESH_SECONDS` after it asked for the claim;
the same request, or another for the same Service, may be given it again for as long after that; the last of them has
ended `REQUEST_SECONDS` later (IP-8); and others respect a section of the book until they have seen it unchanged, by
their own clock, for longer than all three together. A section that has gone before (somebody spoilt the book, or
deleted it) is respected as long, and its owner hands out nothing that the book does not show any more. What remains is
a replica that has not looked at the book since, such as one that starts just then: it knows of nothing.
"""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec
from msgspec import Struct

FRESH_SECONDS: Final = 30.0
REQUEST_SECONDS: Final = 40.0
RESPECT_SECONDS: Final = 110.0
# A number that was taken stays claimed until other replicas' caches have surely seen it, too.
SEEN_SECONDS: Final = 5.0


class Section(Struct, frozen=True):
    """What one replica has claimed; `sequence` rises with each of its changes."""

    sequence: int
    numbers: tuple[int, ...]


class Book(Struct, frozen=True):
    """All claims on numbers of one kind, by replica."""

    sections: dict[str, Section] = {}


def encoded(book: Book) -> str:
    """The book as it is kept in an annotation."""
    return msgspec.json.encode(book.sections).decode()


def decoded(text: str) -> Book:
    """The book from an annotation; one that somebody has spoilt counts as empty."""
    try:
        return Book(msgspec.json.decode(text or "{}", type=dict[str, Section]))
    except msgspec.MsgspecError:
        return Book()


class _Given(Struct):
    key: str
    # When it was claimed, when it was given, and when last, to the same.
    claimed: float
    at: float
    last: float
    # When a cache of ours first showed that it is in use.
    seen: float | None = None


class Stash:
    """What this replica has claimed of one kind of number. `now` is monotonic, in seconds; `me` is its identity."""

    def __init__(self, me: str) -> None:
        self.me = me
        self._fresh: dict[int, float] = {}
        self._given: dict[int, _Given] = {}
        self._by_key: dict[str, list[int]] = {}
        self._sequence = 0
        self._observed: dict[str, tuple[Section, float]] = {}
        self._others: frozenset[int] = frozenset()
        self._mine: frozenset[int] = frozenset()

    @property
    def others(self) -> frozenset[int]:
        """What other replicas have set aside, as far as we know."""
        return self._others

    def claimed(self, number: int) -> bool:
        """Whether any replica, this one included, has set it aside."""
        return number in self._fresh or number in self._given or number in self._others

    def fresh(self, now: float) -> list[int]:
        """What may still be handed out; what has come back comes last."""
        self._fresh = {number: at for number, at in self._fresh.items() if now - at < FRESH_SECONDS}
        return list(self._fresh)

    def given(self, key: str, now: float) -> list[int]:
        """What the request of this key was given before, if that is still set aside: a repeated call (IP-74).

        What of it is used is to be told by `give`, as what is fresh.
        """
        return [each for each in self._by_key.get(key, ()) if now - self._given[each].at < FRESH_SECONDS]

    def give(self, number: int, key: str, now: float) -> None:
        """Hands a fresh number to a request, or one that it was given before."""
        before = self._given.get(number)
        if before is not None:
            before.last = now
            return
        self._given[number] = _Given(key, self._fresh.pop(number), now, now)
        self._by_key.setdefault(key, []).append(number)

    def drop(self, number: int) -> None:
        """Forgets a fresh number that turned out to be in use, or not to be wanted."""
        self._fresh.pop(number, None)

    def in_flight(self, namespace: str, used: Callable[[int], bool]) -> list[tuple[int, str]]:
        """What requests of a Namespace were given and no cache shows yet, each with its key."""
        start = f"{namespace}/"
        return [(n, each.key) for n, each in self._given.items() if each.key.startswith(start) and not used(n)]

    def sweep(self, now: float, used: Callable[[int], bool]) -> None:
        """Forgets what is in use for all to see, or was given to a request that must have ended."""
        for number, given in list(self._given.items()):
            if given.seen is None and used(number):
                given.seen = now
            settled = given.seen is not None and now - given.seen >= SEEN_SECONDS
            if settled or now - given.last >= REQUEST_SECONDS:
                self._settle(number, given)

    def noticed(self, number: int, now: float, *, used: bool, keep: int = 0) -> None:
        """A cache has just shown that a number is in use, or is not any more.

        One that was given, used and given back is done with at once: whoever takes it next cannot be mistaken, however
        late its cache is. That counts where a pool is nearly full. Up to `keep` fresh numbers, it is ours to give again
        while the claim lasts: the book shows it as ours all the time.
        """
        given = self._given.get(number)
        if given is None:
            return
        if used:
            given.seen = given.seen or now
        elif given.seen is not None:
            self._settle(number, given)
            if number in self._mine and len(self._fresh) < keep and now - given.claimed < FRESH_SECONDS:
                self._fresh[number] = given.claimed

    def _settle(self, number: int, given: _Given) -> None:
        del self._given[number]
        keyed = [each for each in self._by_key.get(given.key, ()) if each != number]
        if keyed:
            self._by_key[given.key] = keyed
        else:
            self._by_key.pop(given.key, None)

    def superfluous(self, book: Book, now: float) -> bool:
        """Whether our section of the book names what we have no use for any more."""
        mine = book.sections.get(self.me)
        return mine is not None and not {*self._given, *self.fresh(now)}.issuperset(mine.numbers)

    def learn(self, book: Book, now: float) -> None:
        """Takes note of what others have claimed; sections that nobody has changed for long count no more."""
        # One that has gone is remembered as it was.
        observed = {each: seen for each, seen in self._observed.items() if now - seen[1] < RESPECT_SECONDS}
        for replica, section in book.sections.items():
            if replica != self.me:
                before, since = self._observed.get(replica, (section, now))
                observed[replica] = section, since if before.sequence == section.sequence else now
        respected = [section.numbers for section, since in observed.values() if now - since < RESPECT_SECONDS]
        self._observed, self._others = observed, frozenset(number for numbers in respected for number in numbers)
        self._mine = frozenset(book.sections[self.me].numbers if self.me in book.sections else ())
        self._fresh = {number: at for number, at in self._fresh.items() if number in self._mine}

    def with_claims(self, book: Book, wanted: Iterable[int], now: float) -> Book:
        """The book with `wanted` in our section beside what we still hold, without the sections that count no more.

        `learn` must have been told of `book` first.
        """
        self._sequence = max(self._sequence, book.sections[self.me].sequence if self.me in book.sections else 0) + 1
        sections = {
            replica: section
            for replica, section in book.sections.items()
            if replica != self.me and now - self._observed[replica][1] < RESPECT_SECONDS
        }
        numbers = dict.fromkeys([*self._given, *self.fresh(now), *wanted])
        sections[self.me] = Section(self._sequence, tuple(numbers))
        return Book(sections)

    def granted(self, wanted: Iterable[int], asked_at: float) -> None:
        """The book was written: what was wanted is ours, counted from when we asked."""
        wanted = tuple(wanted)
        self._mine = self._mine.union(wanted)
        self._fresh.update({number: asked_at for number in wanted if number not in self._given})
