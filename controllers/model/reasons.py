"""Why a Pod is no endpoint, a Service not synced, or an endpoint without hints: one closed set.

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
    POD_TERMINATING = ("pod_terminating", "the Pod is terminating, which the Endpoints API has no way to say")
    ENDPOINTS_GONE = ("endpoints_gone", "there are no Endpoints of this name")
    ENDPOINTS_SKIPPED = (
        "endpoints_skipped",
        "the Endpoints are labelled endpointslice.kubernetes.io/skip-mirror: true",
    )
    ENDPOINTS_LEADER_ELECTION = ("endpoints_leader_election", "the Endpoints are a lock for leader election")
    ENDPOINTS_NO_SERVICE = ("endpoints_no_service", "there is no Service of this name")
    ENDPOINTS_SELECTOR = ("endpoints_selector", "the Service has a selector, so its EndpointSlices come from Pods")
    TOPOLOGY_NODE_INFORMATION = (
        "topology_node_information",
        "the ready Nodes are not in two zones at least, or one of them has no zone label or no allocatable CPU",
    )
    TOPOLOGY_TOO_FEW_ENDPOINTS = ("topology_too_few_endpoints", "there are fewer ready endpoints than zones")
    TOPOLOGY_OVERLOAD = (
        "topology_overload",
        "the endpoints cannot be split in proportion to the zones' CPU without overloading one by more than 20 %",
    )
    TOPOLOGY_NO_ZONE = ("topology_no_zone", "a ready endpoint is on a Node without a zone label")
    TOPOLOGY_SWITCHED_OFF = ("topology_switched_off", "the annotation does not ask for it any more")
    TOPOLOGY_NODES_INCOMPLETE = (
        "topology_nodes_incomplete",
        "more than 20 % of the ready Nodes have no zone label or no allocatable CPU",
    )
    TOPOLOGY_SINGLE_ZONE = ("topology_single_zone", "the ready Nodes are not in two zones at least")
    TOPOLOGY_ZONES_UNCOVERED = (
        "topology_zones_uncovered",
        "there are too few ready endpoints for every zone: one endpoint can be hinted for 8 zones at most",
    )
    TOPOLOGY_OVERLOADED = (
        "topology_overloaded",
        "an endpoint is overloaded, because one endpoint can be hinted for 8 zones at most",
    )
    TOPOLOGY_ANNOTATION_INVALID = ("topology_annotation_invalid", "this is no valid value and counts as not set")
    NODE_NOT_FOUND = ("node_not_found", "the Pod's Node does not exist")
