"""Durations as Go writes them, and the ranges that KCM accepts (ES-15)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from api.config import Configuration, parse_duration


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


def test_defaults_are_kcms() -> None:
    config = Configuration()
    assert (config.concurrent_service_endpoint_syncs, config.max_endpoints_per_slice) == (5, 100)
    assert config.endpointslice_updates_batch_period == 0


@pytest.mark.parametrize(
    ("field", "accepted", "refused"),
    [
        ("concurrent_service_endpoint_syncs", [1, 50], [0, 51, -1]),
        ("max_endpoints_per_slice", [1, 1000], [0, 1001]),
        ("endpointslice_updates_batch_period", ["0", "1s", 0.5], ["-1s", -1, "1", float("nan")]),
        ("kube_api_qps", [0, 20.5], [-1, float("nan")]),
        ("kube_api_burst", [1], [0]),
        ("leader_elect", [False], [True]),
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
