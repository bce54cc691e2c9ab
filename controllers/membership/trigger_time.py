"""When the change that a write carries happened: the last-change-trigger-time annotation (ES-87 ... ES-92).

Times are RFC 3339 in UTC with whole seconds, as the API server renders them: they compare as strings, and "" is
"never".
"""

from collections.abc import Iterable

from msgspec import Struct

from controllers.model.objects import Pod, Service


class Seen(Struct, frozen=True, gc=False):
    """What the last sync of a Service had seen: its own time, and that of each selected Pod by name."""

    service: str
    pods: dict[str, str]


def trigger_time(service: Service, pods: Iterable[Pod], seen: Seen | None) -> tuple[str, Seen]:
    """The time to write ("": remove the annotation), and what to remember once the writes have succeeded (D-6).

    The oldest change since the last sync, over all selected Pods, published or not (ES-88); the creation of a Service
    that is new to this process (ES-89).
    """
    times = {pod.name: pod.ready_since for pod in pods if pod.ready_since}
    now = Seen(service.created, times)
    if seen is None:
        return service.created, now
    known = seen.pods
    changed = [time for name, time in times.items() if time > known.get(name, "")]
    if service.created > seen.service:
        changed.append(service.created)
    return min(changed, default=""), now
