"""What /livez and /readyz say: whether a restart would help, and whether this replica could take over.

An API server that cannot be reached is no reason to restart: the caches would be lost, and nothing won. What counts is
whether we still try. A loop that is stuck answers nobody, so the probe's own timeout tells that.
"""

from collections.abc import Iterable
from typing import Any, Final

from controllers.runtime.loop import Loop
from controllers.runtime.watch import Reflector

# A watch is given up after 90 s of silence, a request after 30 s, and a back-off takes 10 s at most.
WATCH_SECONDS: Final = 180.0
# Three stages of requests that each take 30 s, and some waiting for a slot.
WORK_SECONDS: Final = 240.0


def not_alive(now: float, reflectors: Iterable[Reflector[Any]], loops: Iterable[Loop]) -> list[str]:
    """Why a restart would help; `now` is the monotonic time in seconds."""
    problems = [
        f"the watch of {each.kind}s has made no progress for {now - each.last_progress:.0f} s"
        for each in reflectors
        if now - each.last_progress > WATCH_SECONDS
    ]
    problems += [
        f"{each.name} has not finished any key for {each.stalled:.0f} s"
        for each in loops
        if each.stalled > WORK_SECONDS
    ]
    return problems


def not_ready(reflectors: Iterable[Reflector[Any]]) -> list[str]:
    """Why this replica cannot work yet."""
    missing = [each.kind for each in reflectors if not each.synced.is_set()]
    return [f"caches have not synced yet: {', '.join(missing)}"] if missing else []
