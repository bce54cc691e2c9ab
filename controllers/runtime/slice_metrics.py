"""Gauges about all Services, kept up to date one Service at a time (ES-145 ... ES-148)."""

from collections import Counter

from controllers.endpointslice.reconcile import FamilyPlan, Plan
from controllers.model.objects import Service
from controllers.model.reasons import Reason
from controllers.telemetry import metrics
from controllers.topology.distribution import VALID
from controllers.topology.hints import wants_proportional

_NOTHING = (0, 0, 0)


class SliceMetrics:
    """What each Service adds to the gauges, so that it can be taken away again."""

    def __init__(self, max_endpoints: int) -> None:
        self._max_endpoints = max_endpoints
        self._sizes: dict[str, tuple[int, int, int]] = {}
        self._totals = _NOTHING
        self._left_out: dict[str, Counter[Reason]] = {}
        self._distribution: dict[str, str] = {}

    def planned(self, key: str, service: Service, plan: Plan) -> None:
        """A Service has been planned; a dual-stack Service counts as its last family (ES-147)."""
        for family in plan.families:
            metrics.ENDPOINTS_ADDED.observe(family.added)
            metrics.ENDPOINTS_REMOVED.observe(family.removed)
        if plan.families:
            self._resize(key, self._size(plan.families[-1]))
        self._recount(key, Counter(left.reason for left in plan.left_out))
        distribution = service.traffic_distribution or ""
        self._redistribute(key, distribution if distribution in VALID and plan.not_synced is None else "")

    def written(self, service: Service, plan: Plan) -> None:
        """Every write of a plan has succeeded; suppressed creates count as well (ES-145)."""
        proportional = wants_proportional(service)
        distribution = service.traffic_distribution if service.traffic_distribution in VALID else None
        observed = metrics.SLICES_CHANGED.labels(
            topology="Auto" if proportional else "Disabled",
            traffic_distribution=distribution if distribution is not None and not proportional else "",
        )
        for family in plan.families:
            writes = family.writes
            observed.observe(len(writes.create) + family.suppressed + len(writes.update) + len(writes.delete))

    def forget(self, key: str) -> None:
        """The Service has gone."""
        self._resize(key, _NOTHING)
        self._recount(key, Counter())
        self._redistribute(key, "")

    def _size(self, family: FamilyPlan) -> tuple[int, int, int]:
        perfect = sum(-(-size.endpoints // self._max_endpoints) for size in family.sizes)
        return (
            sum(size.endpoints for size in family.sizes),
            sum(size.slices for size in family.sizes),
            max(perfect, 1),
        )

    def _resize(self, key: str, now: tuple[int, int, int]) -> None:
        before = self._sizes.pop(key, _NOTHING)
        if now != _NOTHING:
            self._sizes[key] = now
        if now == before:
            return
        endpoints, slices, perfect = (
            total + new - old for total, new, old in zip(self._totals, now, before, strict=True)
        )
        self._totals = (endpoints, slices, perfect)
        metrics.ENDPOINTS_DESIRED.set(endpoints)
        metrics.SLICES_ACTUAL.set(slices)
        metrics.SLICES_DESIRED.set(perfect)

    def _recount(self, key: str, now: Counter[Reason]) -> None:
        before = self._left_out.pop(key, Counter())
        if now:
            self._left_out[key] = now
        if now != before:
            for reason in now.keys() | before.keys():
                metrics.PODS_LEFT_OUT.labels(reason=reason.value).inc(now[reason] - before[reason])

    def _redistribute(self, key: str, now: str) -> None:
        before = self._distribution.pop(key, "")
        if now:
            self._distribution[key] = now
        if now != before:
            for value, change in ((before, -1), (now, 1)):
                if value:
                    metrics.SERVICES_BY_DISTRIBUTION.labels(traffic_distribution=value).inc(change)
