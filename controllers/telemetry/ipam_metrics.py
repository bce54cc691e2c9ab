"""Every instrument of `sliceplane ipam run`, in one table; a page of its own, as it is a process of its own.

All series that the cluster's objects decide are seeded and replaced as a whole: none is missing after a restart, and
none stays when its pool has gone (kubernetes #139134, #140613). What is the process' own, such as its queues and its
requests, is in `metrics.REGISTRY`; the shell prints both.
"""

from collections import Counter as Tally
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from api.v1alpha1.common import Forecast
from controllers.ipam import capacity
from controllers.ipam.admission import NOT_ENTITLED, POOL_EXHAUSTED, QUOTA_EXCEEDED, RESERVED
from controllers.ipam.audit import Finding, Kind
from controllers.ipam.capacity import Count
from controllers.ipam.pools import Pool
from controllers.ipam.snapshot import Snapshot

REGISTRY: Final = CollectorRegistry(auto_describe=False)

# So many pools of a kind, and ranges of ServiceCIDRs, have series: first come, by priority or width.
MOST: Final = 256
PHASES: Final = ("Pending", "Held", "Bound", "HandingOver", "Conflict", "Expired")
_SECONDS: Final = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels, registry=REGISTRY)


def _gauge(name: str, text: str, *labels: str) -> Gauge:
    return Gauge(name, text, labels, registry=REGISTRY)


POOL_ADDRESSES: Final = _gauge(
    "sliceplane_ipam_pool_addresses", "Addresses of a pool: used, reserved, cooling, free", "pool", "family", "state"
)
POOL_PORTS: Final = _gauge("sliceplane_ipam_pool_ports", "Ports of a pool: used, reserved, free", "pool", "state")
POOL_LEVEL: Final = _gauge(
    "sliceplane_ipam_pool_level",
    "How full a pool is by its own thresholds: 0 below both, 1 at warnPercent, 2 at criticalPercent, 3 nothing is free",
    "kind",
    "pool",
)
SERVICE_CIDR_ADDRESSES: Final = _gauge(
    "sliceplane_ipam_servicecidr_addresses",
    "Addresses of a ServiceCIDR that Services can have: used, reserved, free; those of several count for the narrowest",
    "cidr",
    "family",
    "state",
)
EXHAUSTION_SECONDS: Final = _gauge(
    "sliceplane_ipam_pool_exhaustion_seconds",
    "Time until a pool is full if use goes on growing; only of forecasts with high confidence",
    "pool",
    "family",
)
RESERVATIONS: Final = _gauge("sliceplane_ipam_reservations", "ServiceReservations", "phase")
DRIFT: Final = _gauge("sliceplane_ipam_drift", "What the audit finds not to be as it should be", "kind")
REPAIRS: Final = _counter("sliceplane_ipam_repairs_total", "What the audit has mended", "kind")
ALLOCATIONS: Final = _counter("sliceplane_ipam_allocations_total", "Numbers chosen for Services", "pool", "result")
CONFLICTS: Final = _counter(
    "sliceplane_ipam_conflicts_total", "Numbers that turned out to be taken, or claimed, after they were chosen", "kind"
)
ADMISSION_DECISIONS: Final = _counter(
    "sliceplane_ipam_admission_decisions_total", "Answers to admission reviews", "decision", "reason"
)
ADMISSION_SECONDS: Final = Histogram(
    "sliceplane_ipam_admission_duration_seconds",
    "Time from an admission review to its answer",
    buckets=_SECONDS,
    registry=REGISTRY,
)
FAIL_OPEN: Final = _counter(
    "sliceplane_ipam_failopen_total", "Services that got numbers without our choice, as while no replica answered"
)

# What the leader's rounds set; nothing else has them.
_GAUGES: Final = (
    POOL_ADDRESSES,
    POOL_PORTS,
    POOL_LEVEL,
    SERVICE_CIDR_ADDRESSES,
    EXHAUSTION_SECONDS,
    RESERVATIONS,
    DRIFT,
)
# The forecast of each family of each pool: by (pool, family).
Forecasts = Mapping[tuple[str, str], Forecast | None]


def seed() -> None:
    """Gives every counter of a closed set its zero, so that the first increase is seen as one."""
    REPAIRS.labels("recreate_ipaddress")
    for reason in (NOT_ENTITLED, RESERVED, QUOTA_EXCEEDED, POOL_EXHAUSTED):
        ADMISSION_DECISIONS.labels("denied", reason)


def measure(snapshot: Snapshot, found: Iterable[Finding], forecasts: Forecasts, now: datetime) -> None:
    """Sets all gauges to what a snapshot and its audit say. Not while a page is being made: they are empty first."""
    forget()
    _measure_addresses(snapshot, forecasts, now)
    for pool in snapshot.port_pools[:MOST]:
        count = capacity.port_pool_count(pool, snapshot)
        POOL_LEVEL.labels("ServicePortPool", pool.name).set(level(pool, [count]))
        for state, number in _states(count):
            POOL_PORTS.labels(pool.name, state).set(number)
    phases = Tally(each.phase for each in snapshot.reservations)
    for phase in PHASES:
        RESERVATIONS.labels(phase).set(phases[phase])
    kinds = Tally(each.kind for each in found)
    for kind in Kind:
        DRIFT.labels(kind.value).set(kinds[kind])


def forget() -> None:
    """Takes all gauges off the page: they are the leader's to tell, and a former leader's would stay as they are."""
    for gauge in _GAUGES:
        gauge.clear()


def _measure_addresses(snapshot: Snapshot, forecasts: Forecasts, now: datetime) -> None:
    for pool in snapshot.ip_pools[:MOST]:
        counts = capacity.ip_pool_counts(pool, snapshot)
        POOL_LEVEL.labels("ServiceIPPool", pool.name).set(level(pool, counts))
        for count in counts:
            for state, number in (*_states(count), ("cooling", count.cooling)):
                POOL_ADDRESSES.labels(pool.name, count.family, state).set(number)
            _exhaustion(pool.name, count.family, forecasts, now)
    for each in capacity.service_cidr_counts(snapshot)[:MOST]:
        for state, number in _states(each.count):
            SERVICE_CIDR_ADDRESSES.labels(each.cidr, each.count.family, state).set(number)


def level(pool: Pool, counts: Sequence[Count]) -> int:
    """How full a pool is, of two families the fuller: the conditions NearExhaustion and Exhausted as a number."""
    if any(each.reach and not each.assignable for each in counts):
        return 3
    percent = max((each.percent for each in counts), default=0.0)
    return (percent >= pool.warn_percent) + (percent >= pool.critical_percent)


def _states(count: Count) -> tuple[tuple[str, int], ...]:
    return ("used", count.used), ("reserved", count.reserved), ("free", count.free)


def _exhaustion(pool: str, family: str, forecasts: Forecasts, now: datetime) -> None:
    found = forecasts.get((pool, family))
    if found is not None and found.exhausts_at is not None and found.confidence == "High":
        EXHAUSTION_SECONDS.labels(pool, family).set(max(0.0, (found.exhausts_at - now).total_seconds()))


seed()
