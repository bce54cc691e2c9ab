"""A slice's metadata: who owns it, what it is labelled and called (ES-55, ES-79 ... ES-86)."""

from msgspec.structs import replace

from api import names
from controllers.membership.services import headless
from controllers.model.objects import EndpointSlice, ObjectMeta, OwnerReference, Service


def labels_for(service: Service) -> dict[str, str]:
    """The labels of a slice: the Service's own, without reserved keys, and the three reserved ones (ES-83)."""
    labels = {key: value for key, value in service.labels.items() if key not in names.RESERVED_SLICE_LABELS}
    if headless(service):
        labels[names.HEADLESS_LABEL] = ""
    labels[names.SERVICE_NAME_LABEL] = service.name
    labels[names.MANAGED_BY_LABEL] = names.ENDPOINTSLICE_MANAGED_BY
    return labels


def _unreserved(labels: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in labels.items() if key not in names.RESERVED_SLICE_LABELS}


def labels_changed(found: EndpointSlice, service: Service) -> bool:
    """Whether the labels alone ask for a write: drift in reserved keys does not (ES-85)."""
    return _unreserved(found.labels) != _unreserved(service.labels)


def managed(found: EndpointSlice) -> bool:
    """Whether the EndpointSlice controller manages the slice, ours or KCM's (ES-32.6)."""
    return found.labels.get(names.MANAGED_BY_LABEL) == names.ENDPOINTSLICE_MANAGED_BY


def owned(found: EndpointSlice, service: Service) -> bool:
    """Whether this very Service owns the slice, not an earlier one of the same name (ES-55)."""
    return any(
        owner.uid == service.uid and owner.kind == "Service" and owner.api_version == "v1"
        for owner in found.metadata.owner_references or ()
    )


def new_slice(service: Service, address_type: str) -> EndpointSlice:
    """An empty slice of this Service, without a name yet (ES-76, ES-79, ES-80)."""
    owner = OwnerReference(
        api_version="v1", kind="Service", name=service.name, uid=service.uid, controller=True, block_owner_deletion=True
    )
    return EndpointSlice(
        metadata=ObjectMeta(
            generate_name=f"{service.name}-",
            namespace=service.namespace,
            labels=labels_for(service),
            owner_references=(owner,),
        ),
        address_type=address_type,
    )


def placeholder_equal(found: EndpointSlice, placeholder: EndpointSlice) -> bool:
    """Whether a slice may stay as the placeholder; a missing label counts as an empty one, owners do not count
    (ES-69).
    """
    if found.endpoints or found.ports or found.address_type != placeholder.address_type:
        return False
    have, want = found.labels, placeholder.labels
    return all(have.get(key, "") == want.get(key, "") for key in (*have, *want))


def with_trigger_time(found: EndpointSlice, time: str) -> EndpointSlice:
    """The slice with the trigger time set, or removed when it is "" (ES-90)."""
    annotations = dict(found.metadata.annotations or {})
    annotations.pop(names.TRIGGER_TIME_ANNOTATION, None)
    if time:
        annotations[names.TRIGGER_TIME_ANNOTATION] = time
    return replace(found, metadata=replace(found.metadata, annotations=annotations or None))
