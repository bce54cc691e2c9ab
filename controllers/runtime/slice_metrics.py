"""Gauges about all Services, kept up to date one Service at a time (ES-145 ... ES-148)."""

import functools
from collections import Counter
from collections.abc import Sequence
from typing import Final

from prometheus_client import Gauge

from controllers.endpointslice.reconcile import FamilyPlan, Plan
from controllers.model.objects import Service
from controllers.model.reasons import Reason
from controllers.telemetry import metrics
from controllers.topology.distribution import VALID
from controllers.topology.hints import wants_proportional

_slices_changed: Final = functools.cache(metrics.SLICES_CHANGED.labels)


class Totals:
    """Gauges that are sums over keys: what each adds is remembered, so that it can be taken away again."""

    def __init__(self, *gauges: Gauge) -> None:
        self._gauges = gauges
        self._parts: dict[str, tuple[int, ...]] = {}
        self._sums = [0] * len(gauges)

    def replace(self, key: str, now: Sequence[int]) -> None:
        """What a key adds from now on, a number for each gauge; nothing, when they are all 0."""
        nothing = (0,) * len(self._gauges)
        before = self._parts.pop(key, nothing)
        after = tuple(now)
        if after != nothing:
            self._parts[key] = after
        if after == before:
            return
        self._sums = [total + new - old for total, new, old in zip(self._sums, after, before, strict=True)]
        for gauge, total in zip(self._gauges, self._sums, strict=True):
            gauge.set(total)

    def forget(self, key: str) -> None:
        """The key has gone."""
        self.replace(key, (0,) * len(self._gauges))


class SliceMetrics:
    """What each Service adds to the gauges, so that it can be taken away again."""

    def __init__(self, max_endpoints: int) -> None:
        self._max_endpoints = max_endpoints
        self._sizes = Totals(metrics.ENDPOINTS_DESIRED, metrics.SLICES_ACTUAL, metrics.SLICES_DESIRED)
        self._left_out: dict[str, Counter[Reason]] = {}
        self._distribution: dict[str, str] = {}

    def planned(self, key: str, service: Service, plan: Plan) -> None:
        """A Service has been planned; a dual-stack Service counts as its last family (ES-147)."""
        for family in plan.families:
            metrics.ENDPOINTS_ADDED.observe(family.added)
            metrics.ENDPOINTS_REMOVED.observe(family.removed)
        if plan.families:
            self._sizes.replace(key, self._size(plan.families[-1]))
        self._recount(key, Counter(left.reason for left in plan.left_out))
        distribution = service.traffic_distribution or ""
        self._redistribute(key, distribution if distribution in VALID and plan.not_synced is None else "")

    def written(self, service: Service, plan: Plan) -> None:
        """Every write of a plan has succeeded; suppressed creates count as well (ES-145)."""
        proportional = wants_proportional(service)
        distribution = service.traffic_distribution if service.traffic_distribution in VALID else None
        observed = _slices_changed(
            "Auto" if proportional else "Disabled",
            distribution if distribution is not None and not proportional else "",
        )
        for family in plan.families:
            writes = family.writes
            observed.observe(len(writes.create) + family.suppressed + len(writes.update) + len(writes.delete))

    def forget(self, key: str) -> None:
        """The Service has gone."""
        self._sizes.forget(key)
        self._recount(key, Counter())
        self._redistribute(key, "")

    def _size(self, family: FamilyPlan) -> tuple[int, int, int]:
        perfect = sum(-(-size.endpoints // self._max_endpoints) for size in family.sizes)
        return (
            sum(size.endpoints for size in family.sizes),
            sum(size.slices for size in family.sizes),
            max(perfect, 1),
        )

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
