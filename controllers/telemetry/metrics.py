"""Every instrument, in one table. KCM's names, types, labels and buckets where KCM measures the same (ES-145, ES-149).

`render` writes them as Go's client library does: prometheus-client's own output adds `_total` and `_created` to names.
"""

import platform
from collections.abc import Iterable, Iterator
from itertools import accumulate
from operator import mul
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.utils import floatToGoString

from controllers import __version__

REGISTRY: Final = CollectorRegistry(auto_describe=False)

_POWERS: Final = [2.0**n for n in range(1, 16)]
# Multiplied one by one, as Go does: 1e-05 comes out as 9.999999999999999e-06, and is a label.
_QUEUE_BUCKETS: Final = list(accumulate([1e-8, *[10.0] * 9], mul))
_SECONDS: Final = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0]


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels, registry=REGISTRY)


def _gauge(name: str, text: str, *labels: str) -> Gauge:
    return Gauge(name, text, labels, registry=REGISTRY)


def _histogram(name: str, text: str, buckets: Iterable[float], *labels: str) -> Histogram:
    return Histogram(name, text, labels, buckets=list(buckets), registry=REGISTRY)


_SLICES: Final = "endpoint_slice_controller_"
ENDPOINTS_ADDED: Final = _histogram(
    _SLICES + "endpoints_added_per_sync", "Number of endpoints added on each Service sync", _POWERS
)
ENDPOINTS_REMOVED: Final = _histogram(
    _SLICES + "endpoints_removed_per_sync", "Number of endpoints removed on each Service sync", _POWERS
)
ENDPOINTS_DESIRED: Final = _gauge(_SLICES + "endpoints_desired", "Number of endpoints desired")
SLICES_ACTUAL: Final = _gauge(_SLICES + "num_endpoint_slices", "Number of EndpointSlices")
SLICES_DESIRED: Final = _gauge(
    _SLICES + "desired_endpoint_slices", "Number of EndpointSlices that would exist with perfect endpoint allocation"
)
SLICE_CHANGES: Final = _counter(_SLICES + "changes", "Number of EndpointSlice changes", "operation")
SLICES_CHANGED: Final = _histogram(
    _SLICES + "endpointslices_changed_per_sync",
    "Number of EndpointSlices changed on each Service sync",
    [1.0],
    "topology",
    "traffic_distribution",
)
SERVICES_BY_DISTRIBUTION: Final = _gauge(
    _SLICES + "services_count_by_traffic_distribution",
    "Number of Services using some specific trafficDistribution",
    "traffic_distribution",
)
SYNCS: Final = _counter(_SLICES + "syncs", "Number of EndpointSlice syncs", "result")
ALL_SYNCS: Final = _counter(
    "sliceplane_syncs_total",
    "Syncs that ended: success, error, or stale, which is planned again",
    "controller",
    "result",
)

QUEUE_ADDS: Final = _counter("workqueue_adds_total", "Total number of adds handled by workqueue", "name")
QUEUE_UNFINISHED: Final = _gauge(
    "workqueue_unfinished_work_seconds",
    "How many seconds of work has done that is in progress and hasn't been observed by work_duration.",
    "name",
)
QUEUE_LONGEST: Final = _gauge(
    "workqueue_longest_running_processor_seconds",
    "How many seconds has the longest running processor for workqueue been running.",
    "name",
)
QUEUE_DEPTH: Final = _gauge("workqueue_depth", "Current depth of workqueue", "name")
QUEUE_WAIT: Final = _histogram(
    "workqueue_queue_duration_seconds",
    "How long in seconds an item stays in workqueue before being requested.",
    _QUEUE_BUCKETS,
    "name",
)
QUEUE_WORK: Final = _histogram(
    "workqueue_work_duration_seconds",
    "How long in seconds processing an item from workqueue takes.",
    _QUEUE_BUCKETS,
    "name",
)
QUEUE_RETRIES: Final = _counter("workqueue_retries_total", "Total number of retries handled by workqueue", "name")

REST_CLIENT_REQUESTS: Final = _counter(
    "rest_client_requests_total",
    "Number of HTTP requests, partitioned by status code, method, and host.",
    "code",
    "host",
    "method",
)

_MIRRORING: Final = "endpoint_slice_mirroring_controller_"
MIRRORED_ADDED: Final = _histogram(
    _MIRRORING + "endpoints_added_per_sync", "Number of endpoints added on each Endpoints sync", _POWERS
)
MIRRORED_UPDATED: Final = _histogram(
    _MIRRORING + "endpoints_updated_per_sync", "Number of endpoints updated on each Endpoints sync", _POWERS
)
MIRRORED_REMOVED: Final = _histogram(
    _MIRRORING + "endpoints_removed_per_sync", "Number of endpoints removed on each Endpoints sync", _POWERS
)
MIRRORED_SKIPPED: Final = _histogram(
    _MIRRORING + "addresses_skipped_per_sync",
    "Number of addresses skipped on each Endpoints sync due to being invalid or exceeding MaxEndpointsPerSubset",
    _POWERS,
)
MIRRORING_SECONDS: Final = _histogram(
    _MIRRORING + "endpoints_sync_duration",
    "Duration of syncEndpoints() in seconds",
    [0.001 * 2**n for n in range(15)],
)
MIRRORED_DESIRED: Final = _gauge(_MIRRORING + "endpoints_desired", "Number of endpoints desired")
MIRRORED_SLICES: Final = _gauge(_MIRRORING + "num_endpoint_slices", "Number of EndpointSlices")
MIRRORED_SLICES_DESIRED: Final = _gauge(
    _MIRRORING + "desired_endpoint_slices", "Number of EndpointSlices that would exist with perfect endpoint allocation"
)
MIRRORED_CHANGES: Final = _counter(_MIRRORING + "changes", "Number of EndpointSlice changes", "operation")

