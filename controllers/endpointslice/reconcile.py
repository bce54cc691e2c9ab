"""One sync of a Service: from what is known about it to the EndpointSlices to write (ES-32, sections 4 to 13).

`reconcile` is the whole algorithm and reads from top to bottom; nothing here touches a socket, a clock or a random
number.
"""

from collections.abc import Container, Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from controllers.endpointslice.endpoints import Candidate, Group, LeftOut, desired, select
from controllers.endpointslice.packing import pack
from controllers.endpointslice.slices import (
    new_slice,
    owned,
    placeholder_equal,
    with_trigger_time,
)
from controllers.membership.ports import group_key
from controllers.membership.services import not_syncable
from controllers.membership.slice_names import in_place_of, named
from controllers.membership.trigger_time import Seen, trigger_time
from controllers.model.addresses import is_ipv6
from controllers.model.identity import Identity, identity
from controllers.model.objects import FAMILIES, EndpointSlice, Node, Pod, Service
from controllers.model.plan import Notice, Writes
from controllers.model.reasons import Reason
from controllers.topology.capacity import Capacity
from controllers.topology.hints import NOTHING, Memory, follows_nodes, give

NO_PORTS: Final[Group] = ()


class Snapshot(Struct, frozen=True, gc=False, kw_only=True):
    """All that one sync looks at.

    `pods` are those that the selector selects; `slices` those of the Service by label, managed by us (ES-32.6);
    `taken` holds the names of all slices in the Namespace, whoever manages them; `seen` and `hints` (by family) are
    what the last sync remembered; `capacity` is what the zones can carry.
    """

    service: Service
    pods: Sequence[Pod] = ()
    nodes: Mapping[str, Node] = {}
    slices: Sequence[EndpointSlice] = ()
    taken: Container[str] = frozenset()
    seen: Seen | None = None
    max_endpoints: int = 100
    capacity: Capacity = Capacity(unusable=Reason.TOPOLOGY_NODE_INFORMATION)
    hints: Mapping[str, Memory] = {}


class GroupSize(Struct, frozen=True, gc=False):
    """How full a port group is: endpoints wanted and slices that hold them after the plan (ES-147)."""

    endpoints: int
    slices: int


class FamilyPlan(Struct, frozen=True, gc=False, kw_only=True):
    """The writes of one address type; `added` and `removed` count endpoints (ES-61), `suppressed` creates (ES-72)."""

    address_type: str
    writes: Writes[EndpointSlice] = Writes()
    added: int = 0
    removed: int = 0
    suppressed: int = 0
    sizes: tuple[GroupSize, ...] = ()
    notices: tuple[Notice, ...] = ()
    hints: Memory = NOTHING


class Plan(Struct, frozen=True, gc=False, kw_only=True):
    """The outcome of a sync.

    `families` are independent of each other (ES-54); `unsupported` are slices of an address type that the Service
    does not have any more, deleted last (ES-75); `left_out` says which Pods are not published, and why; `seen` is to
    be remembered when all writes have succeeded.
    """

    families: tuple[FamilyPlan, ...] = ()
    unsupported: tuple[EndpointSlice, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    not_synced: Reason | None = None
    seen: Seen | None = None

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.unsupported) or any(family.writes for family in self.families)


def address_types(service: Service) -> tuple[str, ...]:
    """The address types that a Service publishes (ES-52)."""
    found = tuple(family for family in FAMILIES if family in service.ip_families)
    if found:
        return found
    if service.cluster_ip and service.cluster_ip != "None":
        return ("IPv6",) if is_ipv6(service.cluster_ip) else ("IPv4",)
    return FAMILIES


def reconcile(snapshot: Snapshot) -> Plan:
    """Plans one sync of a Service. The same snapshot, in whatever order its Pods and slices come, gives the same
    plan.
    """
    service = snapshot.service
    reason = not_syncable(service)
    if reason is not None:
        return Plan(not_synced=reason, seen=snapshot.seen)
    types = address_types(service)
    # A slice that is being deleted is no longer ours to keep or to fill (ES-32.7).
    live = sorted(
        (each for each in snapshot.slices if each.metadata.deletion_timestamp is None), key=lambda each: each.name
    )
    time, seen = trigger_time(service, snapshot.pods, snapshot.seen)
    selected = select(service, snapshot.pods, snapshot.nodes)
    left_out = list(selected.left_out)
    families = []
    for family in types:
        slices = [each for each in live if each.address_type == family]
        plan, left = _reconcile_family(snapshot, family, selected.candidates, slices, time)
        families.append(plan)
        left_out += left
    return Plan(
        families=tuple(families),
        unsupported=tuple(each for each in live if each.address_type not in types),
        left_out=tuple(sorted(left_out, key=lambda left: (left.pod.name, left.reason.value, left.family))),
        seen=seen,
    )


