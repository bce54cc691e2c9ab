"""Durations as Go writes them, and the ranges that KCM accepts (ES-15)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from api.config import Configuration, parse_duration, show_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("0s", 0.0),
        ("1s", 1.0),
        ("500ms", 0.5),
        ("1m30s", 90.0),
        ("1h1m1s", 3661.0),
        ("1.5h", 5400.0),
        (".5s", 0.5),
        ("2.s", 2.0),
        ("100us", 1e-4),
        ("100µs", 1e-4),
        ("1000ns", 1e-6),
        (" 1s ", 1.0),
        ("1ms1m", 60.001),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "1", "1.5", "s", "1d", "1 s", "1s2", "-1s", "1e3s", "1,5s", "one", "1s foo", ".s"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@given(st.integers(0, 10**6), st.integers(0, 59), st.integers(0, 999))
def test_law_parts_add_up(minutes: int, seconds: int, milliseconds: int) -> None:
    assert parse_duration(f"{minutes}m{seconds}s{milliseconds}ms") == pytest.approx(
        minutes * 60 + seconds + milliseconds / 1000
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0s"), (15.0, "15s"), (90.0, "90s"), (0.5, "500ms"), (1.5, "1500ms"), (1e-6, "1us"), (1e-9, "1ns")],
)
def test_durations_are_shown(seconds: float, text: str) -> None:
    assert show_duration(seconds) == text


@given(st.integers(0, 10**15))
def test_law_what_is_shown_is_read_back(nanoseconds: int) -> None:
    assert parse_duration(show_duration(nanoseconds / 1e9)) == pytest.approx(nanoseconds / 1e9)


def test_defaults_are_kcms() -> None:
    config = Configuration()
    assert (config.concurrent_service_endpoint_syncs, config.max_endpoints_per_slice) == (5, 100)
    assert config.endpointslice_updates_batch_period == 0
    assert (config.concurrent_endpoint_syncs, config.endpoint_updates_batch_period) == (5, 0)
    assert config.mirroring_concurrent_service_endpoint_syncs == 5
    assert (config.mirroring_max_endpoints_per_subset, config.mirroring_endpointslice_updates_batch_period) == (1000, 0)
    assert config.leader_elect_lease_duration == 15
    assert (config.leader_elect_renew_deadline, config.leader_elect_retry_period) == (10, 2)
    assert (config.leader_elect_resource_lock, config.leader_elect_resource_namespace) == ("leases", "kube-system")


@pytest.mark.parametrize(
    ("field", "accepted", "refused"),
    [
        ("concurrent_service_endpoint_syncs", [1, 50], [0, 51, -1]),
        ("max_endpoints_per_slice", [1, 1000], [0, 1001]),
        ("endpointslice_updates_batch_period", ["0", "1s", 0.5], ["-1s", -1, "1", float("nan")]),
        ("concurrent_endpoint_syncs", [1, 1000], [0, True, "5", 5.0]),
        ("endpoint_updates_batch_period", ["0", "1s"], ["-1s", True, None]),
        ("mirroring_concurrent_service_endpoint_syncs", [1, 50], [0, 51]),
        ("mirroring_max_endpoints_per_subset", [1, 1000], [0, 1001]),
        ("mirroring_endpointslice_updates_batch_period", ["0", "1s"], ["-1s"]),
        ("kube_api_qps", [0, 20.5], [-1, float("nan"), float("inf"), "20"]),
        ("kube_api_burst", [1], [0]),
        ("controllers", ["*", "endpoint", ["*", "-endpoint"]], ["", "foo", [], ["foo"], [1], {}]),
        ("leader_elect", [False, True], [0, 1, "maybe"]),
        ("leader_elect_lease_duration", ["11s", "1h"], ["0", "999ms", 0]),
        ("leader_elect_renew_deadline", ["14s"], ["0"]),
        ("leader_elect_retry_period", ["1ns"], ["0"]),
        ("leader_elect_resource_lock", ["leases"], ["endpoints", ""]),
        ("leader_elect_resource_name", ["a.b-c", "0", "a" * 253], ["", "A", "a.", "-a", "a\n", "a" * 254]),
        ("leader_elect_resource_namespace", ["a-b", "a" * 63], ["", "a.b", "a" * 64]),
        ("tracing_endpoint", ["", "http://c", "https://[::1]:4318/v1/traces?x=y"], ["c", "http:", "http://", None, 5]),
        ("logging_format", ["text", "json"], ["xml"]),
        ("v", [0, 9], [-1]),
    ],
)
def test_ranges(field: str, accepted: list[Any], refused: list[Any]) -> None:
    for value in accepted:
        Configuration.model_validate({field: value})
    for value in refused:
        with pytest.raises(ValidationError):
            Configuration.model_validate({field: value})


def test_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="extra"):
        Configuration.model_validate({"max_endpoints": 5})


@pytest.mark.parametrize(
    ("lease", "renew", "retry", "broken"),
    [
        ("15s", "10s", "2s", ""),
        ("11s", "10999ms", "9s", ""),
        ("10s", "10s", "2s", "leader_elect_lease_duration must be more than leader_elect_renew_deadline"),
        ("15s", "12s", "10s", "leader_elect_renew_deadline must be more than 1.2 times leader_elect_retry_period"),
        ("5s", "6s", "6s", "renew_deadline; leader_elect_renew"),
    ],
)
def test_rules_of_leader_election(lease: str, renew: str, retry: str, broken: str) -> None:
    values = dict(zip(("lease_duration", "renew_deadline", "retry_period"), (lease, renew, retry), strict=True))
    given = {f"leader_elect_{name}": value for name, value in values.items()}
    if not broken:
        Configuration.model_validate(given)
        return
    with pytest.raises(ValidationError, match=broken):
        Configuration.model_validate(given)
