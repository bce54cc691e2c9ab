"""Metrics of mirroring, kept up to date one Endpoints object at a time (MI-52, MI-53)."""

from controllers.mirroring.reconcile import Plan
from controllers.model.reasons import Reason
from controllers.runtime.slice_metrics import Totals
from controllers.telemetry import metrics


class MirroringMetrics:
    """What each Endpoints object adds to the gauges, and why it is not mirrored."""

    def __init__(self) -> None:
        self._sizes = Totals(metrics.MIRRORED_DESIRED, metrics.MIRRORED_SLICES, metrics.MIRRORED_SLICES_DESIRED)
        self._reasons: dict[str, Reason] = {}

    def planned(self, key: str, plan: Plan) -> None:
        """A sync has been planned; it counts even if its writes fail."""
        counts = plan.counts
        if counts is None:
            self._sizes.forget(key)
        else:
            metrics.MIRRORED_SKIPPED.observe(counts.skipped)
            metrics.MIRRORED_ADDED.observe(counts.added)
            metrics.MIRRORED_UPDATED.observe(counts.updated)
            metrics.MIRRORED_REMOVED.observe(counts.removed)
            self._sizes.replace(key, (counts.endpoints, counts.slices, counts.perfect_slices))
        self.not_mirrored(key, plan.not_mirrored)

    def not_mirrored(self, key: str, reason: Reason | None) -> None:
        """Why Endpoints are not mirrored; those that have gone do not count."""
        now = None if reason is Reason.ENDPOINTS_GONE else reason
        before = self._reasons.pop(key, None)
        if now is not None:
            self._reasons[key] = now
        if now is not before:
            for each, change in ((before, -1), (now, 1)):
                if each is not None:
                    metrics.ENDPOINTS_NOT_MIRRORED.labels(reason=each.value).inc(change)
