"""One sync of the Endpoints of a Service: from what is known about it to the one object to write (EP-22 ... EP-54)."""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from api import names
from controllers.endpoints.subsets import CAPACITY, Truncated, desired, truncate
from controllers.membership.services import headless, not_syncable
from controllers.membership.subsets import fingerprint, fingerprints
from controllers.membership.trigger_time import Seen, trigger_time
from controllers.model.objects import Endpoints, Fingerprints, ObjectMeta, Pod, Service
from controllers.model.plan import Notice, Writes
from controllers.model.reasons import Reason


class Snapshot(Struct, frozen=True, gc=False, kw_only=True):
    """All that one sync looks at: the Service (None when it has gone), the Pods that it selects, its Endpoints."""

    service: Service | None
    pods: Sequence[Pod] = ()
    current: Endpoints | None = None
    seen: Seen | None = None


class Plan(Struct, frozen=True, gc=False, kw_only=True):
    """The outcome of a sync; `seen` is to be remembered, and `notices` told, when the write has succeeded."""

    writes: Writes[Endpoints] = Writes()
    notices: tuple[Notice, ...] = ()
    not_synced: Reason | None = None
    seen: Seen | None = None


def reconcile(snapshot: Snapshot) -> Plan:
    """Plans one sync. The same snapshot, in whatever order its Pods come, gives the same plan."""
    service, current = snapshot.service, snapshot.current
    if service is None:
        # Endpoints have no owner, so nobody else deletes them; hand-made ones go with their Service, too (EP-24).
        return Plan(writes=Writes(delete=(current,) if current is not None else ()))
    reason = not_syncable(service)
    if reason is not None:
        return Plan(not_synced=reason, seen=snapshot.seen)
    time, seen = trigger_time(service, snapshot.pods, snapshot.seen)
    want = truncate(desired(service, snapshot.pods))
    wanted = fingerprint(want.subsets)
    if current is None:
        new = _object(ObjectMeta(name=service.name, namespace=service.namespace), service, want, wanted, time)
        return Plan(writes=Writes(create=(new,)), notices=_notices(service, None, want), seen=seen)
    if up_to_date(current, service, want, wanted):
        return Plan(seen=seen)
    new = _object(current.metadata, service, want, wanted, time)
    return Plan(writes=Writes(update=(new,)), notices=_notices(service, current, want), seen=seen)


def up_to_date(current: Endpoints, service: Service, want: Truncated, wanted: bytes) -> bool:
    """Whether nothing needs to be written: subsets in whatever order, labels, the over-capacity mark (EP-41).

    `wanted` is the fingerprint of the subsets.
    """
    if (current.metadata.annotations or {}).get(names.OVER_CAPACITY_ANNOTATION) != _mark(want):
        return False
    if _compared(current.labels) != _compared(labels_for(service)):
        return False
    have = fingerprints(current)
    return wanted in (have.as_is, have.repacked)


def _compared(labels: dict[str, str]) -> dict[str, str]:
    """Whether the headless label is there is never checked (EP-42)."""
    return {key: value for key, value in labels.items() if key != names.HEADLESS_LABEL}


def _mark(want: Truncated) -> str | None:
    return names.OVER_CAPACITY_TRUNCATED if want.cut else None


def labels_for(service: Service) -> dict[str, str]:
    """The labels of Endpoints: the Service's own, the headless one by our own test, and who manages them (EP-48)."""
    labels = {key: value for key, value in service.labels.items() if key != names.HEADLESS_LABEL}
    if headless(service):
        labels[names.HEADLESS_LABEL] = ""
    labels[names.ENDPOINTS_MANAGED_BY_LABEL] = names.ENDPOINTS_MANAGED_BY
    return labels


def _object(metadata: ObjectMeta, service: Service, want: Truncated, wanted: bytes, time: str) -> Endpoints:
    """What to write over `metadata`: labels are replaced, other annotations stay (EP-46 ... EP-50)."""
    annotations = dict(metadata.annotations or {})
    for key, value in ((names.TRIGGER_TIME_ANNOTATION, time), (names.OVER_CAPACITY_ANNOTATION, _mark(want))):
        annotations.pop(key, None)
        if value:
            annotations[key] = value
    return Endpoints(
        metadata=replace(metadata, labels=labels_for(service), annotations=annotations or None),
        subsets=want.subsets,
        # What is compared with them next time has the same order.
        fingerprints=Fingerprints(wanted, wanted),
    )


def _notices(service: Service, current: Endpoints | None, want: Truncated) -> tuple[Notice, ...]:
    """A Warning when a Service comes to have more addresses than its Endpoints can hold."""
    annotations = current.metadata.annotations if current is not None else None
    if not want.cut or (annotations or {}).get(names.OVER_CAPACITY_ANNOTATION) == names.OVER_CAPACITY_TRUNCATED:
        return ()
    text = (
        f"The Service has {want.total} endpoints, its Endpoints object holds {CAPACITY} of them: whoever reads "
        f"Endpoints misses the others, and should read EndpointSlices"
    )
    return (Notice("Warning", names.REASON_OVER_CAPACITY, text),)
