"""Every name that is read from or written to the Kubernetes API: labels, annotations, event reasons, managers."""

from typing import Final

SERVICE_NAME_LABEL: Final = "kubernetes.io/service-name"
MANAGED_BY_LABEL: Final = "endpointslice.kubernetes.io/managed-by"
HEADLESS_LABEL: Final = "service.kubernetes.io/headless"
RESERVED_SLICE_LABELS: Final = frozenset({SERVICE_NAME_LABEL, MANAGED_BY_LABEL, HEADLESS_LABEL})

# KCM's own value: whoever reads slices must notice no difference (ES-1).
ENDPOINTSLICE_MANAGED_BY: Final = "endpointslice-controller.k8s.io"

MIRRORING_MANAGED_BY: Final = "endpointslicemirroring-controller.k8s.io"
ENDPOINTS_MANAGED_BY_LABEL: Final = "endpoints.kubernetes.io/managed-by"
ENDPOINTS_MANAGED_BY: Final = "endpoint-controller"
SKIP_MIRROR_LABEL: Final = "endpointslice.kubernetes.io/skip-mirror"

OVER_CAPACITY_ANNOTATION: Final = "endpoints.kubernetes.io/over-capacity"
OVER_CAPACITY_TRUNCATED: Final = "truncated"
LEADER_ANNOTATION: Final = "control-plane.alpha.kubernetes.io/leader"
LAST_APPLIED_ANNOTATION: Final = "kubectl.kubernetes.io/last-applied-configuration"
TRIGGER_TIME_ANNOTATION: Final = "endpoints.kubernetes.io/last-change-trigger-time"
TOPOLOGY_HINTS_ANNOTATION: Final = "service.kubernetes.io/topology-aware-hints"
TOPOLOGY_MODE_ANNOTATION: Final = "service.kubernetes.io/topology-mode"
ADAPTIVE_MODE_ANNOTATION: Final = "sliceplane.dev/topology-mode"
ADAPTIVE_MODE: Final = "Adaptive"
TOPOLOGY_FLOOR_ANNOTATION: Final = "sliceplane.dev/topology-floor"
CONTROL_PLANE_LABELS: Final = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
ZONE_LABEL: Final = "topology.kubernetes.io/zone"

EVENT_COMPONENT_ENDPOINTSLICE: Final = "endpoint-slice-controller"
EVENT_COMPONENT_ENDPOINTS: Final = "endpoint-controller"
EVENT_COMPONENT_MIRRORING: Final = "endpoint-slice-mirroring-controller"
EVENT_COMPONENT_LEADER_ELECTION: Final = "sliceplane"
REASON_LEADER_ELECTION: Final = "LeaderElection"
REASON_UPDATE_FAILED: Final = "FailedToUpdateEndpointSlices"
REASON_HINTS_ENABLED: Final = "TopologyAwareHintsEnabled"
REASON_HINTS_DISABLED: Final = "TopologyAwareHintsDisabled"
REASON_INVALID_ANNOTATION: Final = "InvalidTopologyAnnotation"
REASON_PODS_LEFT_OUT: Final = "PodsLeftOut"
REASON_MALFORMED: Final = "MalformedObject"
REASON_ENDPOINTS_CREATE_FAILED: Final = "FailedToCreateEndpoint"
REASON_ENDPOINTS_UPDATE_FAILED: Final = "FailedToUpdateEndpoint"
REASON_OVER_CAPACITY: Final = "EndpointsOverCapacity"
REASON_INVALID_IP: Final = "InvalidIPAddress"
REASON_TOO_MANY_ADDRESSES: Final = "TooManyAddressesToMirror"

IPAM_POOL_ANNOTATION: Final = "ipam.sliceplane.dev/pool"
IPAM_CLAIMS_ANNOTATION: Final = "ipam.sliceplane.dev/claims"
IPAM_MANAGED_BY: Final = "sliceplane-ipam"
IPAM_LABELS: Final = {"app.kubernetes.io/managed-by": IPAM_MANAGED_BY}
EVENT_COMPONENT_IPAM: Final = "sliceplane-ipam"

# Of a Namespace or a Service: RFC 1123, but for the length, which is 63 at most.
LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
