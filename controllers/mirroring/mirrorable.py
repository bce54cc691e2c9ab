"""Which Endpoints are mirrored, and why the others are not (MI-12, MI-22)."""

from api import names
from controllers.model.objects import Endpoints, EndpointSlice, Service
from controllers.model.reasons import Reason


def excluded(endpoints: Endpoints) -> Reason | None:
    """Why Endpoints are not mirrored, whatever Service there is; None when they may be (MI-12)."""
    if endpoints.labels.get(names.SKIP_MIRROR_LABEL) == "true":
        return Reason.ENDPOINTS_SKIPPED
    if names.LEADER_ANNOTATION in (endpoints.metadata.annotations or {}):
        return Reason.ENDPOINTS_LEADER_ELECTION
    return None


def not_mirrored(endpoints: Endpoints | None, service: Service | None) -> Reason | None:
    """Why there should be no mirrored slices under this name; None when there should (MI-22).

    The Service's type does not matter: one without a selector is mirrored even if it is an ExternalName.
    """
    if endpoints is None:
        return Reason.ENDPOINTS_GONE
    reason = excluded(endpoints)
    if reason is not None:
        return reason
    if service is None:
        return Reason.ENDPOINTS_NO_SERVICE
    return Reason.ENDPOINTS_SELECTOR if service.selector is not None else None


def mirrored(found: EndpointSlice) -> bool:
    """Whether the mirroring controller manages the slice, ours or KCM's (MI-22.5)."""
    return found.labels.get(names.MANAGED_BY_LABEL) == names.MIRRORING_MANAGED_BY
