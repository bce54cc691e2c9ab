"""The statuses of pools: an object that equals the previous one whenever nothing worth writing has changed."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

from api.v1alpha1.common import Audit, Condition, Consumer, Forecast, Summary
from api.v1alpha1.service_ip_pool import AddressCapacity, ServiceIPPoolStatus
from api.v1alpha1.service_port_pool import PortCapacity, ServicePortPoolStatus
from controllers.ipam import capacity
from controllers.ipam.audit import Finding
from controllers.ipam.capacity import Count
from controllers.ipam.conditions import Enforcement, Verdict, ip_pool_verdicts, port_pool_verdicts
from controllers.ipam.pools import IPPool, PortPool
from controllers.ipam.ranges import IPV4
from controllers.ipam.snapshot import Snapshot

# An audit without news is told of no more often than this: each time is a write.
AUDIT_TOLD: Final = timedelta(hours=1)
_LONGEST_MESSAGE: Final = 4096
_STATES: Final[dict[bool | None, Literal["True", "False", "Unknown"]]] = {True: "True", False: "False", None: "Unknown"}


def ip_pool_status(
    pool: IPPool,
    snapshot: Snapshot,
    found: Sequence[Finding],
    enforcement: Enforcement,
    forecast: Forecast | None,
    now: datetime,
    previous: ServiceIPPoolStatus,
) -> ServiceIPPoolStatus:
    """The status of a pool of addresses. `found` are all findings of the audit that ended at `now`."""
    counts = capacity.ip_pool_counts(pool, snapshot)
    verdicts = ip_pool_verdicts(pool, snapshot, counts, found, enforcement)
    own = sum(pool.name in each.pools for each in found)
    return ServiceIPPoolStatus(
        observed_generation=pool.generation,
        capacity=tuple(
            AddressCapacity(
                family="IPv4" if each.family == IPV4 else "IPv6",
                total=each.total,
                used=each.used,
                reserved=each.reserved,
                cooling=each.cooling,
                free=each.free,
            )
            for each in counts
        ),
        summary=summary(counts),
        forecast=forecast,
        top_consumers=_consumers(capacity.ip_pool_consumers(pool, snapshot)),
        last_audit=_audit(own, now, previous.last_audit),
        conditions=conditions(verdicts, pool.generation, now, previous.conditions),
    )


def port_pool_status(
    pool: PortPool,
    snapshot: Snapshot,
    found: Sequence[Finding],
    enforcement: Enforcement,
    forecast: Forecast | None,
    now: datetime,
    previous: ServicePortPoolStatus,
) -> ServicePortPoolStatus:
    """The status of a pool of ports."""
    count = capacity.port_pool_count(pool, snapshot)
    verdicts = port_pool_verdicts(pool, snapshot, count, found, enforcement)
    own = sum(pool.name in each.port_pools for each in found)
    return ServicePortPoolStatus(
        observed_generation=pool.generation,
        capacity=PortCapacity(total=count.total, used=count.used, reserved=count.reserved, free=count.free),
        summary=summary([count]),
        forecast=forecast,
        top_consumers=_consumers(capacity.port_pool_consumers(pool, snapshot)),
        last_audit=_audit(own, now, previous.last_audit),
        conditions=conditions(verdicts, pool.generation, now, previous.conditions),
    )


def conditions(
    verdicts: Iterable[Verdict], generation: int, now: datetime, previous: Iterable[Condition]
) -> tuple[Condition, ...]:
    """The verdicts with times: a condition keeps its own while its status is the same, whatever else is new."""
    before = {each.type: each for each in previous}
    # The API keeps whole seconds: with more, a status would never equal the one that was read back.
    moment = now.replace(microsecond=0)
    found = []
    for verdict in verdicts:
        old, state = before.get(verdict.type), _STATES[verdict.true]
        since = old.last_transition_time if old is not None and old.status == state else moment
        found.append(
            Condition(
                type=verdict.type,
                status=state,
                observed_generation=generation,
                last_transition_time=since,
                reason=verdict.reason,
                message=_cut(verdict.message),
            )
        )
    return tuple(found)


def summary(counts: Sequence[Count]) -> Summary:
    """As kubectl prints it; a percentage is rounded down, so that 0 may have a little left and 100 has nothing used."""
    return Summary(
        total="/".join(str(each.total) for each in counts),
        used="/".join(str(each.used) for each in counts),
        free_percent="/".join(str(100 * each.free // each.total if each.total else 0) for each in counts),
    )


def _cut(message: str) -> str:
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[: _LONGEST_MESSAGE - 1]}…"


def _consumers(found: Iterable[tuple[str, int]]) -> tuple[Consumer, ...]:
    return tuple(Consumer(namespace=namespace, count=count) for namespace, count in found)


def _audit(found: int, now: datetime, previous: Audit | None) -> Audit:
    """The previous one while it says the same and is not old: times alone are no reason to write."""
    if previous is not None and previous.findings == found and timedelta() <= now - previous.time < AUDIT_TOLD:
        return previous
    return Audit(time=now.replace(microsecond=0), findings=found)
