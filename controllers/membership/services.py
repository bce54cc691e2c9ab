"""What a Service's own fields decide for every renderer: whether it is synced at all, and whether it is headless."""

from controllers.model.objects import Service
from controllers.model.reasons import Reason


def not_syncable(service: Service) -> Reason | None:
    """Why nothing is written for this Service, whatever Pods there are (ES-32, EP-25); None when it is to be synced."""
    if service.type == "ExternalName":
        return Reason.SERVICE_EXTERNAL_NAME
    if service.selector is None:
        return Reason.SERVICE_NO_SELECTOR
    return None


def headless(service: Service) -> bool:
    """Headless by the controllers' test (ES-83, EP-39)."""
    return service.cluster_ip in ("", "None")
