"""Why a Pod is not (or not everywhere) an endpoint, and why a Service is not synced: one closed set.

The same value feeds Events, metrics, logs and `sliceplane plan`; no second code path may answer "why".
"""

from enum import Enum


class Reason(Enum):
    """A "no" and its explanation. The value is stable (it is a metric label); `text` is for people."""

    text: str

    def __new__(cls, label: str, text: str) -> "Reason":
        member = object.__new__(cls)
        member._value_ = label
        member.text = text
        return member

    SERVICE_EXTERNAL_NAME = ("service_external_name", "the Service is of type ExternalName")
    SERVICE_NO_SELECTOR = ("service_no_selector", "the Service has no selector")
    POD_FINISHED = ("pod_finished", "the Pod has finished (phase Succeeded or Failed)")
    POD_NO_IP = ("pod_no_ip", "the Pod has no IP yet")
    POD_NO_ADDRESS_OF_FAMILY = ("pod_no_address_of_family", "the Pod has no address of this family")
    POD_ADDRESS_REFUSED = (
        "pod_address_refused",
        "the Pod's address is not an IP that an EndpointSlice may hold (invalid, unspecified, loopback or link-local)",
    )
    NODE_NOT_FOUND = ("node_not_found", "the Pod's Node does not exist")
