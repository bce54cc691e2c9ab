"""Which hints a family's endpoints get: precedence, memory and Events (ES-93 ... ES-95, ES-103, ES-108 ... ES-110)."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from msgspec import Struct

from api import names
from controllers.model.identity import Identity, identity
from controllers.model.objects import Endpoint, EndpointSlice, ForZone, Service
from controllers.model.objects import Hints as EndpointHints
from controllers.model.plan import Notice
from controllers.model.reasons import Reason
from controllers.topology.adaptive import Candidate, Given, adapt, outdated
from controllers.topology.allocation import Assigned, Refused, assign, overloaded, shares
from controllers.topology.capacity import Capacity
from controllers.topology.distribution import Hinting, hinted, hinting_for, no_hints

ENABLED: Final = "enabled"
# Given, but an endpoint gets more than its share because it cannot name more zones.
OVERLOADED: Final = "enabled_overloaded"

Slices = tuple[list[EndpointSlice], list[EndpointSlice], list[EndpointSlice]]


class Memory(Struct, frozen=True, gc=False):
    """What is remembered of one family of a Service between syncs.

    `totals` are the hints given to each zone; `ready` how many endpoints there were; `told` is what was last said about
    hints: ENABLED, OVERLOADED, a reason, or "" when nothing was. `adaptive` is what Adaptive hints were given, None for
    those of KCM.
    """

    totals: Mapping[str, int] = {}
    ready: int = 0
    told: str = ""
    adaptive: Given | None = None

    @property
    def on(self) -> bool:
        """Whether people were told last that there are hints."""
        return self.told in (ENABLED, OVERLOADED)


NOTHING: Final = Memory()


class Hints(Struct, frozen=True, gc=False):
    """The slices to write, with their hints, what to say about it, and what to remember."""

    create: list[EndpointSlice]
    update: list[EndpointSlice]
    notices: tuple[Notice, ...] = ()
    memory: Memory = NOTHING


def wants_proportional(service: Service) -> bool:
    """Whether KCM's annotation, and not our own, asks for hints in proportion to the zones' CPU (ES-93)."""
    return service.topology_mode in ("Auto", "auto") and not service.adaptive


def follows_nodes(service: Service) -> bool:
    """Whether the hints of a Service depend on the Nodes, and on what they were before."""
    return service.adaptive or wants_proportional(service)


def concerned(memory: Memory, capacity: Capacity) -> bool:
    """Whether a change of Nodes asks for a sync: hints have become wrong, or a refusal may have healed.

    `capacity` is what counts for this memory: with held nodes for Adaptive hints, without for KCM's.
    """
    if memory.adaptive is not None:
        if not memory.ready:
            return False
        if memory.on:
            return outdated(memory.adaptive, capacity)
        return capacity.shares != memory.adaptive.shares
    if memory.told == ENABLED:
        return overloaded(memory.totals, capacity)
    if not memory.told:
        return False
    outcome = shares(capacity, memory.ready)
    return not isinstance(outcome, Refused) or outcome.reason.value != memory.told


def give(
    service: Service,
    family: str,
    capacity: Capacity,
    memory: Memory,
    slices: Slices,
    before: Mapping[Identity, tuple[str, ...]],
) -> Hints:
    """Hints for the slices of one family: those to create, to update, and those that packing leaves alone.

    Of the last, only those are written whose hints change; so nothing is written twice (D-8). An Event is due when what
    there is to say differs from what was said last, for each family of its own.
    """
    create, update, unchanged = slices
    if service.adaptive:
        return _adaptive(service, family, capacity, memory, slices, before)
    if not wants_proportional(service):
        made = _uniform(create, update, unchanged, hinting_for(service))
        off = (_disabled(Reason.TOPOLOGY_SWITCHED_OFF, family, ""),) if memory.on else ()
        return Hints(*made, notices=off)
    ready = sum(1 for each in (*create, *update, *unchanged) for one in each.endpoints if one.conditions.ready)
    wanted = shares(capacity, ready)
    outcome: Assigned | Refused = (
        wanted if isinstance(wanted, Refused) else assign(create, update, unchanged, wanted, before)
    )
    if isinstance(outcome, Refused):
        made = _uniform(create, update, unchanged, no_hints)
        counts = f" ({outcome.endpoints} endpoints, {outcome.zones} zones)" if outcome.zones else ""
        told = outcome.reason.value
        notices = (
            (_disabled(outcome.reason, family, counts),) if told != memory.told or memory.adaptive is not None else ()
        )
        return Hints(*made, notices=notices, memory=Memory({}, ready, told))
    notices = (_enabled("enabled", family),) if memory.told != ENABLED or memory.adaptive is not None else ()
    return Hints(outcome.create, outcome.update, notices, Memory(outcome.totals, ready, ENABLED))


def _adaptive(
    service: Service,
    family: str,
    capacity: Capacity,
    memory: Memory,
    slices: Slices,
    before: Mapping[Identity, tuple[str, ...]],
) -> Hints:
    """Adaptive hints; while no endpoint is ready, there is nothing to hint at, and nothing to say."""
    create, update, unchanged = slices
    # Endpoints in slices that are written anyway come last: if hints must change, it is rather theirs.
    found = {key: each for one in (*unchanged, *update, *create) for key, each in sorted(_ready(one))}
    told = memory.told if memory.adaptive is not None else ""
    if not found:
        made = _uniform(create, update, unchanged, no_hints)
        return Hints(*made, memory=Memory(told=told, adaptive=Given()))
    candidates = [Candidate(each.zone or "", before.get(key, ())) for key, each in found.items()]
    outcome = adapt(capacity, candidates, service.topology_floor)
    if isinstance(outcome, Refused):
        made = _uniform(create, update, unchanged, no_hints)
        counts = f" ({outcome.endpoints} endpoints, {outcome.zones} zones)" if outcome.zones else ""
        reason = outcome.reason.value
        notices = (_disabled(outcome.reason, family, f"{counts} (Adaptive)"),) if told != reason else ()
        return Hints(*made, notices, Memory({}, len(found), reason, Given(capacity.shares)))
    chosen = {key: _for_zones(zones) for key, zones in zip(found, outcome.zones, strict=True)}

    def hinting(endpoint: Endpoint) -> EndpointHints | None:
        return chosen[identity(endpoint)] if endpoint.conditions.ready else None

    made = _uniform(create, update, unchanged, hinting)
    told_now, how = ENABLED, "enabled (Adaptive)"
    if outcome.overload:
        told_now, how = (
            OVERLOADED,
            f"{how}; {Reason.TOPOLOGY_OVERLOADED.text} (up to {outcome.overload:.2f} times the mean)",
        )
    notices = (_enabled(how, family),) if told != told_now else ()
    return Hints(*made, notices, Memory({}, len(found), told_now, outcome.given))


def _ready(found: EndpointSlice) -> list[tuple[Identity, Endpoint]]:
    return [(identity(each), each) for each in found.endpoints if each.conditions.ready]


@lru_cache(1024)
def _for_zones(zones: tuple[str, ...]) -> EndpointHints:
    return EndpointHints(tuple(map(ForZone, zones)))


def _uniform(
    create: Sequence[EndpointSlice],
    update: Sequence[EndpointSlice],
    unchanged: Sequence[EndpointSlice],
    hinting: Hinting,
) -> tuple[list[EndpointSlice], list[EndpointSlice]]:
    touched = [new for each in unchanged if (new := hinted(each, hinting)) is not each]
    return [hinted(each, hinting) for each in create], [*(hinted(each, hinting) for each in update), *touched]


def _enabled(how: str, family: str) -> Notice:
    return Notice("Normal", names.REASON_HINTS_ENABLED, f"Topology Aware Hints has been {how}, addressType: {family}")


def _disabled(reason: Reason, family: str, counts: str) -> Notice:
    message = f"Topology Aware Hints are not given: {reason.text}{counts}, addressType: {family}"
    return Notice("Warning", names.REASON_HINTS_DISABLED, message)