def _reconcile_family(
    snapshot: Snapshot, family: str, candidates: Sequence[Candidate], existing: list[EndpointSlice], time: str
) -> tuple[FamilyPlan, list[LeftOut]]:
    service = snapshot.service
    want = desired(service, candidates, family)
    foreign, by_group = _by_group(service, existing)
    groups = sorted(want.groups, key=repr) if len(want.groups) > 1 else list(want.groups)
    packed = [
        pack(service, family, group, by_group.pop(group, []), want.groups[group], snapshot.max_endpoints)
        for group in groups
    ]
    create = [each for group in packed for each in group.create]
    update = [each for group in packed for each in group.update]
    delete = foreign + [each for group in packed for each in group.delete]
    delete += [each for group in by_group.values() for each in group]
    sizes = [GroupSize(group.desired, group.slices) for group in packed]

    if len(delete) == len(existing) and not create:
        placeholder = new_slice(service, family)
        # The placeholder has no ports, and takes the place of a group that has none either (ES-57, ES-147).
        sizes = [size for size, group in zip(sizes, groups, strict=True) if group != NO_PORTS] + [GroupSize(0, 1)]
        if len(delete) == 1 and placeholder_equal(delete[0], placeholder):
            delete = []
        else:
            create = [placeholder]

    unchanged = [_in_order(each, key) for key, group in zip(groups, packed, strict=True) for each in group.unchanged]
    before = _hinted_zones(existing) if follows_nodes(service) else {}
    remembered = snapshot.hints.get(family, NOTHING)
    hints = give(service, family, snapshot.capacity, remembered, (create, update, unchanged), before)
    writes, suppressed = _finalise(snapshot, family, hints.create, hints.update, delete, time)
    plan = FamilyPlan(
        address_type=family,
        writes=writes,
        added=sum(group.added for group in packed),
        removed=sum(group.removed for group in packed),
        suppressed=suppressed,
        sizes=tuple(sizes),
        notices=hints.notices,
        hints=hints.memory,
    )
    return plan, want.left_out


def _in_order(found: EndpointSlice, key: Group) -> EndpointSlice:
    """Should hints be all that changes, the ports are written in canonical order, too (ES-51)."""
    return found if found.ports == key else replace(found, ports=key)


def _hinted_zones(existing: list[EndpointSlice]) -> dict[Identity, tuple[str, ...]]:
    """The zones that each endpoint's hints name so far."""
    return {
        identity(endpoint): tuple(zone.name for zone in endpoint.hints.for_zones)
        for each in existing
        for endpoint in each.endpoints
        if endpoint.hints is not None and endpoint.hints.for_zones
    }


def _by_group(
    service: Service, existing: list[EndpointSlice]
) -> tuple[list[EndpointSlice], dict[Group, list[EndpointSlice]]]:
    """Slices of somebody else's, and our own by port group (ES-55, ES-56)."""
    foreign: list[EndpointSlice] = []
    groups: dict[Group, list[EndpointSlice]] = {}
    for found in existing:
        if owned(found, service):
            groups.setdefault(group_key(found.ports), []).append(found)
        else:
            foreign.append(found)
    return foreign, groups


def _finalise(
    snapshot: Snapshot,
    family: str,
    create: list[EndpointSlice],
    update: list[EndpointSlice],
    delete: list[EndpointSlice],
    time: str,
) -> tuple[Writes[EndpointSlice], int]:
    """Recycles what would be deleted, names what is new, stamps the trigger time (ES-71, ES-72, ES-90)."""
    service = snapshot.service
    kept: list[EndpointSlice] = []
    for doomed in delete:
        if create and owned(doomed, service):
            update = [*update, in_place_of(create.pop(), doomed)]
        else:
            kept.append(doomed)
    suppressed = len(create) if service.terminating else 0
    new = named(() if service.terminating else create, service.name, service.uid, snapshot.taken)
    writes = Writes(
        create=tuple(with_trigger_time(each, time) for each in new),
        update=tuple(with_trigger_time(each, time) for each in update),
        delete=tuple(kept),
    )
    return writes, suppressed
