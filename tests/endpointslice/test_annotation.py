"""The trigger time on what is written (ES-90; ES-T66 ... ES-T68)."""

import pytest

from controllers.membership.trigger_time import Seen
from tests.builders import CREATED, created, endpoint, existing, planned, pod, pods, service, trigger, updated

DUAL = service(ip_families=("IPv4", "IPv6"))
LATER = "2026-01-02T00:00:00Z"


@pytest.mark.parametrize(
    ("seen", "ready_since", "expected"),
    [
        pytest.param(None, [], CREATED, id="ES-T66"),
        pytest.param(Seen(CREATED, ()), ["2026-01-03T00:00:00Z", LATER], LATER, id="ES-T67"),
        pytest.param(Seen(CREATED, (pod(ready_since=LATER),)), [LATER], None, id="ES-T68"),
    ],
)
def test_trigger_time_is_on_every_write_es_90(seen: Seen | None, ready_since: list[str], expected: str | None) -> None:
    """A create, a normal update and a recycled one; the old annotation never survives."""
    old = {"endpoints.kubernetes.io/last-change-trigger-time": "2025-01-01T00:00:00Z"}
    found = [
        existing("s-a", [pod(900)], address_type="IPv6", annotations=old),
        existing("s-b", [endpoint(each, zone=None) for each in pods(1)], annotations=old),
        existing("s-c", [pod(901)], ports=(), annotations=old),
    ]
    several = [pod(number, ready_since=time) for number, time in enumerate(ready_since)]
    plan = planned(DUAL, several, found, seen=seen)
    written = [*created(plan), *updated(plan)]
    assert written
    assert {trigger(each) for each in written} == {expected}


def test_trigger_time_alone_writes_nothing_es_90() -> None:
    found = [existing("s-a", [pod()], annotations={"endpoints.kubernetes.io/last-change-trigger-time": CREATED})]
    changed = pod(ready_since=LATER)
    plan = planned(pods=[changed], slices=found, seen=Seen(CREATED, ()))
    assert not plan
    assert plan.seen == Seen(CREATED, (changed,))
