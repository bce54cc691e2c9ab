"""When a pool will be full: hourly samples of what is taken, and the median of the slopes between them (Theil-Sen).

The median does not follow a burst or a clean-up, as a fitted line would. Everything counts from the newest sample, not
from the clock, so that an hour's forecast is one value.
"""

import math
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise
from typing import Final, NamedTuple

from api.v1alpha1.common import Forecast

HOUR: Final = 3600
KEPT_HOURS: Final = 14 * 24
_DAY: Final = 24.0
_SURE_HOURS: Final = 7 * 24
# So many samples give 3486 pairs: milliseconds for a pool, where all of a fortnight's would be 56280.
_POINTS: Final = 84
_FEWEST: Final = 6
# Of the normal distribution, for an interval that holds the slope 95 times of 100.
_Z: Final = 1.96
# The interval is narrow when it is no wider than this part of the slope.
_NARROW: Final = 0.5
# Beyond it a date says no more than that it is far.
_FARTHEST_DAYS: Final = 3650.0
_VERSION: Final = "v1"
_ENTRY: Final = re.compile(r"(?:(\d{1,4})@)?(-?\d{1,20})")


class Sample(NamedTuple):
    """How many numbers were taken (used and reserved) at an hour, counted from 1970."""

    hour: int
    taken: int


def sampled(samples: Sequence[Sample], now: datetime, taken: int) -> tuple[Sample, ...]:
    """The samples with this one, one an hour (the first of it stays) and none older than a fortnight.

    A clock that was set back drops what it has not reached again.
    """
    hour = int(now.timestamp()) // HOUR
    kept = [each for each in samples if hour - KEPT_HOURS < each.hour <= hour]
    if kept and kept[-1].hour == hour:
        return tuple(kept)
    return (*kept, Sample(hour, taken))


def thinned(samples: Sequence[Sample], points: int = _POINTS) -> list[Sample]:
    """At most so many of the samples, evenly spread, the first and the last among them."""
    if len(samples) <= points:
        return list(samples)
    return [samples[round(place * (len(samples) - 1) / (points - 1))] for place in range(points)]


def encoded(samples: Sequence[Sample]) -> str:
    """The samples as a ConfigMap keeps them: the first hour and value, then differences; `3@-2` is 3 hours later."""
    if not samples:
        return _VERSION
    parts = [_VERSION, str(samples[0].hour), str(samples[0].taken)]
    for before, after in pairwise(samples):
        gap = after.hour - before.hour
        parts.append(f"{after.taken - before.taken}" if gap == 1 else f"{gap}@{after.taken - before.taken}")
    return ";".join(parts)


def decoded(text: str) -> tuple[Sample, ...]:
    """The samples from a ConfigMap; a text that somebody has spoilt, or of another version, counts as none."""
    version, *parts = text.strip().split(";")
    if version != _VERSION or len(parts) < 2 or not re.fullmatch(r"\d{1,10};\d{1,20}", ";".join(parts[:2])):
        return ()
    found = [Sample(int(parts[0]), int(parts[1]))]
    for part in parts[2:]:
        match = _ENTRY.fullmatch(part)
        if match is None or match[1] == "0":
            return ()
        found.append(Sample(found[-1].hour + int(match[1] or 1), found[-1].taken + int(match[2])))
    return tuple(found[-KEPT_HOURS:]) if all(each.taken >= 0 for each in found) else ()


def forecast(samples: Sequence[Sample], total: int) -> Forecast | None:
    """When `total` numbers will be taken; None while there are too few samples to say anything.

    Confidence is High after seven days of growth that hardly varies, None when use is flat or falls, else Low.
    """
    if len(samples) < _FEWEST:
        return None
    low, slope, high = _slopes(thinned(samples))
    per_day = _rounded(slope * _DAY)
    # Less than one number in a fortnight is flat: medians are rarely zero exactly.
    if slope * KEPT_HOURS < 1:
        return Forecast(rate_per_day=per_day, confidence="None")
    steady = samples[-1].hour - samples[0].hour >= _SURE_HOURS and low > 0 and high - low <= _NARROW * slope
    hours = max(0.0, (total - samples[-1].taken) / slope)
    return Forecast(
        rate_per_day=per_day,
        exhausts_at=_date(samples[-1].hour, hours) if hours < _FARTHEST_DAYS * _DAY else None,
        confidence="High" if steady else "Low",
    )


def soonest(forecasts: Iterable[Forecast | None]) -> Forecast | None:
    """The one of several families that is full first; without any that will be, the one that grows most."""
    known = [each for each in forecasts if each is not None]
    if not known:
        return None
    never = datetime.max.replace(tzinfo=UTC)
    return min(known, key=lambda each: (each.exhausts_at or never, -each.rate_per_day))


def _slopes(samples: Sequence[Sample]) -> tuple[float, float, float]:
    """Numbers an hour: the lower end of the interval, the median, the upper end (Sen 1968: by ranks)."""
    slopes = sorted((b.taken - a.taken) / (b.hour - a.hour) for a, b in combinations(samples, 2))
    # Hours follow one another too closely to count as observations of their own, as the ranks want them; days do.
    days = max(2.0, (samples[-1].hour - samples[0].hour) / _DAY + 1)
    spread = min(1.0, 2 * _Z * math.sqrt((2 * days + 5) / (18 * days * (days - 1))))
    count = len(slopes)
    below, above = math.floor(count * (1 - spread) / 2), math.ceil(count * (1 + spread) / 2)
    median = (slopes[(count - 1) // 2] + slopes[count // 2]) / 2
    return slopes[below], median, slopes[min(above, count - 1)]


def _date(hour: int, after: float) -> datetime:
    """To the whole hour: more would be untrue, and would change the status every time."""
    return datetime.fromtimestamp(hour * HOUR, UTC) + timedelta(hours=math.floor(after))


def _rounded(rate: float) -> float:
    """To three digits."""
    return float(f"{rate:.3g}")
