"""What holds for every snapshot, whatever the slices that are found."""

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from api.names import RESERVED_SLICE_LABELS
from controllers.endpointslice.reconcile import Plan, Snapshot, reconcile
from controllers.model.objects import Endpoint, EndpointSlice, Pod, Service
from tests.builders import apply, created, deleted, same_seen, sizes, updated
from tests.endpointslice.strategies import (
    Published,
    histories,
    live,
    present,
    published,
    snapshots,
    types_of,
    wanted,
)

law = settings(max_examples=150, deadline=None, database=None, print_blob=True)


def later(snapshot: Snapshot, plan: Plan, slices: list[EndpointSlice], pods: list[Pod] | None = None) -> Snapshot:
    """The next snapshot, after the plan was carried out."""
    return replace(
        snapshot,
        slices=slices,
        taken={each.name for each in slices},
        seen=plan.seen,
        pods=snapshot.pods if pods is None else pods,
    )


def unreserved(found: EndpointSlice | Service) -> dict[str, str]:
    return {key: value for key, value in found.labels.items() if key not in RESERVED_SLICE_LABELS}


def ours(snapshot: Snapshot, found: EndpointSlice) -> bool:
    return snapshot.service.uid in {reference.uid for reference in found.metadata.owner_references or ()}


def identities(found: EndpointSlice) -> list[object]:
    """What an endpoint is recognised by, within its address type and set of ports (ES-45)."""
    return [
        (
            found.address_type,
            frozenset(found.ports),
            each.addresses,
            each.hostname,
            each.target_ref and each.target_ref.name,
        )
        for each in found.endpoints
    ]


def _shuffled(snapshot: Snapshot, random: Random) -> Snapshot:
    pods, slices = list(snapshot.pods), list(snapshot.slices)
    random.shuffle(pods)
    random.shuffle(slices)
    return replace(snapshot, pods=pods, slices=slices)


def right_endpoints(snapshot: Snapshot, after: list[EndpointSlice]) -> None:
    """Every wanted endpoint is in exactly one slice, up to date, under its ports; and nothing else is anywhere."""
    found, want = present(live(after)), wanted(snapshot)
    if snapshot.service.terminating:  # creates are suppressed (ES-72)
        assert found <= want
    else:
        assert found == want


def right_metadata(snapshot: Snapshot, after: list[EndpointSlice]) -> None:
    """Labels mirror the Service's; every type has a slice; nothing has a type that the Service does not publish."""
    of, types = snapshot.service, types_of(snapshot.service)
    for each in live(after):
        assert unreserved(each) == unreserved(of)
        assert each.address_type in types
        assert ours(snapshot, each) or not each.endpoints
    if not of.terminating:
        assert {each.address_type for each in live(after)} == types


def nothing_more(snapshot: Snapshot, plan: Plan, after: list[EndpointSlice]) -> None:
    """A second sync has nothing to write."""
    again = reconcile(later(snapshot, plan, after))
    assert not again
    suppressed = [(family.added, family.removed) for family in again.families if not family.suppressed]
    assert set(suppressed) <= {(0, 0)}


def sizes_are_told(plan: Plan, want: Published, after: list[EndpointSlice]) -> None:
    """The counts of a plan are those that its outcome has (ES-61, ES-147)."""
    for family in plan.families:
        kind = family.address_type
        assert sum(size.endpoints for size in family.sizes) == sum(n for key, n in want.items() if key[0] == kind)
        have = len([each for each in live(after) if each.address_type == kind])
        assert sum(size.slices for size in family.sizes) == have + family.suppressed


@given(histories())
@law
def test_the_outcome_is_what_the_service_wants(history: tuple[Snapshot, list[Pod]]) -> None:
    snapshot, pods = history
    for _ in range(2):
        plan = reconcile(snapshot)
        after = apply(plan, snapshot.slices)
        right_endpoints(snapshot, after)
        right_metadata(snapshot, after)
        sizes_are_told(plan, wanted(snapshot), after)
        nothing_more(snapshot, plan, after)
        snapshot = later(snapshot, plan, after, pods)


