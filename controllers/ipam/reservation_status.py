"""What a ServiceReservation is at: its phase, what it has adopted, who is in its way.

Of two reservations of a number for different Services the older is in force (by creation, then namespace and name); but
who has a number keeps it: a live Service is never told to give up what is its own.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from msgspec.structs import replace

from api.v1alpha1.service_reservation import ReservedPort, ServiceReservation, ServiceReservationStatus
from controllers.ipam.compiled import reservation as compiled
from controllers.ipam.conditions import Verdict
from controllers.ipam.objects import Service
from controllers.ipam.pools import Reservation
from controllers.ipam.ranges import family_of, text_of
from controllers.ipam.snapshot import HOLD_MANAGER, Snapshot, reserved_numbers
from controllers.ipam.status import conditions

BOUND: Final = "Bound"
CONFLICT: Final = "Conflict"

# As many as the status may have.
_MOST_PORTS: Final = 64

Phase = Literal["Pending", "Held", "Bound", "HandingOver", "Conflict", "Expired"]


class Judgement(NamedTuple):
    """A phase, and why it is that one."""

    phase: Phase
    reason: str
    message: str


def reservation_status(resource: ServiceReservation, snapshot: Snapshot, now: datetime) -> ServiceReservationStatus:
    """The status of a reservation; it equals `resource.status` when nothing has changed.

    `snapshot.reservations` may hold the same one as it was before: its own entry is not looked at.
    """
    previous = resource.status
    if resource.metadata.deletion_timestamp is not None:
        return previous
    wanted = _adopted(resource, snapshot)
    service = snapshot.services.get(wanted.key)
    found = _judged(wanted, service, previous.last_bound, snapshot, now)
    bound = found.phase == BOUND
    # No write a minute for a Service that lives: the time is told when it begins, and when it is over.
    moment = now.replace(microsecond=0)
    last_bound = moment if bound != (previous.phase == BOUND) else previous.last_bound
    return ServiceReservationStatus(
        observed_generation=wanted.generation,
        phase=found.phase,
        bound_uid=service.uid if bound and service is not None else None,
        addresses=wanted.addresses,
        node_ports=tuple(ReservedPort(port_name=name, node_port=number) for name, number in wanted.node_ports),
        health_check_node_port=wanted.health_check_node_port or None,
        last_bound=last_bound,
        conditions=conditions(_verdicts(found), wanted.generation, now, previous.conditions),
    )


def _verdicts(found: Judgement) -> list[Verdict]:
    conflict = found.phase == CONFLICT
    return [
        Verdict(BOUND, found.phase == BOUND, found.reason, found.message),
        Verdict(
            CONFLICT,
            conflict,
            found.reason if conflict else "NoConflict",
            found.message if conflict else "Nobody else has a claim to what is reserved",
        ),
    ]


def _adopted(resource: ServiceReservation, snapshot: Snapshot) -> Reservation:
    """The reservation with what it takes over: what the live Service has now, else what it had when last seen.

    Each kind of number by itself, and only where the spec names none: a Service that is left with one family is
    followed, and one that has become headless or an alias is not, as it may become what it was again.
    """
    wanted = compiled(resource)
    service = snapshot.services.get(wanted.key)
    if not resource.spec.adopt or service is None:
        return wanted
    spec = resource.spec
    if service.addresses:
        named = {family_of(each) for each in spec.addresses}
        live = (each for each in service.addresses if family_of(each) not in named)
        wanted = replace(wanted, addresses=(*spec.addresses, *live)[:2])
    if service.takes_node_ports and service.node_ports:
        ports = {each.name: each.node_port for each in service.ports if each.node_port}
        ports |= {each.port_name: each.node_port for each in spec.node_ports}
        wanted = replace(wanted, node_ports=tuple(sorted(ports.items())[:_MOST_PORTS]))
    if service.takes_health_port and service.health_check_node_port and not spec.health_check_node_port:
        wanted = replace(wanted, health_check_node_port=service.health_check_node_port)
    return wanted


def _judged(
    wanted: Reservation, service: Service | None, last_bound: datetime | None, snapshot: Snapshot, now: datetime
) -> Judgement:
    numbers = list(reserved_numbers(wanted))
    if not numbers:
        return Judgement("Pending", "NothingToAdopt", f"The Service {wanted.key} has not been seen with any number")
    lacking = _lacking(service, numbers, snapshot)
    others = _other_holders(wanted, numbers, snapshot)
    if service is not None and not lacking and not others:
        return Judgement("Bound", "ServiceHasIt", f"The Service {service.key} has all that is reserved")
    # As long as its Service has any of it, it has been seen just now.
    unused = service is None or len(lacking) == len(numbers)
    if unused and _over(wanted, last_bound, snapshot, now):
        return Judgement("Expired", "TTLExpired", "The time that it is kept without its Service is over")
    if others:
        return Judgement("Conflict", "HeldByOther", f"{_said(others)}. Make that Service anew, or reserve another")
    if older := _older(wanted, numbers, snapshot):
        return Judgement("Conflict", "ReservedByOther", f"{_said(older)}. Delete one of the reservations")
    return _waiting(wanted, service, lacking, snapshot)


def _waiting(
    wanted: Reservation, service: Service | None, lacking: Sequence[tuple[str, int]], snapshot: Snapshot
) -> Judgement:
    """The phase of a reservation that nobody is in the way of."""
    if told := _out_of_reach(wanted, snapshot):
        return Judgement("Pending", "OutOfReach", told)
    objects = {each: snapshot.addresses.get(each) for each in wanted.addresses}
    absent = {_text(*each) for each in lacking}
    if any(each is not None and each.service == wanted.key and text in absent for text, each in objects.items()):
        return Judgement("HandingOver", "BeingAllocated", f"The API server allocates it to the Service {wanted.key}")
    if (
        wanted.hold
        and service is None
        and any(each is None or each.manager != HOLD_MANAGER for each in objects.values())
    ):
        if wanted.phase in ("Held", "HandingOver"):
            return Judgement("HandingOver", "HoldReleased", "The IPAddress that kept the address has made way for it")
        return Judgement("Pending", "HoldMissing", "The IPAddress that keeps the address is not there yet")
    if service is None:
        return Judgement("Held", "NoService", f"It is kept for the Service {wanted.key}, which does not exist")
    told = ", ".join(_text(*each) for each in lacking)
    return Judgement("Held", "NotUsed", f"The Service {service.key} exists without {told}. Make it anew to have it")


def _lacking(service: Service | None, numbers: Iterable[tuple[str, int]], snapshot: Snapshot) -> list[tuple[str, int]]:
    key = service.key if service is not None else ""
    return [(kind, number) for kind, number in numbers if key not in snapshot.holdings(kind).holders.get(number, ())]


def _other_holders(
    wanted: Reservation, numbers: Iterable[tuple[str, int]], snapshot: Snapshot
) -> list[tuple[str, str]]:
    """The numbers that another Service has, or that an IPAddress of somebody else's takes, each with whose it is."""
    found = []
    for kind, number in numbers:
        holders = [key for key in snapshot.holdings(kind).holders.get(number, ()) if key != wanted.key]
        found += [(_text(kind, number), f"held by the Service {key}") for key in sorted(holders)]
        taken = snapshot.addresses.get(_text(kind, number)) if kind and not holders else None
        # The API server's own without a Service are on their way: to this one, or to be deleted (IP-54).
        if taken is not None and taken.service is None and taken.manager != HOLD_MANAGER:
            parent = "/".join(each for each in taken.parent if each) or taken.manager or "nobody known"
            found.append((_text(kind, number), f"taken by an IPAddress of {parent}"))
    return found


