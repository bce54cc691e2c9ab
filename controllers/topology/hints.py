"""Which hints a family's endpoints get: precedence, memory and Events (ES-93 ... ES-95, ES-103, ES-108 ... ES-110)."""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from api import names
from controllers.model.identity import Identity
from controllers.model.objects import EndpointSlice, Service
from controllers.model.plan import Notice
from controllers.model.reasons import Reason
from controllers.topology.allocation import Assigned, Refused, assign, overloaded, shares
from controllers.topology.capacity import Capacity
from controllers.topology.distribution import Hinting, hinted, hinting_for

ENABLED: Final = "enabled"


class Memory(Struct, frozen=True, gc=False):
    """What is remembered of one family of a Service between syncs.

    `totals` are the hints given to each zone; `ready` how many endpoints there were; `told` is what was last said about
    hints: ENABLED, a reason, or "" when nothing was.
    """

    totals: Mapping[str, int] = {}
    ready: int = 0
    told: str = ""


NOTHING: Final = Memory()


class Hints(Struct, frozen=True, gc=False):
    """The slices to write, with their hints, what to say about it, and what to remember."""

    create: list[EndpointSlice]
    update: list[EndpointSlice]
    notices: tuple[Notice, ...] = ()
    memory: Memory = NOTHING


def wants_proportional(service: Service) -> bool:
    """Whether the annotation asks for hints in proportion to the zones' CPU (ES-93)."""
    return service.topology_mode in ("Auto", "auto")


def concerned(memory: Memory, capacity: Capacity) -> bool:
    """Whether a change of Nodes asks for a sync: hints have become wrong, or a refusal may have healed."""
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
    slices: tuple[list[EndpointSlice], list[EndpointSlice], list[EndpointSlice]],
    before: Mapping[Identity, str],
) -> Hints:
    """Hints for the slices of one family: those to create, to update, and those that packing leaves alone.

    Of the last, only those are written whose hints change; so nothing is written twice (D-8). An Event is due when what
    there is to say differs from what was said last, for each family of its own.
    """
    create, update, unchanged = slices
    if not wants_proportional(service):
        made = _uniform(create, update, unchanged, hinting_for(service))
        off = (_disabled(Reason.TOPOLOGY_SWITCHED_OFF, family, ""),) if memory.told == ENABLED else ()
        return Hints(*made, notices=off)
    ready = sum(1 for each in (*create, *update, *unchanged) for one in each.endpoints if one.conditions.ready)
    wanted = shares(capacity, ready)
    outcome: Assigned | Refused = (
        wanted if isinstance(wanted, Refused) else assign(create, update, unchanged, wanted, before)
    )
    if isinstance(outcome, Refused):
        made = _uniform(create, update, unchanged, lambda _: None)
        counts = f" ({outcome.endpoints} endpoints, {outcome.zones} zones)" if outcome.zones else ""
        told = outcome.reason.value
        notices = (_disabled(outcome.reason, family, counts),) if told != memory.told else ()
        return Hints(*made, notices=notices, memory=Memory({}, ready, told))
    notices = (_enabled(family),) if memory.told != ENABLED else ()
    return Hints(outcome.create, outcome.update, notices, Memory(outcome.totals, ready, ENABLED))


def _uniform(
    create: Sequence[EndpointSlice],
    update: Sequence[EndpointSlice],
    unchanged: Sequence[EndpointSlice],
    hinting: Hinting,
) -> tuple[list[EndpointSlice], list[EndpointSlice]]:
    touched = [new for each in unchanged if (new := hinted(each, hinting)) is not each]
    return [hinted(each, hinting) for each in create], [*(hinted(each, hinting) for each in update), *touched]


def _enabled(family: str) -> Notice:
    return Notice("Normal", names.REASON_HINTS_ENABLED, f"Topology Aware Hints has been enabled, addressType: {family}")


def _disabled(reason: Reason, family: str, counts: str) -> Notice:
    message = f"Topology Aware Hints are not given: {reason.text}{counts}, addressType: {family}"
    return Notice("Warning", names.REASON_HINTS_DISABLED, message)
