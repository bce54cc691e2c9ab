"""Every name that is read from or written to the Kubernetes API: labels, annotations, event reasons, managers."""

from typing import Final

SERVICE_NAME_LABEL: Final = "kubernetes.io/service-name"
MANAGED_BY_LABEL: Final = "endpointslice.kubernetes.io/managed-by"
HEADLESS_LABEL: Final = "service.kubernetes.io/headless"
RESERVED_SLICE_LABELS: Final = frozenset({SERVICE_NAME_LABEL, MANAGED_BY_LABEL, HEADLESS_LABEL})

# KCM's own value: whoever reads slices must notice no difference (ES-1).
ENDPOINTSLICE_MANAGED_BY: Final = "endpointslice-controller.k8s.io"

TRIGGER_TIME_ANNOTATION: Final = "endpoints.kubernetes.io/last-change-trigger-time"
TOPOLOGY_HINTS_ANNOTATION: Final = "service.kubernetes.io/topology-aware-hints"
TOPOLOGY_MODE_ANNOTATION: Final = "service.kubernetes.io/topology-mode"
ADAPTIVE_MODE_ANNOTATION: Final = "sliceplane.dev/topology-mode"
ADAPTIVE_MODE: Final = "Adaptive"
TOPOLOGY_FLOOR_ANNOTATION: Final = "sliceplane.dev/topology-floor"
CONTROL_PLANE_LABELS: Final = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
ZONE_LABEL: Final = "topology.kubernetes.io/zone"

EVENT_COMPONENT_ENDPOINTSLICE: Final = "endpoint-slice-controller"
REASON_UPDATE_FAILED: Final = "FailedToUpdateEndpointSlices"
REASON_HINTS_ENABLED: Final = "TopologyAwareHintsEnabled"
REASON_HINTS_DISABLED: Final = "TopologyAwareHintsDisabled"
REASON_INVALID_ANNOTATION: Final = "InvalidTopologyAnnotation"
REASON_PODS_LEFT_OUT: Final = "PodsLeftOut"
REASON_MALFORMED: Final = "MalformedObject"