@given(snapshots())
@law
def test_no_slice_grows_over_the_limit(snapshot: Snapshot) -> None:
    plan, limit = reconcile(snapshot), snapshot.max_endpoints
    before = {each.name: len(each.endpoints) for each in snapshot.slices}
    assert max(sizes(created(plan)), default=0) <= limit
    assert all(len(each.endpoints) <= max(limit, before[each.name]) for each in updated(plan))


@given(snapshots())
@law
def test_no_slice_is_written_twice_and_none_that_is_being_deleted(snapshot: Snapshot) -> None:
    plan = reconcile(snapshot)
    names = [each.name for each in (*created(plan), *updated(plan), *deleted(plan))]
    assert len(names) == len(set(names))
    assert not set(names) & {each.name for each in snapshot.slices if each.metadata.deletion_timestamp}
    assert not {each.name for each in created(plan)} & {each.name for each in snapshot.slices}


@given(snapshots())
@law
def test_no_update_is_in_vain(snapshot: Snapshot) -> None:
    before = {each.name: each for each in snapshot.slices}
    for sent in updated(reconcile(snapshot)):
        found = before[sent.name]
        changed = present([sent]) != present([found]) or sent.labels != found.labels or sent.ports != found.ports
        # Hints that nobody asks for are removed, and nothing else may change then (ES-117).
        changed = changed or [each.hints for each in sent.endpoints] != [each.hints for each in found.endpoints]
        # Of several empty slices one becomes the placeholder, even if it looks like it already (ES-T4).
        assert changed or not (found.endpoints or sent.endpoints)


def unhinted(found: EndpointSlice) -> list[Endpoint]:
    return [replace(each, hints=None) for each in found.endpoints]


@given(snapshots())
@law
def test_a_slice_in_order_is_left_alone_or_only_added_to(snapshot: Snapshot) -> None:
    plan, want = reconcile(snapshot), wanted(snapshot)
    doubled = Counter(identity for each in live(snapshot.slices) for identity in identities(each))
    writes = {each.name: each for each in updated(plan)}
    for found in live(snapshot.slices):
        right = present([found]) <= want and all(doubled[identity] == 1 for identity in identities(found))
        if found.endpoints and right and ours(snapshot, found) and unreserved(found) == unreserved(snapshot.service):
            assert found not in deleted(plan)
            sent = writes.get(found.name, found)
            # Hints that nobody asks for are removed (ES-117): that is no disorder.
            told, before = unhinted(sent), unhinted(found)
            assert told[: len(before)] == before
            assert sent == found or len(told) > len(before) or any(each.hints for each in found.endpoints)


@given(snapshots(), st.randoms(use_true_random=False))
@law
def test_order_of_pods_and_slices_does_not_show(snapshot: Snapshot, random: Random) -> None:
    plan, other = reconcile(snapshot), reconcile(_shuffled(snapshot, random))
    assert replace(other, left_out=(), seen=None) == replace(plan, left_out=(), seen=None)
    assert Counter(other.left_out) == Counter(plan.left_out)
    assert same_seen(other.seen, plan.seen)


@given(snapshots(), st.randoms(use_true_random=False))
@law
def test_order_of_pods_does_not_show_in_what_is_left_out(snapshot: Snapshot, random: Random) -> None:
    assert reconcile(_shuffled(snapshot, random)).left_out == reconcile(snapshot).left_out


@given(snapshots())
@law
def test_the_snapshot_is_not_changed(snapshot: Snapshot) -> None:
    before = repr(snapshot)
    plan = reconcile(snapshot)
    assert repr(snapshot) == before
    assert reconcile(snapshot) == plan


@given(snapshots())
@law
def test_every_pod_is_published_or_has_a_reason(snapshot: Snapshot) -> None:
    """In each family, or in none of them for one reason."""
    of, why = snapshot.service, {each.pod.name: each.reason for each in reconcile(snapshot).left_out}
    complete = {
        each.name: [published(of, each, family) is not None for family in types_of(of)] for each in snapshot.pods
    }
    assert {name for name, families in complete.items() if not all(families)} == set(why)
