"""Which endpoint goes into which slice, with as few writes as possible (ES-55 ... ES-66), for one port group."""

from msgspec import Struct
from msgspec.structs import replace

from controllers.endpointslice.endpoints import Group
from controllers.endpointslice.slices import labels_changed, labels_for, new_slice
from controllers.model.identity import Identity, equal_beyond_identity, identity
from controllers.model.objects import Endpoint, EndpointSlice, Service


class Packed(Struct, gc=False):
    """The slices of one group after packing; `desired` and `removed` count endpoints, `added` those newly placed."""

    create: list[EndpointSlice]
    update: list[EndpointSlice]
    delete: list[EndpointSlice]
    unchanged: list[EndpointSlice]
    desired: int
    added: int
    removed: int

    @property
    def slices(self) -> int:
        """Number of slices of the group once the plan is carried out."""
        return len(self.create) + len(self.update) + len(self.unchanged)


def pack(
    service: Service,
    address_type: str,
    group: Group,
    existing: list[EndpointSlice],
    wanted: dict[Identity, Endpoint],
    limit: int,
) -> Packed:
    """Places the wanted endpoints in the existing slices of their group, and in new ones of at most `limit` endpoints.

    `existing` are owned slices of this address type and group, in the order in which ties are broken; neither
    argument is changed.
    """
    packed = Packed([], [], [], [], desired=len(wanted), added=0, removed=0)
    missing = _keep(service, group, existing, wanted, packed)
    packed.added = len(missing)
    if missing:
        # Sorted, so that the order in which Pods are listed never shows.
        rest = [missing[key] for key in sorted(missing)]
        rest = _fill_updated(rest, packed, limit)
        _fill_others(service, address_type, group, rest, packed, limit)
    return packed


def _keep(
    service: Service, group: Group, existing: list[EndpointSlice], wanted: dict[Identity, Endpoint], packed: Packed
) -> dict[Identity, Endpoint]:
    """Pass 1: what stays where it is, freshly computed; returns the wanted endpoints that are in no slice (ES-58 ...
    ES-60).
    """
    missing = dict(wanted)
    for found in existing:
        kept: list[Endpoint] = []
        changed = False
        for endpoint in found.endpoints:
            fresh = missing.pop(identity(endpoint), None)
            if fresh is not None:
                kept.append(fresh)
                changed = changed or not equal_beyond_identity(endpoint, fresh)
        lost = len(found.endpoints) - len(kept)
        if changed or lost:
            packed.removed += lost
            if kept:
                packed.update.append(_rewritten(found, group, tuple(kept), labels_for(service)))
            else:
                packed.delete.append(found)
        elif labels_changed(found, service):
            packed.update.append(_rewritten(found, group, found.endpoints, labels_for(service)))
        else:
            packed.unchanged.append(found)
    return missing


def _rewritten(
    found: EndpointSlice, group: Group, endpoints: tuple[Endpoint, ...], labels: dict[str, str] | None = None
) -> EndpointSlice:
    """A copy to be written: ports in canonical order (ES-51); labels stay as they are unless they are given (ES-66)."""
    metadata = found.metadata if labels is None else replace(found.metadata, labels=labels)
    return replace(found, metadata=metadata, endpoints=endpoints, ports=group)


def _fill_updated(rest: list[Endpoint], packed: Packed, limit: int) -> list[Endpoint]:
    """Pass 2: slices that are written anyway take endpoints first, the fullest before the others (ES-62)."""
    packed.update.sort(key=lambda each: (-len(each.endpoints), each.name))
    for index, each in enumerate(packed.update):
        room = limit - len(each.endpoints)
        if room > 0 and rest:
            packed.update[index] = replace(each, endpoints=each.endpoints + tuple(rest[:room]))
            rest = rest[room:]
    return rest


def _fill_others(
    service: Service, address_type: str, group: Group, rest: list[Endpoint], packed: Packed, limit: int
) -> None:
    """Pass 3: a remainder goes into the one unchanged slice that it fits best, the rest into new ones (ES-63)."""
    while rest:
        best = _best_fit(packed.unchanged, len(rest), limit) if len(rest) < limit else None
        if best is None:
            made = replace(new_slice(service, address_type), endpoints=tuple(rest[:limit]), ports=group)
            packed.create.append(made)
            rest = rest[limit:]
        else:
            packed.unchanged.remove(best)
            packed.update.append(_rewritten(best, group, best.endpoints + tuple(rest)))
            return


def _best_fit(candidates: list[EndpointSlice], count: int, limit: int) -> EndpointSlice | None:
    """The slice that `count` more endpoints fill best without passing the limit; the first on a tie."""
    fitting = [each for each in candidates if len(each.endpoints) + count <= limit]
    return max(fitting, key=lambda each: len(each.endpoints), default=None)
