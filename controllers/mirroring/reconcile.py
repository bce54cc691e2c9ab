"""One sync of mirrored EndpointSlices: from Endpoints to the slices to write (MI-22 ... MI-50)."""

from collections.abc import Container, Sequence

from msgspec import Struct
from msgspec.structs import replace

from api import names
from controllers.membership.ports import group_key
from controllers.membership.slice_names import in_place_of, named
from controllers.mirroring.groups import Desired, Group, desired
from controllers.mirroring.mirrorable import not_mirrored
from controllers.model.identity import Identity, equal_beyond_identity, identity
from controllers.model.objects import (
    FAMILIES,
    Endpoint,
    Endpoints,
    EndpointSlice,
    ObjectMeta,
    OwnerReference,
    Service,
)
from controllers.model.plan import Notice, Writes
from controllers.model.reasons import Reason

_NOT_MIRRORED = frozenset({names.TRIGGER_TIME_ANNOTATION, names.LAST_APPLIED_ANNOTATION})


class Snapshot(Struct, frozen=True, gc=False, kw_only=True):
    """All that one sync looks at.

    `slices` are those of the Service by label that we manage; `taken` holds the names of all slices in the Namespace;
    `limit` addresses of each subset are mirrored.
    """

    endpoints: Endpoints | None
    service: Service | None = None
    slices: Sequence[EndpointSlice] = ()
    taken: Container[str] = frozenset()
    limit: int = 1000


class Counts(Struct, frozen=True, gc=False):
    """What a sync does to endpoints and addresses, and the sizes after it (MI-52)."""

    added: int = 0
    updated: int = 0
    removed: int = 0
    skipped: int = 0
    endpoints: int = 0
    slices: int = 0
    perfect_slices: int = 0


class Plan(Struct, frozen=True, gc=False, kw_only=True):
    """The outcome of a sync; with `not_mirrored` it is a clean-up. `counts` is None then."""

    writes: Writes[EndpointSlice] = Writes()
    notices: tuple[Notice, ...] = ()
    not_mirrored: Reason | None = None
    counts: Counts | None = None


class _Group(Struct, gc=False):
    """The writes of one group."""

    create: list[EndpointSlice] = []
    update: list[EndpointSlice] = []
    delete: list[EndpointSlice] = []
    added: int = 0
    updated: int = 0
    removed: int = 0


def reconcile(snapshot: Snapshot) -> Plan:
    """Plans one sync. The same snapshot, in whatever order its slices come, gives the same plan."""
    endpoints = snapshot.endpoints
    # A slice that is being deleted is no longer ours to keep or to fill.
    live = sorted(
        (each for each in snapshot.slices if each.metadata.deletion_timestamp is None), key=lambda each: each.name
    )
    reason = not_mirrored(endpoints, snapshot.service)
    if endpoints is None or reason is not None:
        return Plan(writes=Writes(delete=tuple(live)), not_mirrored=reason)
    want = desired(endpoints.subsets or (), snapshot.limit)
    existing: dict[Group, list[EndpointSlice]] = {}
    for found in live:
        existing.setdefault((found.address_type, group_key(found.ports)), []).append(found)
    planned = {
        group: _plan_group(endpoints, group, wanted, existing.get(group, []), snapshot.limit)
        for group, wanted in sorted(want.groups.items(), key=lambda item: repr(item[0]))
    }
    create = [each for group in planned.values() for each in group.create]
    update = [each for group in planned.values() for each in group.update]
    delete = [each for group in planned.values() for each in group.delete]
    delete += [each for group, slices in existing.items() if group not in planned for each in slices]
    return Plan(
        writes=_finalise(snapshot, endpoints, create, update, delete),
        notices=_notices(want, snapshot.limit),
        counts=_counts(want, planned, existing, snapshot.limit),
    )


def _plan_group(
    endpoints: Endpoints,
    group: Group,
    wanted: dict[Identity, Endpoint],
    existing: list[EndpointSlice],
    limit: int,
) -> _Group:
    """One slice at most for each group: one of the existing ones, or a new one (MI-34 ... MI-37)."""
    if not wanted:
        return _Group(delete=existing, removed=sum(len(each.endpoints) for each in existing))
    new = _new_slice(endpoints, group, tuple(wanted.values())[:limit])
    if not existing:
        return _Group(create=[new], added=len(wanted))
    unchanged = next((each for each in existing if up_to_date(each, new)), None)
    kept = existing[0] if unchanged is None else unchanged
    found = {identity(each): each for each in kept.endpoints}
    common = [key for key in wanted if key in found]
    # Unlike a recycled slice, one that is updated loses its generateName (MI-42, MI-44).
    unprefixed = replace(new, metadata=replace(new.metadata, generate_name=""))
    return _Group(
        update=[in_place_of(unprefixed, kept)] if unchanged is None else [],
        delete=[each for each in existing if each is not kept],
        added=len(wanted) - len(common),
        updated=sum(not equal_beyond_identity(found[key], wanted[key]) for key in common),
        removed=len(kept.endpoints) - len(common),
    )


