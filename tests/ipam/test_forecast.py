"""When a pool will be full, by samples of an hour; and how these are kept."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.v1alpha1.common import Forecast
from controllers.ipam.forecast import KEPT_HOURS, Sample, decoded, encoded, forecast, sampled, soonest, thinned

START = 496_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def hourly(hours: int, rate: float, first: int = 100, noise: int = 0) -> list[Sample]:
    """`rate` more from hour to hour, with a saw-tooth on it."""
    return [Sample(START + n, round(first + rate * n + noise * (n % 5 - 2))) for n in range(hours)]


def at(hour: float) -> datetime:
    return EPOCH + timedelta(hours=hour)


@pytest.mark.parametrize(
    ("case", "samples", "per_day", "after_hours", "confidence"),
    [
        ("too few", hourly(5, 1), None, None, None),
        ("an hour's growth", hourly(6, 1), 24.0, 895, "Low"),
        ("a day short of a week", hourly(6 * 24, 1), 24.0, 757, "Low"),
        ("a week, steady", hourly(7 * 24 + 1, 1), 24.0, 732, "High"),
        ("a fortnight, steady", hourly(14 * 24, 0.5, noise=2), 12.0, 1465, "High"),
        ("flat", hourly(14 * 24, 0), 0.0, None, "None"),
        ("flat, up and down", hourly(14 * 24, 0, noise=30), 0.0, None, "None"),
        ("falling", hourly(10 * 24, -0.25, first=500), -6.0, None, "None"),
        ("full already", hourly(10 * 24, 1, first=900), 24.0, 0, "High"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_forecast(
    case: str, samples: list[Sample], per_day: float | None, after_hours: int | None, confidence: str | None
) -> None:
    found = forecast(samples, 1000)
    if found is None:
        assert confidence is None, case
        return
    assert per_day is not None
    assert found.rate_per_day == pytest.approx(per_day, abs=0.2), case
    assert found.confidence == confidence
    if after_hours is None:
        assert found.exhausts_at is None
    else:
        assert found.exhausts_at is not None
        assert abs(found.exhausts_at - at(samples[-1].hour + after_hours)) <= timedelta(hours=24)


def test_a_burst_and_a_clean_up_do_not_matter() -> None:
    """Theil-Sen: up to 29 of 100 samples may lie anywhere."""
    samples = hourly(10 * 24, 1)
    spoilt = [Sample(hour, 900 if 100 <= n < 130 else taken) for n, (hour, taken) in enumerate(samples)]
    found = forecast(spoilt, 10_000)
    assert found is not None
    assert found.rate_per_day == pytest.approx(24, rel=0.1)


@pytest.mark.parametrize(
    ("case", "grown"),
    [
        ("a week of growth, a week without", lambda n: min(n, 168)),
        ("ten days without, then growth", lambda n: max(0, n - 120)),
        ("slow, then fast", lambda n: n / 4 + max(0, n - 168) * 3),
    ],
)
def test_growth_that_varies_is_of_low_confidence(case: str, grown: Callable[[int], float]) -> None:
    found = forecast([Sample(START + n, 100 + round(grown(n))) for n in range(14 * 24)], 1000)
    assert found is not None
    assert found.confidence == "Low", case
    assert found.exhausts_at is not None


def test_beyond_ten_years_there_is_no_date() -> None:
    found = forecast(hourly(10 * 24, 1), 2**64)
    assert found is not None
    assert (found.exhausts_at, found.confidence) == (None, "High")


def test_it_changes_once_an_hour_at_most() -> None:
    samples = hourly(8 * 24, 1.3)
    assert forecast(samples, 999) == forecast(list(samples), 999)
    found = forecast(samples, 999)
    assert found is not None
    assert found.exhausts_at is not None
    assert found.exhausts_at.timestamp() % 3600 == 0


def test_of_two_families_the_one_full_first() -> None:
    near = Forecast(rate_per_day=1, exhausts_at=at(START), confidence="Low")
    far = Forecast(rate_per_day=9, exhausts_at=at(START + 1), confidence="High")
    never = Forecast(rate_per_day=99, confidence="None")
    falls = Forecast(rate_per_day=-1, confidence="None")
    assert soonest([far, None, near, never]) == near
    assert soonest([falls, never]) == never
    assert soonest([None]) is None


def test_one_sample_an_hour_for_a_fortnight() -> None:
    samples: tuple[Sample, ...] = ()
    for minute in range(0, 15 * 24 * 60, 20):
        samples = sampled(samples, at(START) + timedelta(minutes=minute), minute)
    assert len(samples) == KEPT_HOURS
    assert samples[-1] == Sample(START + 15 * 24 - 1, (15 * 24 - 1) * 60)
    assert all(after.hour - before.hour == 1 for before, after in pairwise(samples))
    # A long absence leaves a gap, and what is too old goes; a clock set back drops what is not yet.
    assert sampled(samples, at(START + 15 * 24 + 100), 7)[-2:] == (samples[-1], Sample(START + 15 * 24 + 100, 7))
    assert sampled(samples, at(START + 24 * 10), 7)[-1].hour == START + 24 * 10


def test_thinned_keeps_both_ends() -> None:
    samples = hourly(336, 1)
    found = thinned(samples, 84)
    assert (len(found), found[0], found[-1]) == (84, samples[0], samples[-1])
    assert found == sorted(set(found))
    assert thinned(samples[:50], 84) == samples[:50]


def test_text_is_short() -> None:
    assert encoded([]) == "v1"
    assert encoded([Sample(START, 5), Sample(START + 1, 5), Sample(START + 4, 3)]) == "v1;496000;5;0;3@-2"
    assert len(encoded(hourly(336, 3, noise=4))) < 1500


@given(
    first=st.integers(0, 10**9),
    steps=st.lists(st.tuples(st.integers(1, 9999), st.integers(0, 2**64)), max_size=30),
)
def test_text_is_read_back(first: int, steps: list[tuple[int, int]]) -> None:
    samples = [Sample(first, 3)]
    for gap, taken in steps:
        samples.append(Sample(samples[-1].hour + gap, taken))
    assert decoded(encoded(samples)) == tuple(samples)


@pytest.mark.parametrize(
    "text", ["", "v1", "v2;1;2", "v1;1", "v1;x;2", "v1;1;2;y", "v1;1;2;0@3", "v1;1;2;-3", "v1;1;2;", "v1;-1;2", "{}"]
)
def test_a_spoilt_text_is_none(text: str) -> None:
    assert decoded(text) == ()


@given(st.text(alphabet="v1;@-023 \n", max_size=30))
def test_no_text_is_an_error(text: str) -> None:
    assert all(before.hour < after.hour for before, after in pairwise(decoded(text)))
