"""The metrics page: Go's text format, and the names that KCM's users know (ES-145, ES-149)."""

import math
import platform
import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families

from controllers import __version__
from controllers.telemetry import metrics

PUBLISHED = {
    "endpoint_slice_controller_endpoints_added_per_sync": "histogram",
    "endpoint_slice_controller_endpoints_removed_per_sync": "histogram",
    "endpoint_slice_controller_endpoints_desired": "gauge",
    "endpoint_slice_controller_num_endpoint_slices": "gauge",
    "endpoint_slice_controller_desired_endpoint_slices": "gauge",
    "endpoint_slice_controller_changes": "counter",
    "endpoint_slice_controller_endpointslices_changed_per_sync": "histogram",
    "endpoint_slice_controller_services_count_by_traffic_distribution": "gauge",
    "endpoint_slice_controller_syncs": "counter",
    "workqueue_adds_total": "counter",
    "workqueue_unfinished_work_seconds": "gauge",
    "workqueue_longest_running_processor_seconds": "gauge",
    "workqueue_depth": "gauge",
    "workqueue_queue_duration_seconds": "histogram",
    "workqueue_work_duration_seconds": "histogram",
    "workqueue_retries_total": "counter",
    "rest_client_requests_total": "counter",
    "endpoint_slice_mirroring_controller_endpoints_added_per_sync": "histogram",
    "endpoint_slice_mirroring_controller_endpoints_updated_per_sync": "histogram",
    "endpoint_slice_mirroring_controller_endpoints_removed_per_sync": "histogram",
    "endpoint_slice_mirroring_controller_addresses_skipped_per_sync": "histogram",
    "endpoint_slice_mirroring_controller_endpoints_sync_duration": "histogram",
    "endpoint_slice_mirroring_controller_endpoints_desired": "gauge",
    "endpoint_slice_mirroring_controller_num_endpoint_slices": "gauge",
    "endpoint_slice_mirroring_controller_desired_endpoint_slices": "gauge",
    "endpoint_slice_mirroring_controller_changes": "counter",
    "sliceplane_endpoints_writes_total": "counter",
    "sliceplane_endpoints_not_mirrored": "gauge",
    "leader_election_master_status": "gauge",
    "leader_election_slowpath_total": "counter",
    "sliceplane_decode_errors_total": "counter",
    "sliceplane_watch_to_write_seconds": "histogram",
    "sliceplane_reconcile_seconds": "histogram",
    "sliceplane_pods_left_out": "gauge",
    "sliceplane_shards": "gauge",
    "sliceplane_stored_objects": "gauge",
    "sliceplane_write_seconds": "histogram",
    "sliceplane_events_dropped_total": "counter",
    "sliceplane_syncs_total": "counter",
    "sliceplane_build_info": "gauge",
    "process_cpu_seconds_total": "counter",
    "process_resident_memory_bytes": "gauge",
    "process_virtual_memory_bytes": "gauge",
    "process_start_time_seconds": "gauge",
    "process_open_fds": "gauge",
    "process_max_fds": "gauge",
}


def go_float(value: float) -> str:
    """strconv.FormatFloat(value, 'g', -1, 64): the shortest digits, with an exponent below 1e-4 and from 1e6."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    _, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits))
    power = len(text) + exponent - 1
    if power < -4 or power >= 6:
        return text[0] + ("." + text[1:] if len(text) > 1 else "") + f"e{power:+03d}"
    if power < 0:
        return f"0.{'0' * (-power - 1)}{text}"
    whole = text[: power + 1].ljust(power + 1, "0")
    return f"{whole}.{text[power + 1 :]}" if len(text) > power + 1 else whole


@given(st.floats(min_value=0, allow_nan=False))
def test_law_numbers_are_those_of_go(value: float) -> None:
    assert metrics._number(value) == go_float(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1, "1"), (0.5, "0.5"), (1e-8, "1e-08"), (32768, "32768"), (1e6, "1e+06"), (1.5e10, "1.5e+10")],
)
def test_numbers(value: float, text: str) -> None:
    assert metrics._number(value) == go_float(value) == text


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> CollectorRegistry:
    made = CollectorRegistry(auto_describe=False)
    monkeypatch.setattr(metrics, "REGISTRY", made)
    return made


def test_counter_and_gauge(registry: CollectorRegistry) -> None:
    counter = Counter("requests_total", "Requests.", ["code", "path"], registry=registry)
    counter.labels(code="200", path='a"b\\c\nd').inc(3)
    Gauge("depth", "Depth.", registry=registry).set(1.5)
    assert metrics.render().decode() == (
        "# HELP requests_total Requests.\n"
        "# TYPE requests_total counter\n"
        'requests_total{code="200",path="a\\"b\\\\c\\nd"} 3\n'
        "# HELP depth Depth.\n"
        "# TYPE depth gauge\n"
        "depth 1.5\n"
    )


def test_counter_without_total_keeps_kcms_name(registry: CollectorRegistry) -> None:
    Counter("endpoint_slice_controller_syncs", "Syncs.", ["result"], registry=registry).labels(result="success").inc()
    assert metrics.render().decode() == (
        "# HELP endpoint_slice_controller_syncs Syncs.\n"
        "# TYPE endpoint_slice_controller_syncs counter\n"
        'endpoint_slice_controller_syncs{result="success"} 1\n'
    )


def test_histogram(registry: CollectorRegistry) -> None:
    made = Histogram("seconds", "Time.", ["verb"], buckets=[0.001, 2, 1e7], registry=registry)
    made.labels(verb="get").observe(0.5)
    made.labels(verb="get").observe(3)
    assert metrics.render().decode() == (
        "# HELP seconds Time.\n"
        "# TYPE seconds histogram\n"
        'seconds_bucket{verb="get",le="0.001"} 0\n'
        'seconds_bucket{verb="get",le="2"} 1\n'
        'seconds_bucket{verb="get",le="1e+07"} 2\n'
        'seconds_bucket{verb="get",le="+Inf"} 2\n'
        'seconds_count{verb="get"} 2\n'
        'seconds_sum{verb="get"} 3.5\n'
    )


def test_published_names_and_types() -> None:
    """A rename is a decision: dashboards and alerts depend on these."""
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", metrics.render().decode(), re.MULTILINE))
    assert types == PUBLISHED


def test_page_says_what_runs_and_what_it_takes() -> None:
    page = metrics.render().decode()
    labels = f'version="{__version__}",python="{platform.python_version()}"'
    assert f"\nsliceplane_build_info{{{labels}}} 1\n" in page
    (resident,) = re.findall(r"^process_resident_memory_bytes (\S+)$", page, re.MULTILINE)
    assert float(resident) > 1e6


def test_buckets_are_kcms() -> None:
    text = metrics.render().decode()
    added = re.findall(r'slice_controller_endpoints_added_per_sync_bucket\{le="([^"]+)"\}', text)
    assert added == [*(str(2**n) for n in range(1, 16)), "+Inf"]


def test_page_can_be_parsed() -> None:
    metrics.SYNCS.labels(result="success").inc(0)
    families = {family.name: family.type for family in text_string_to_metric_families(metrics.render().decode())}
    assert families["workqueue_depth"] == "gauge"
    assert families["endpoint_slice_controller_endpoints_added_per_sync"] == "histogram"
