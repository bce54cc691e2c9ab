"""Which Pods belong to a Service, why not the others, and how they show (ES-36 ... ES-43, EP-29 ... EP-35).

Endpoints and EndpointSlices share it.
"""

from controllers.model.objects import Node, Pod, Service
from controllers.model.reasons import Reason

_FINISHED = ("Succeeded", "Failed")


def left_out(pod: Pod) -> Reason | None:
    """Why a selected Pod is no endpoint in any family; None when it may be one (ES-36).

    Readiness does not matter here, and a terminating Pod is kept: it may still be serving.
    """
    if pod.phase in _FINISHED:
        return Reason.POD_FINISHED
    if not pod.first_family:
        return Reason.POD_NO_IP
    return None


def left_out_of_family(pod: Pod, node: Node | None, service: Service, family: str) -> Reason | None:
    """Why a Pod that may be an endpoint is none of this family, "IPv4" or "IPv6" (ES-38 ... ES-40)."""
    if node is None and not service.publish_not_ready:
        return Reason.NODE_NOT_FOUND
    return None if addresses(pod, family) else _without_address(pod, family)


def left_out_of_endpoints(pod: Pod, service: Service, family: str) -> Reason | None:
    """Why a Pod that may be an endpoint is not in the Endpoints, which hold one family (EP-29, EP-31).

    Endpoints cannot say that a Pod is terminating, so it leaves them; its Node does not matter.
    """
    if pod.terminating and not service.publish_not_ready:
        return Reason.POD_TERMINATING
    return None if addresses(pod, family) else _without_address(pod, family)


def _without_address(pod: Pod, family: str) -> Reason:
    refused = any((":" in text) is (family == "IPv6") for text in pod.refused_ips)
    return Reason.POD_ADDRESS_REFUSED if refused else Reason.POD_NO_ADDRESS_OF_FAMILY


def ready(pod: Pod, service: Service) -> bool:
    """Whether the Pod should get new connections (ES-41, EP-35)."""
    return service.publish_not_ready or (pod.ready and not pod.terminating)


def hostname(pod: Pod, service: Service) -> str:
    """The name under which DNS should know the Pod, "" for none (ES-43)."""
    return pod.hostname if pod.hostname and pod.subdomain == service.name else ""


def addresses(pod: Pod, family: str) -> tuple[str, ...]:
    """The Pod's addresses of a family, canonical and sorted as strings (ES-39)."""
    return pod.ipv6 if family == "IPv6" else pod.ipv4
