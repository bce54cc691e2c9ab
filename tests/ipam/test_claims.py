"""What keeps two replicas from giving out one number: the argument of the module's docstring, step by step."""

import pytest

from controllers.ipam.claims import (
    FRESH_SECONDS,
    REQUEST_SECONDS,
    RESPECT_SECONDS,
    SEEN_SECONDS,
    Book,
    Section,
    Stash,
    decoded,
    encoded,
)

# The longest life of a request (IP-8).
LIFE = 34.0


def nothing(number: int) -> bool:
    return False


def claim(stash: Stash, book: Book, *wanted: int, at: float) -> Book:
    """A refill that is written."""
    stash.learn(book, at)
    made = stash.with_claims(book, wanted, at)
    stash.granted(wanted, at)
    return made


def test_constants_add_up() -> None:
    """Handed out at the last moment, then again at the last moment, then a request of full length: still respected."""
    assert REQUEST_SECONDS > LIFE
    assert 2 * FRESH_SECONDS + REQUEST_SECONDS < RESPECT_SECONDS


@pytest.mark.parametrize(
    "book",
    [Book(), Book({"a": Section(1, ())}), Book({"a": Section(2**40, (30080, 2**128 - 1)), "b": Section(1, (7,))})],
)
def test_book_as_text(book: Book) -> None:
    assert decoded(encoded(book)) == book


@pytest.mark.parametrize(
    "text", ["", "{}", "null", "[]", "{", "7", '{"a": {}}', '{"a": {"sequence": 1, "numbers": 7}}']
)
def test_spoilt_book_is_empty(text: str) -> None:
    assert decoded(text) == Book()


def test_fresh_ones_are_handed_out_while_the_claim_is_young() -> None:
    stash = Stash("a")
    book = claim(stash, Book(), 1, 2, at=100.0)
    claim(stash, book, 3, at=110.0)
    assert stash.fresh(110.0) == [1, 2, 3]
    assert stash.fresh(100.0 + FRESH_SECONDS - 0.1) == [1, 2, 3]
    assert stash.fresh(100.0 + FRESH_SECONDS) == [3]
    assert (stash.claimed(1), stash.claimed(3)) == (False, True)


def test_claim_counts_from_when_it_was_asked_for() -> None:
    """Others may have seen the section long before we knew that it was written."""
    stash = Stash("a")
    stash.learn(Book(), 100.0)
    stash.with_claims(Book(), [1], 100.0)
    stash.granted([1], 100.0)
    assert stash.fresh(100.0 + FRESH_SECONDS) == []


def test_repeated_call_is_given_the_same() -> None:
    """IP-74."""
    stash = Stash("a")
    claim(stash, Book(), 1, 2, 3, at=0.0)
    stash.give(2, "a/web", 1.0)
    stash.give(1, "a/web", 1.0)
    stash.give(3, "a/other", 1.0)
    assert stash.given("a/web", 2.0) == [2, 1]
    assert stash.given("a/none", 2.0) == []
    assert stash.fresh(2.0) == []
    stash.give(2, "a/web", 20.0)
    assert stash.given("a/web", 20.0) == [2, 1]


def test_repeated_call_begins_a_new_life_but_not_for_ever() -> None:
    """Another request for the same Service may last after the first one has ended: the number is kept for it."""
    stash = Stash("a")
    claim(stash, Book(), 1, at=0.0)
    last = FRESH_SECONDS - 0.1
    stash.give(1, "a/web", last)
    again = last + FRESH_SECONDS - 0.1
    assert stash.given("a/web", again) == [1]
    stash.give(1, "a/web", again)
    assert stash.given("a/web", last + FRESH_SECONDS) == []
    stash.sweep(again + LIFE, nothing)
    assert stash.claimed(1)
    assert again + LIFE < RESPECT_SECONDS
    stash.sweep(again + REQUEST_SECONDS, nothing)
    assert not stash.claimed(1)


def test_dropped_one_is_not_handed_out() -> None:
    stash = Stash("a")
    claim(stash, Book(), 1, 2, at=0.0)
    stash.drop(1)
    stash.drop(7)
    assert stash.fresh(0.0) == [2]


def test_sweep_forgets_what_all_can_see_in_use() -> None:
    stash = Stash("a")
    claim(stash, Book(), 1, 2, at=0.0)
    stash.give(1, "a/web", 0.0)
    stash.give(2, "a/web", 0.0)
    stash.sweep(1.0, {1}.__contains__)
    # Seen once is seen: a Service that goes at once frees its number soon.
    stash.sweep(1.0 + SEEN_SECONDS - 0.1, nothing)
    assert stash.claimed(1)
    stash.sweep(1.0 + SEEN_SECONDS, nothing)
    assert (stash.claimed(1), stash.claimed(2)) == (False, True)
    assert stash.given("a/web", 6.0) == [2]
    stash.sweep(REQUEST_SECONDS, nothing)
    assert stash.given("a/web", REQUEST_SECONDS) == []
    assert not stash.claimed(2)


