"""Which Services does a change concern? Pure look-ups: they choose keys, and never decide what is written (ES-23)."""

from collections.abc import Callable, Iterable
from typing import Final

from msgspec.structs import replace

from api import names
from controllers.mirroring.mirrorable import excluded
from controllers.model.objects import Endpoints, EndpointSlice, Node, Pod, Service
from controllers.runtime.store import PodStore, ServiceStore

# Our own slice changed by somebody else is mended after this time, not in a race with them (ES-11).
SLICE_DELAY_SECONDS: Final = 1.0


def key_of(namespace: str, name: str) -> str:
    """The key of a Service: `namespace/name`."""
    return f"{namespace}/{name}"


def split_key(key: str) -> tuple[str, str]:
    """Namespace and name of a key."""
    namespace, _, name = key.partition("/")
    return namespace, name


def services_of_pod(old: Pod | None, new: Pod | None, services: ServiceStore) -> set[str]:
    """The Services that a Pod's change concerns.

    Those that select it now or did before; if nothing but its labels changed, only those where this differs (ES-27).
    """
    if old is not None and new is not None and old.labels == new.labels:
        return _selecting(new, services)
    before = _selecting(old, services)
    after = _selecting(new, services)
    if old is not None and new is not None and replace(old, labels=new.labels) == new:
        return before ^ after
    return before | after


def _selecting(pod: Pod | None, services: ServiceStore) -> set[str]:
    if pod is None:
        return set()
    return _keys(services.selecting(pod.namespace, pod.labels))


def _keys(services: Iterable[Service]) -> set[str]:
    return {key_of(each.namespace, each.name) for each in services}


def service_of_service(old: Service | None, new: Service | None) -> set[str]:
    """A Service concerns itself."""
    return {key_of(each.namespace, each.name) for each in (old, new) if each is not None}


def services_of_node(old: Node | None, new: Node | None, pods: PodStore, services: ServiceStore) -> set[str]:
    """The Services with Pods on a Node that came, went or moved to another zone (D-7)."""
    node = new or old
    if node is None or (old is not None and new is not None and old.zone == new.zone):
        return set()
    found: set[str] = set()
    for replicas in set(pods.on_node(node.name)):
        found |= _keys(services.selecting(replicas.namespace, replicas.labels))
    return found


def services_of_slice(
    old: EndpointSlice | None, new: EndpointSlice | None, managed: Callable[[EndpointSlice], bool]
) -> set[str]:
    """The Services whose slice somebody else has changed.

    It is `managed` by the controller that asks, before or after; under its old and its new label.
    """
    ours = [each for each in (old, new) if each is not None and managed(each)]
    return {
        key_of(each.metadata.namespace, each.labels[names.SERVICE_NAME_LABEL])
        for each in ours
        if each.labels.get(names.SERVICE_NAME_LABEL)
    }


def selectorless_service(old: Service | None, new: Service | None) -> set[str]:
    """A Service without a selector that came or went, or one that lost or gained its selector (MI-15, MI-16)."""
    without = [each is not None and each.selector is None for each in (old, new)]
    if old is not None and new is not None:
        return service_of_service(old, new) if without[0] != without[1] else set()
    return service_of_service(old, new) if any(without) else set()


def mirrorable_endpoints(old: Endpoints | None, new: Endpoints | None) -> set[str]:
    """Endpoints that may be mirrored, before or after (MI-13, MI-14)."""
    found = [each for each in (old, new) if each is not None and excluded(each) is None]
    return {key_of(each.metadata.namespace, each.name) for each in found}
