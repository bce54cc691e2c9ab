"""When a change happened (ES-87 ... ES-92, ES-T66 ... ES-T69)."""

import pytest

from controllers.membership.trigger_time import Seen, trigger_time
from tests.builders import pod, service

T0, T1, T2, T3, T4 = (f"2026-01-01T00:00:0{second}Z" for second in range(5))


@pytest.mark.parametrize(
    ("created", "ready_since", "seen", "expected"),
    [
        pytest.param(T2, [], None, T2, id="ES-T66-new-service"),
        pytest.param(T2, [T1], None, T2, id="ES-89-restart-ignores-pods"),
        pytest.param(T0, [T2, T1], {}, T1, id="ES-T67-minimum"),
        pytest.param(T0, [T1, T2], {0: T1}, T2, id="ES-88-only-later-ones"),
        pytest.param(T0, [T1, T3], {0: T0, 1: T1}, T1, id="ES-88-all-later"),
        pytest.param(T0, [T1, T2], {0: T1, 1: T2}, "", id="ES-T68-nothing-changed"),
        pytest.param(T0, [T1], {0: T1, 1: T2}, "", id="ES-T68-pod-removed"),
        pytest.param(T0, [T1], {0: T2}, "", id="ES-88-earlier-than-stored"),
        pytest.param(T0, [T1, T4], {0: T1}, T4, id="ES-T69-added-again"),
        pytest.param(T0, ["", T2], {}, T2, id="ES-87-no-time-no-record"),
        pytest.param(T0, [""], {}, "", id="ES-87-no-time-at-all"),
        pytest.param(T1, [T2], {}, T1, id="ES-88-service-created-again"),
        pytest.param("", [], None, "", id="no-creation-time"),
    ],
)
def test_trigger_time(created: str, ready_since: list[str], seen: dict[int, str] | None, expected: str) -> None:
    pods = [pod(number, ready_since=time) for number, time in enumerate(ready_since)]
    known = tuple(pod(number, ready_since=time) for number, time in (seen or {}).items())
    before = None if seen is None else Seen(T0, known)
    time, after = trigger_time(service(created=created), pods, before)
    assert time == expected
    # ES-88: Pods that are gone are forgotten.
    assert after == Seen(created, tuple(pods))


def test_pods_that_are_not_published_count_es_88() -> None:
    finished = pod(phase="Succeeded", first_family="", ready=False, ready_since=T3)
    assert trigger_time(service(created=T0), [finished], Seen(T0, ()))[0] == T3


def test_memory_is_carried_from_sync_to_sync() -> None:
    _, seen = trigger_time(service(created=T0), [pod(0, ready_since=T1)], None)
    time, seen = trigger_time(service(created=T0), [], seen)
    assert time == ""
    time, seen = trigger_time(service(created=T0), [pod(0, ready_since=T4)], seen)
    assert time == T4
    assert trigger_time(service(created=T0), [pod(0, ready_since=T4)], seen)[0] == ""