def test_in_flight_of_a_namespace() -> None:
    stash = Stash("a")
    claim(stash, Book(), 1, 2, 3, at=0.0)
    for number, key in ((1, "a/web#1"), (2, "a/other"), (3, "ab/web")):
        stash.give(number, key, 0.0)
    assert stash.in_flight("a", {2}.__contains__) == [(1, "a/web#1")]
    assert stash.in_flight("a", nothing) == [(1, "a/web#1"), (2, "a/other")]


def test_others_are_respected_until_seen_unchanged_for_long() -> None:
    """By our own clock, from when we saw it: how old it was then is not known."""
    ours, book = Stash("b"), claim(Stash("a"), Book(), 1, 2, at=7e5)
    ours.learn(book, -50.0)
    assert ours.claimed(1)
    assert ours.others == {1, 2}
    ours.learn(book, -50.0 + RESPECT_SECONDS - 0.1)
    assert ours.claimed(1)
    ours.learn(book, -50.0 + RESPECT_SECONDS)
    assert not ours.claimed(1)
    # What counts no more is left out when we write.
    assert set(ours.with_claims(book, [1], -50.0 + RESPECT_SECONDS).sections) == {"b"}


def test_change_is_a_sign_of_life() -> None:
    theirs, ours = Stash("a"), Stash("b")
    first = claim(theirs, Book(), 1, at=0.0)
    ours.learn(first, 0.0)
    theirs.give(1, "a/web", 0.0)
    second = claim(theirs, first, 2, at=20.0)
    assert second.sections["a"].sequence > first.sections["a"].sequence
    ours.learn(second, 80.0)
    ours.learn(second, 80.0 + RESPECT_SECONDS - 0.1)
    assert ours.others == {1, 2}
    assert set(ours.with_claims(second, [3], 81.0).sections) == {"a", "b"}
    ours.learn(second, 80.0 + RESPECT_SECONDS)
    assert ours.others == set()


def test_section_has_all_that_we_hold_and_no_more() -> None:
    stash = Stash("a")
    book = claim(stash, Book(), 1, 2, 3, at=0.0)
    stash.give(1, "a/web", 1.0)
    book = claim(stash, book, 4, 1, at=10.0)
    assert book.sections["a"] == Section(2, (1, 2, 3, 4))
    # What was given stays given.
    assert stash.fresh(10.0) == [2, 3, 4]
    book = claim(stash, book, 5, at=35.0)
    assert book.sections["a"] == Section(3, (1, 4, 5))
    stash.sweep(45.0, nothing)
    assert claim(stash, book, at=45.0).sections["a"] == Section(4, (5,))


def test_sequence_rises_after_our_section_was_dropped() -> None:
    """We were idle; others dropped it. One that remembers how we were must see that we have changed."""
    ours, third = Stash("a"), Stash("c")
    first = claim(ours, Book(), 1, at=0.0)
    third.learn(first, 0.0)
    second = Book({"b": Section(1, (7,))})
    third.learn(second, 109.0)
    again = claim(ours, second, 1, at=200.0)
    assert again.sections["a"].sequence > first.sections["a"].sequence
    third.learn(again, 200.0)
    assert third.claimed(1)


def test_sequence_rises_above_what_the_book_says() -> None:
    """A write without an answer has been carried out, and another under our name."""
    stash = Stash("a")
    stash.learn(Book(), 0.0)
    stash.with_claims(Book(), [1], 0.0)
    assert claim(stash, Book({"a": Section(9, (1,))}), 2, at=1.0).sections["a"] == Section(10, (2,))
    assert claim(stash, Book(), 3, at=2.0).sections["a"].sequence == 11


def test_sections_that_have_gone_are_remembered() -> None:
    """Somebody deleted the Lease, or spoilt the annotation, while requests were under way."""
    ours, book = Stash("b"), claim(Stash("a"), Book(), 1, at=0.0)
    ours.learn(book, 0.0)
    ours.learn(Book(), 10.0)
    assert ours.claimed(1)
    # Not written for them: nobody could tell any more when they end.
    assert set(ours.with_claims(Book(), [2], 10.0).sections) == {"b"}
    ours.learn(Book(), RESPECT_SECONDS)
    assert not ours.claimed(1)
    # It was no more than idle.
    ours.learn(book, 300.0)
    assert ours.claimed(1)


def test_owner_hands_out_nothing_that_the_book_does_not_show() -> None:
    stash = Stash("a")
    claim(stash, Book(), 1, 2, 3, at=0.0)
    stash.give(1, "a/web", 1.0)
    stash.learn(Book({"a": Section(1, (1, 3))}), 2.0)
    assert stash.fresh(2.0) == [3]
    stash.learn(Book(), 2.0)
    assert stash.fresh(2.0) == []
    # A request has it: it is claimed again with the next write.
    assert stash.claimed(1)
    assert stash.with_claims(Book(), [2], 2.0).sections["a"].numbers == (1, 2)