def _older(wanted: Reservation, numbers: Iterable[tuple[str, int]], snapshot: Snapshot) -> list[tuple[str, str]]:
    """The numbers that an older reservation keeps for another Service, each with its name."""
    mine, found = (wanted.created, wanted.namespace, wanted.name), []
    for each in numbers:
        for other in snapshot.claims.get(each, ()):
            older = (other.created, other.namespace, other.name) < mine
            if older and other.in_force and other.key != wanted.key:
                found.append((_text(*each), f"reserved by {other.namespace}/{other.name}, which is older"))
    return found


def _over(wanted: Reservation, last_bound: datetime | None, snapshot: Snapshot, now: datetime) -> bool:
    """Whether its TTL has passed since its Service was last seen with it, or else since it was created.

    A reservation that was Bound a moment ago counts from now on, however long ago `last_bound` says that began.
    """
    if wanted.ttl is None or wanted.phase == BOUND:
        return False
    since = last_bound or (datetime.fromisoformat(wanted.created) if wanted.created else now)
    return now - since >= timedelta(seconds=wanted.ttl)


def _out_of_reach(wanted: Reservation, snapshot: Snapshot) -> str:
    """What the API server would refuse of it as things are, in words; "" when there is nothing (IP-17, IP-44)."""
    first, last = snapshot.node_ports
    addresses = [each for each in wanted.addresses if not snapshot.usable.holds(each)]
    ports = [str(each) for each in wanted.numbers() if not first <= each <= last]
    said = [f"{', '.join(addresses)} is in no ServiceCIDR that is ready"] if addresses else []
    said += [f"{', '.join(ports)} is outside --service-node-port-range={first}-{last}"] if ports else []
    return "; ".join(said)


def _text(kind: str, number: int) -> str:
    return text_of(kind, number) if kind else str(number)


def _said(found: Iterable[tuple[str, str]]) -> str:
    return "; ".join(f"{text} is {whose}" for text, whose in found)
