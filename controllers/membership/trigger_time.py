"""When the change that a write carries happened: the last-change-trigger-time annotation (ES-87 ... ES-92).

Times are RFC 3339 in UTC with whole seconds, as the API server renders them: they compare as strings, and "" is
"never".
"""

from collections.abc import Iterable

from msgspec import Struct

from controllers.model.objects import Pod, Service


class Seen(Struct, frozen=True, gc=False):
    """What the last sync of a Service had seen: its own time, and its Pods.

    The records themselves: a reference takes less than half of what a time by name does. The store has them anyway, but
    for those that changed or went without asking for a sync, which are kept until the next one.
    """

    service: str
    pods: tuple[Pod, ...]


def trigger_time(service: Service, pods: Iterable[Pod], seen: Seen | None) -> tuple[str, Seen]:
    """The time to write ("": remove the annotation), and what to remember once the writes have succeeded (D-6).

    The oldest change since the last sync, over all selected Pods, published or not (ES-88); the creation of a Service
    that is new to this process (ES-89).
    """
    now = Seen(service.created, tuple(pods))
    if seen is None:
        return service.created, now
    known = {pod.name: pod.ready_since for pod in seen.pods}
    changed = [pod.ready_since for pod in now.pods if pod.ready_since > known.get(pod.name, "")]
    if service.created > seen.service:
        changed.append(service.created)
    return min(changed, default=""), now
