"""Which Pods belong to a Service, and why not the others (ES-36 ... ES-40). Endpoints and EndpointSlices share it."""

from controllers.model.objects import Node, Pod, Service
from controllers.model.reasons import Reason

_FINISHED = ("Succeeded", "Failed")


def not_syncable(service: Service) -> Reason | None:
    """Why nothing is written for this Service, whatever Pods there are (ES-32); None when it is to be synced."""
    if service.type == "ExternalName":
        return Reason.SERVICE_EXTERNAL_NAME
    if service.selector is None:
        return Reason.SERVICE_NO_SELECTOR
    return None


def left_out(pod: Pod) -> Reason | None:
    """Why a selected Pod is no endpoint in any family; None when it may be one (ES-36).

    Readiness does not matter here, and a terminating Pod is kept: it may still be serving.
    """
    if pod.phase in _FINISHED:
        return Reason.POD_FINISHED
    if not pod.has_ip:
        return Reason.POD_NO_IP
    return None


def left_out_of_family(pod: Pod, node: Node | None, service: Service, family: str) -> Reason | None:
    """Why a Pod that may be an endpoint is none of this family, "IPv4" or "IPv6" (ES-38 ... ES-40)."""
    if node is None and not service.publish_not_ready:
        return Reason.NODE_NOT_FOUND
    if not addresses(pod, family):
        refused = any((":" in text) is (family == "IPv6") for text in pod.refused_ips)
        return Reason.POD_ADDRESS_REFUSED if refused else Reason.POD_NO_ADDRESS_OF_FAMILY
    return None


def addresses(pod: Pod, family: str) -> tuple[str, ...]:
    """The Pod's addresses of a family, canonical and sorted as strings (ES-39)."""
    return pod.ipv6 if family == "IPv6" else pod.ipv4