def up_to_date(found: EndpointSlice, new: EndpointSlice) -> bool:
    """Whether a slice may stay as it is, whatever the order of its endpoints (MI-36)."""
    have = {identity(each): each for each in found.endpoints}
    want = {identity(each): each for each in new.endpoints}
    owner = (new.metadata.owner_references or ())[0]
    return (
        have.keys() == want.keys()
        and len(have) == len(found.endpoints)
        and all(equal_beyond_identity(have[key], want[key]) for key in want)
        and found.labels == new.labels
        and (found.metadata.annotations or {}) == (new.metadata.annotations or {})
        and not any(
            each.kind == "Endpoints" and each.name == owner.name and each.uid != owner.uid
            for each in found.metadata.owner_references or ()
        )
    )


def _new_slice(endpoints: Endpoints, group: Group, members: tuple[Endpoint, ...]) -> EndpointSlice:
    """A slice without a name yet (MI-41, MI-43)."""
    found = endpoints.metadata
    labels = {
        **endpoints.labels,
        names.SERVICE_NAME_LABEL: found.name,
        names.MANAGED_BY_LABEL: names.MIRRORING_MANAGED_BY,
    }
    annotations = {key: value for key, value in (found.annotations or {}).items() if key not in _NOT_MIRRORED}
    owner = OwnerReference(
        api_version="v1", kind="Endpoints", name=found.name, uid=found.uid, controller=True, block_owner_deletion=True
    )
    family, ports = group
    return EndpointSlice(
        metadata=ObjectMeta(
            generate_name=f"{found.name}-",
            namespace=found.namespace,
            labels=labels,
            annotations=annotations or None,
            owner_references=(owner,),
        ),
        address_type=family,
        endpoints=members,
        ports=ports,
    )


def _finalise(
    snapshot: Snapshot,
    endpoints: Endpoints,
    create: list[EndpointSlice],
    update: list[EndpointSlice],
    delete: list[EndpointSlice],
) -> Writes[EndpointSlice]:
    """In each family, what would be deleted takes what would be created (MI-46); the rest gets names (D-3)."""
    kept: list[EndpointSlice] = []
    new: list[EndpointSlice] = []
    for family in sorted({*FAMILIES, *(each.address_type for each in delete)}):
        wanted = [each for each in create if each.address_type == family]
        doomed = [each for each in delete if each.address_type == family]
        recycled = min(len(wanted), len(doomed))
        update += map(in_place_of, wanted[:recycled], doomed[:recycled])
        kept += doomed[recycled:]
        new += wanted[recycled:]
    if endpoints.metadata.deletion_timestamp is not None:
        new = []  # they get no more slices (MI-45)
    created = named(new, endpoints.name, endpoints.metadata.uid, snapshot.taken)
    return Writes(create=created, update=tuple(update), delete=tuple(kept))


def _notices(want: Desired, limit: int) -> tuple[Notice, ...]:
    """What is not mirrored (MI-49, MI-50)."""
    notices = []
    if want.invalid:
        text = f"Skipped {want.invalid} invalid IP addresses when mirroring to EndpointSlices"
        notices.append(Notice("Warning", names.REASON_INVALID_IP, text))
    if want.skipped > want.invalid:
        text = (
            f"A max of {limit} addresses can be mirrored to EndpointSlices per Endpoints subset. "
            f"{want.skipped} addresses were skipped"
        )
        notices.append(Notice("Warning", names.REASON_TOO_MANY_ADDRESSES, text))
    return tuple(notices)


def _counts(
    want: Desired, planned: dict[Group, _Group], existing: dict[Group, list[EndpointSlice]], limit: int
) -> Counts:
    groups = planned.values()
    return Counts(
        added=sum(group.added for group in groups),
        updated=sum(group.updated for group in groups),
        removed=sum(group.removed for group in groups),
        skipped=want.skipped,
        endpoints=sum(map(len, want.groups.values())),
        slices=sum(
            len(existing.get(key, [])) + len(group.create) - len(group.delete) for key, group in planned.items()
        ),
        perfect_slices=sum(-(-len(wanted) // limit) for wanted in want.groups.values()),
    )