ENDPOINTS_WRITES: Final = _counter(
    "sliceplane_endpoints_writes_total",
    "Writes of Endpoints, which only clients of the deprecated Endpoints API read",
    "operation",
)
ENDPOINTS_NOT_MIRRORED: Final = _gauge(
    "sliceplane_endpoints_not_mirrored", "Endpoints that are not mirrored to EndpointSlices", "reason"
)
LEADING: Final = _gauge(
    "leader_election_master_status",
    "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, 1 indicates master. "
    "'name' is the string used to identify the lease. Please make sure to group by name.",
    "name",
)
LEADING_SLOWPATH: Final = _counter(
    "leader_election_slowpath_total",
    "Total number of slow path exercised in renewing leader leases. 'name' is the string used to identify the lease.",
    "name",
)
DECODE_ERRORS: Final = _counter(
    "sliceplane_decode_errors_total", "Objects that did not decode and were skipped", "kind"
)
PODS_LEFT_OUT: Final = _gauge(
    "sliceplane_pods_left_out", "Selected Pods that are not published, per Service and address type", "reason"
)
SHARDS: Final = _gauge(
    "sliceplane_shards", "How many shares of the Namespaces there are; this process has the one in the label.", "shard"
)
STORED: Final = _gauge("sliceplane_stored_objects", "Objects in the cache", "kind")
WATCH_TO_WRITE_SECONDS: Final = _histogram(
    "sliceplane_watch_to_write_seconds",
    "Time from the first change that a sync is for to the answer to its last write",
    _SECONDS,
    "controller",
    "cause",
)
RECONCILE_SECONDS: Final = _histogram(
    "sliceplane_reconcile_seconds",
    "Time that planning a sync takes, without reading or writing",
    [0.00001 * 2**n for n in range(16)],
    "controller",
)
WRITE_SECONDS: Final = _histogram(
    "sliceplane_write_seconds", "Time from sending a write to its answer", _SECONDS, "kind", "verb"
)
EVENTS_DROPPED: Final = _counter("sliceplane_events_dropped_total", "Events not recorded: too many, or refused")
BUILD_INFO: Final = _gauge(
    "sliceplane_build_info", "Always 1: the labels say which version runs, on which Python.", "version", "python"
)
BUILD_INFO.labels(__version__, platform.python_version()).set(1)
# process_cpu_seconds_total, process_resident_memory_bytes and so on, from /proc at every scrape; as KCM's.
ProcessCollector(registry=REGISTRY)


def forget_totals() -> None:
    """What the controllers of a term have counted is theirs: a replica that does not lead wants nothing."""
    for gauge in (ENDPOINTS_DESIRED, SLICES_ACTUAL, SLICES_DESIRED, MIRRORED_DESIRED, MIRRORED_SLICES):
        gauge.set(0)
    MIRRORED_SLICES_DESIRED.set(0)
    for labelled in (PODS_LEFT_OUT, SERVICES_BY_DISTRIBUTION, ENDPOINTS_NOT_MIRRORED):
        labelled.clear()


def _samples(metric: Metric) -> Iterator[str]:
    for sample in metric.samples:
        if sample.name.endswith("_created"):
            continue
        if metric.name in _WITHOUT_BUCKETS and sample.labels.get("le", "+Inf") != "+Inf":
            continue
        name = sample.name
        if metric.type == "counter" and name == f"{metric.name}_total" and metric.name in _WITHOUT_TOTAL:
            name = metric.name
        labels = ",".join(f'{key}="{_label(key, value)}"' for key, value in sample.labels.items())
        yield f"{name}{{{labels}}} {_number(sample.value)}\n" if labels else f"{name} {_number(sample.value)}\n"


# Counters that KCM named before names had to end in _total.
_WITHOUT_TOTAL: Final = frozenset({_SLICES + "changes", _SLICES + "syncs", _MIRRORING + "changes"})
# KCM's has none but the last, and Python's client wants one more.
_WITHOUT_BUCKETS: Final = frozenset({_SLICES + "endpointslices_changed_per_sync"})


def _label(key: str, value: str) -> str:
    if key == "le":
        value = _number(float(value))
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    """As Go's client prints it: no `.0`, and an exponent of two digits for what is small or large."""
    text: str = floatToGoString(value)  # type: ignore[no-untyped-call]
    return text.removesuffix(".0")


def render(registry: CollectorRegistry | None = None, of: tuple[str, ...] = ("",)) -> bytes:
    """A registry's instruments, of this module's by default, in Prometheus' text format, version 0.0.4.

    Of those only the ones whose names start with one of `of`.
    """
    lines: list[str] = []
    for metric in (REGISTRY if registry is None else registry).collect():
        if not metric.name.startswith(of):
            continue
        plain = metric.type == "counter" and metric.name not in _WITHOUT_TOTAL
        name = f"{metric.name}_total" if plain else metric.name
        lines.append(f"# HELP {name} {metric.documentation}\n# TYPE {name} {metric.type}\n")
        lines.extend(_samples(metric))
    return "".join(lines).encode()
