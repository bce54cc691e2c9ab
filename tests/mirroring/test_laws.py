"""What holds for all Endpoints, whatever the slices that are found."""

from collections.abc import Iterable
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from api.names import LAST_APPLIED_ANNOTATION, MANAGED_BY_LABEL, SERVICE_NAME_LABEL, TRIGGER_TIME_ANNOTATION
from controllers.mirroring.reconcile import Plan, Snapshot, reconcile
from controllers.model.objects import Endpoints, EndpointSlice
from tests.mirroring.builders import SERVICE, apply, labelled, owner
from tests.mirroring.strategies import Group, Wanted, World, identity, wanted, worlds

law = settings(max_examples=150, deadline=None, database=None, print_blob=True)


def ours(found: EndpointSlice) -> bool:
    """What the shell hands to a sync (MI-22.5)."""
    return found.labels.items() >= labelled().items()


def live(slices: Iterable[EndpointSlice]) -> list[EndpointSlice]:
    """Ours, and not being deleted: what a sync keeps, fills, recycles or deletes."""
    return [each for each in slices if ours(each) and each.metadata.deletion_timestamp is None]


def snapshot(of: Endpoints, slices: list[EndpointSlice], limit: int) -> Snapshot:
    own, names = [each for each in slices if ours(each)], {each.name for each in slices}
    return Snapshot(endpoints=of, service=SERVICE, slices=own, taken=names, limit=limit)


def group(found: EndpointSlice) -> Group:
    return found.address_type, frozenset(found.ports)


def right_slices(of: Endpoints, want: Wanted, limit: int, after: list[EndpointSlice]) -> None:
    """One slice for each group, with all its endpoints once, up to the limit; and no other slice."""
    found = {group(each): each for each in after}
    assert len(found) == len(after), "MI-36"
    # Those that are missing were not created (MI-45).
    assert found.keys() <= want.groups.keys() if of.metadata.deletion_timestamp else found.keys() == want.groups.keys()
    for key, each in found.items():
        members = want.groups[key]
        have = {identity(one): one for one in each.endpoints}
        assert len(have) == len(each.endpoints) == min(limit, len(members)), "MI-32, MI-39"
        assert all(one in members[key] for key, one in have.items())


def right_metadata(of: Endpoints, after: list[EndpointSlice]) -> None:
    """MI-41, as far as it is compared (MI-36)."""
    reserved = {SERVICE_NAME_LABEL, MANAGED_BY_LABEL}
    dropped = {LAST_APPLIED_ANNOTATION, TRIGGER_TIME_ANNOTATION}
    annotations = {key: value for key, value in (of.metadata.annotations or {}).items() if key not in dropped}
    for each in after:
        assert each.labels == labelled(**{key: value for key, value in of.labels.items() if key not in reserved})
        assert (each.metadata.annotations or {}) == annotations
        assert set(each.metadata.owner_references or ()) <= {owner()}


def right_counts(of: Endpoints, want: Wanted, plan: Plan, after: list[EndpointSlice]) -> None:
    """MI-28, MI-52."""
    assert plan.counts is not None
    assert plan.counts.skipped == want.skipped
    assert plan.counts.endpoints == sum(map(len, want.groups.values()))
    if not of.metadata.deletion_timestamp:
        assert plan.counts.slices == len(after)


def nothing_more(of: Endpoints, slices: list[EndpointSlice], limit: int) -> None:
    """A second sync has nothing to write (MI-38)."""
    again = reconcile(snapshot(of, slices, limit))
    assert not again.writes
    assert again.counts is not None
    assert (again.counts.updated, again.counts.removed) == (0, 0)


@given(worlds())
@law
def test_the_outcome_is_what_the_endpoints_say(world: World) -> None:
    slices = world.slices
    others = [each for each in slices if each not in live(slices)]
    for of in world.versions:
        plan = reconcile(snapshot(of, slices, world.limit))
        slices = apply(plan.writes, slices)
        after, want = live(slices), wanted(of, world.limit)
        right_slices(of, want, world.limit, after)
        right_metadata(of, after)
        right_counts(of, want, plan, after)
        nothing_more(of, slices, world.limit)
        assert [each for each in slices if each not in after] == others


@given(worlds(), st.randoms(use_true_random=False))
@law
def test_order_of_slices_does_not_show(world: World, random: Random) -> None:
    shuffled = random.sample(world.slices, len(world.slices))
    first, second = (snapshot(world.versions[0], slices, world.limit) for slices in (world.slices, shuffled))
    assert reconcile(first) == reconcile(second)


@given(worlds())
@law
def test_names_of_new_slices_are_free_and_no_slice_is_written_twice(world: World) -> None:
    """And what somebody else manages, or what is being deleted, is never written."""
    writes = reconcile(snapshot(world.versions[0], world.slices, world.limit)).writes
    names = [each.name for each in (*writes.create, *writes.update, *writes.delete)]
    assert len(names) == len(set(names))
    assert not {each.name for each in writes.create} & {each.name for each in world.slices}
    assert {each.name for each in (*writes.update, *writes.delete)} <= {each.name for each in live(world.slices)}


@given(worlds())
@law
def test_no_update_is_in_vain_and_a_slice_in_order_is_left_alone(world: World) -> None:
    """Where there are such slices, one of each group is written by no one."""
    of = world.versions[0]
    plan = reconcile(snapshot(of, world.slices, world.limit))
    right: set[Group] = set()
    for each in live(world.slices):
        # In order is what needs nothing when it is all there is.
        alone = reconcile(snapshot(of, [each], world.limit)).writes
        if each.name not in {sent.name for sent in (*alone.update, *alone.delete)}:
            right.add(group(each))
    touched = {each.name for each in (*plan.writes.update, *plan.writes.delete)}
    kept = [group(each) for each in live(world.slices) if each.name not in touched]
    assert len(kept) == len(set(kept))
    assert set(kept) == right
