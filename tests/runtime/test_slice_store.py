"""Slices: what we have written is known before the watch tells it, and old news changes nothing (D-1)."""

import contextlib
from collections.abc import Callable, Iterator

import pytest

from api.names import SERVICE_NAME_LABEL
from controllers.model.objects import EndpointSlice
from controllers.runtime.written_store import SliceStore
from tests.builders import existing, labelled

Told = list[tuple[str | None, str | None]]


def version(number: int, name: str = "s-1", uid: str = "uid-1", **changes: object) -> EndpointSlice:
    return existing(name, uid=uid, resource_version=str(number), **changes)  # type: ignore[arg-type]


@pytest.fixture
def store() -> SliceStore:
    return SliceStore()


@pytest.fixture
def told(store: SliceStore) -> Told:
    found: Told = []

    def changed(old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        before, after = (each.metadata.resource_version if each is not None else None for each in (old, new))
        found.append((before, after))

    store.subscribe(changed)
    return found


def held(store: SliceStore) -> dict[str, str]:
    return {each.name: each.metadata.resource_version for each in store.all()}


def relist(store: SliceStore, at: int, *listed: EndpointSlice, during: Callable[[], None] | None = None) -> None:
    store.begin_list()
    for each in listed:
        store.put(each)
    if during is not None:
        during()
    store.end_list(at)


@contextlib.contextmanager
def writing(store: SliceStore, record: EndpointSlice) -> Iterator[None]:
    store.write_begins(record)
    try:
        yield
    finally:
        store.write_ends(record)


def test_our_write_is_read_at_once_and_is_no_news(store: SliceStore, told: Told) -> None:
    store.written_by_us(version(10))
    assert [each.metadata.resource_version for each in store.of_service("ns", "s")] == ["10"]
    store.put(version(10))
    assert told == []


@pytest.mark.parametrize("late", [version(9), version(10, generation=2)], ids=["older", "the-same"])
def test_watch_behind_our_write_changes_nothing(store: SliceStore, told: Told, late: EndpointSlice) -> None:
    store.put(version(8))
    store.written_by_us(version(10))
    store.put(late)
    assert held(store) == {"s-1": "10"}
    assert told == [(None, "8")]


def test_versions_compare_as_numbers(store: SliceStore) -> None:
    store.put(version(9))
    store.put(version(10))
    assert held(store) == {"s-1": "10"}


def test_foreign_write_after_ours_is_news(store: SliceStore, told: Told) -> None:
    store.written_by_us(version(10))
    store.put(version(11))
    assert told == [("10", "11")]


def test_our_deletion_stays_whatever_the_watch_still_tells(store: SliceStore, told: Told) -> None:
    store.put(version(8))
    store.deleted_by_us(version(8))
    store.put(version(9))
    assert held(store) == {}
    store.drop(version(10))
    assert told == [(None, "8")]


def test_foreign_deletion_is_news(store: SliceStore, told: Told) -> None:
    store.written_by_us(version(8))
    store.drop(version(9))
    assert told == [("8", None)]
    assert store.of_service("ns", "s") == []


@pytest.mark.parametrize("late", ["put", "drop"])
def test_old_news_does_not_touch_a_slice_made_again_under_the_name(store: SliceStore, late: str) -> None:
    store.put(version(8, uid="first"))
    store.deleted_by_us(version(8, uid="first"))
    store.written_by_us(version(12, uid="second"))
    getattr(store, late)(version(10, uid="first"))
    assert [each.metadata.uid for each in store.all()] == ["second"]


def test_slice_made_again_by_others_is_taken_over(store: SliceStore) -> None:
    store.put(version(8, uid="first"))
    store.deleted_by_us(version(8, uid="first"))
    store.put(version(12, uid="second"))
    assert held(store) == {"s-1": "12"}


def test_service_label_moves_the_slice(store: SliceStore) -> None:
    store.put(version(8))
    store.put(version(9, labels={**labelled(), SERVICE_NAME_LABEL: "t"}))
    assert store.of_service("ns", "s") == []
    assert [each.name for each in store.of_service("ns", "t")] == ["s-1"]


def test_list_older_than_our_create_keeps_it(store: SliceStore) -> None:
    store.put(version(8, "before", uid="before"))
    relist(
        store,
        9,
        version(8, "before", uid="before"),
        during=lambda: store.written_by_us(version(11, "during", uid="during")),
    )
    assert held(store) == {"before": "8", "during": "11"}


@pytest.mark.parametrize("known", [True, False], ids=["updated", "created"])
def test_answer_that_a_list_has_overtaken_brings_nothing_back(store: SliceStore, told: Told, known: bool) -> None:
    """Written by us at 10, deleted by others at 11, listed at 12: no watch will ever tell that it has gone."""
    if known:
        store.put(version(8))
    with writing(store, version(8)):
        relist(store, 12)
        told.clear()
        store.begin_list()
        store.written_by_us(version(10))
        store.end_list(13)
    assert (held(store), store.own_versions) == ({}, set())
    # Whoever wants the slice has to write it again.
    assert told == [("10", None)]
    store.answered(version(10))
    assert held(store) == {}


def test_answer_that_a_list_has_seen_is_as_good_as_any(store: SliceStore) -> None:
    """The list at 12 has it: the answer that comes after it is no news, and the next write's is."""
    with writing(store, version(8)):
        relist(store, 12, version(10))
        store.written_by_us(version(10))
    store.written_by_us(version(14))
    assert (held(store), store.own_versions) == ({"s-1": "14"}, {b"14"})


def test_versions_that_went_back_overtake_nothing(store: SliceStore, told: Told) -> None:
    """etcd restored from a backup: versions begin again below what was known, and so do our writes."""
    store.put(version(100))
    relist(store, 50)
    told.clear()
    store.written_by_us(version(60))
    assert (held(store), told) == ({"s-1": "60"}, [])


def test_list_older_than_our_update_keeps_it(store: SliceStore) -> None:
    store.put(version(8))
    relist(store, 9, version(8), during=lambda: store.written_by_us(version(10)))
    assert held(store) == {"s-1": "10"}


def test_list_newer_than_our_create_drops_it_when_it_has_gone(store: SliceStore, told: Told) -> None:
    store.written_by_us(version(10))
    relist(store, 11)
    assert held(store) == {}
    assert told == [("10", None)]


def test_list_does_not_bring_back_what_we_deleted(store: SliceStore) -> None:
    store.put(version(8))
    store.deleted_by_us(version(8))
    relist(store, 9, version(8))
    assert held(store) == {}
    store.put(version(9))
    assert held(store) == {}, "the list still named it, so its events are still to come"


def test_list_merges(store: SliceStore, told: Told) -> None:
    for name in ("kept", "changed", "gone"):
        store.put(version(5, name, uid=name))
    told.clear()
    listed = [version(5, "kept", uid="kept"), version(7, "changed", uid="changed"), version(6, "new", uid="new")]
    relist(store, 8, *listed)
    assert held(store) == {"kept": "5", "changed": "7", "new": "6"}
    assert sorted(told, key=str) == sorted([("5", "7"), (None, "6"), ("5", None)], key=str)


def test_deletions_are_not_remembered_for_ever(store: SliceStore) -> None:
    """Either order of the watch's DELETED and our answer: afterwards nothing is kept about the slice."""
    store.put(version(1))
    store.deleted_by_us(version(1))
    store.drop(version(2))
    assert store._deleted == set()
    store.put(version(3, uid="uid-2"))
    store.drop(version(4, uid="uid-2"))
    store.deleted_by_us(version(3, uid="uid-2"))
    assert store._deleted == set(), "the watch was faster than the answer: no event is left to clear this"


def test_history_that_went_back_is_believed(store: SliceStore, told: Told) -> None:
    """etcd restored from a backup: what the server lists is what there is, older or not."""
    store.put(version(100))
    store.put(version(101, "s-2", "uid-2"))
    told.clear()
    relist(store, 50, version(40))
    assert held(store) == {"s-1": "40"}
    assert told == [("100", "40"), ("101", None)]


def test_while_we_write_the_watch_waits_and_our_own_write_is_no_news(store: SliceStore, told: Told) -> None:
    """The watch is often faster than the answer: that must not cost another sync."""
    store.put(version(8))
    with writing(store, version(8)):
        store.put(version(10))
        assert held(store) == {"s-1": "8"}
        store.written_by_us(version(10))
    assert (held(store), told) == ({"s-1": "10"}, [(None, "8")])


def test_while_we_write_what_others_do_is_news_afterwards(store: SliceStore, told: Told) -> None:
    store.put(version(8))
    with writing(store, version(8)):
        store.put(version(10))
        store.put(version(11))
        store.written_by_us(version(10))
    assert told == [(None, "8"), ("10", "11")]


@pytest.mark.parametrize("answered", [True, False])
def test_while_we_write_a_deletion_waits_but_is_not_lost(store: SliceStore, told: Told, answered: bool) -> None:
    store.put(version(8))
    with writing(store, version(8)):
        store.put(version(10))
        store.drop_named("ns", "s-1", "uid-1")
        if answered:
            store.written_by_us(version(10))
    assert (held(store), store.of_service("ns", "s")) == ({}, [])
    assert told == [(None, "8"), *([] if answered else [("8", "10")]), ("10", None)]


def test_failed_write_loses_no_news(store: SliceStore, told: Told) -> None:
    store.put(version(8))
    with contextlib.suppress(TimeoutError), writing(store, version(8)):
        store.put(version(10))
        raise TimeoutError
    assert told == [(None, "8"), ("8", "10")]


def test_list_while_we_write_is_complete_and_what_waited_is_older(store: SliceStore) -> None:
    """A slice that a list does not name must not come back by an event from before it."""
    store.put(version(8))
    with writing(store, version(8)):
        store.put(version(9))
        relist(store, 20, version(15, "other", uid="other"))
    assert held(store) == {"other": "15"}


def test_versions_of_our_own_are_known_until_the_watch_has_shown_them(store: SliceStore) -> None:
    store.written_by_us(version(10))
    store.written_by_us(version(12))
    assert store.own_versions == {b"10", b"12"}
    store.written_by_us(version(12))
    store.put(version(10))
    assert store.own_versions == {b"12"}, "a write that changed nothing has no event of its own"
    with writing(store, version(12)):
        store.put(version(14))
        store.written_by_us(version(14))
    assert store.own_versions == {b"12"}, "its event has come before"
    relist(store, 14, version(14), during=lambda: store.written_by_us(version(16)))
    assert store.own_versions == {b"16"}, "the watch that follows the list does not show them"
    relist(store, 5, version(4))
    assert store.own_versions == set(), "history went back: a version may come again, for something else"
