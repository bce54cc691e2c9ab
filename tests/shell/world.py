"""Objects as an API server takes them, and what it holds of slices."""

from typing import Any

from e2e.cluster.local import ControlPlane
from e2e.cluster.rest import Api, Object, Objects

ZONES = ("a", "b", "c")
MANAGER = "endpointslice-controller.k8s.io"
MIRRORING_MANAGER = "endpointslicemirroring-controller.k8s.io"


def node(zone: str) -> Object:
    metadata = {"name": f"node-{zone}", "labels": {"topology.kubernetes.io/zone": f"zone-{zone}"}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata}


def counted(zone: str, *, ready: bool = True) -> Object:
    """A Node with CPU; `ready` decides whether its zone counts for hints."""
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {**node(zone), "status": {"allocatable": {"cpu": "4"}, "conditions": conditions}}


def namespaced(kind: str, namespace: str, name: str, **fields: Any) -> Object:
    labels = {"app": "web"} if kind == "Pod" else {}
    metadata = {"name": name, "namespace": namespace, "labels": fields.pop("labels", labels)}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **fields}


def service(namespace: str, name: str = "web", **spec: Any) -> Object:
    """Dual stack, one port, selecting `app=web`."""
    given = {"selector": {"app": "web"}, "ports": [{"port": 80}], "ipFamilyPolicy": "RequireDualStack", **spec}
    return namespaced("Service", namespace, name, spec=given)


def status(number: int, ready: bool = True, ips: tuple[str, ...] = ()) -> Object:
    ips = ips or (f"10.1.{number // 250}.{number % 250 + 1}", f"fd00:10:1::{number + 1:x}")
    return {
        "phase": "Running",
        "podIP": ips[0],
        "podIPs": [{"ip": ip} for ip in ips],
        "conditions": [{"type": "Ready", "status": str(ready), "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    }


def pod(namespace: str, number: int, *, ready: bool = True, ips: tuple[str, ...] = (), **more: Any) -> Object:
    """A Pod with its status, as `Api.apply` takes it; `more` is spec, `labels` apart."""
    container = {"name": "main", "image": "none", "ports": more.pop("ports", [])}
    labels = more.pop("labels", {"app": "web"})
    spec = {"nodeName": f"node-{ZONES[number % 3]}", "containers": [container], **more}
    return namespaced("Pod", namespace, f"pod-{number:03}", labels=labels, spec=spec, status=status(number, ready, ips))


def subset(*ips: str, port: int = 80, name: str = "http", not_ready: tuple[str, ...] = ()) -> Object:
    """A subset of Endpoints with one port."""
    found: Object = {"ports": [{"name": name, "port": port, "protocol": "TCP"}]}
    for key, addresses in (("addresses", ips), ("notReadyAddresses", not_ready)):
        if addresses:
            found[key] = [{"ip": ip} for ip in addresses]
    return found


class World:
    """One namespace of a control plane whose three nodes exist."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane, self.namespace = plane, namespace

    @property
    def api(self) -> Api:
        return self.plane.client()

    def service(self, name: str = "web", **spec: Any) -> Object:
        return self.api.create(service(self.namespace, name, **spec))

    def pod(self, number: int, **more: Any) -> None:
        self.api.apply([pod(self.namespace, number, **more)])

    def pods(self, numbers: range) -> None:
        for number in numbers:
            self.pod(number)

    def set_status(self, number: int, **more: Any) -> None:
        body = {"status": status(number, **more)}
        self.api.patch("Pod", f"pod-{number:03}", body, self.namespace, subresource="status")

    def slices(self, name: str = "web", family: str = "IPv4") -> Objects:
        found = self.api.list("EndpointSlice", self.namespace, labelSelector=f"kubernetes.io/service-name={name}")
        return [each for each in found if each["addressType"] == family]

    def endpoints(self, name: str = "web", family: str = "IPv4") -> dict[str, Object]:
        """By Pod; a Pod that is there twice is an error."""
        found = [e for each in self.slices(name, family) for e in each.get("endpoints") or []]
        by_pod = {e["targetRef"]["name"]: e for e in found}
        assert len(by_pod) == len(found), "an endpoint is in two slices"
        return by_pod

    def numbers(self, name: str = "web", family: str = "IPv4") -> set[int]:
        return {int(pod.removeprefix("pod-")) for pod in self.endpoints(name, family)}

    def versions(self) -> dict[str, str]:
        """What every slice of the namespace looked like: a write changes its version."""
        return {
            each["metadata"]["name"]: each["metadata"]["resourceVersion"]
            for each in self.api.list("EndpointSlice", self.namespace)
        }

    def manual(
        self, name: str, *subsets: Object, labels: Object | None = None, annotations: Object | None = None
    ) -> Object:
        """Endpoints written by hand; they need not exist yet."""
        made = namespaced("Endpoints", self.namespace, name, labels=labels or {}, subsets=list(subsets))
        made["metadata"]["annotations"] = annotations or {}
        # This kind may be created by a PUT.
        return self.api.replace(made)

    def manual_service(self, name: str = "web", **spec: Any) -> Object:
        """A Service without a selector: its Endpoints are written by hand."""
        made = service(self.namespace, name, **spec)
        del made["spec"]["selector"]
        return self.api.create(made)

    def addresses(self, name: str = "web") -> tuple[list[str], list[str]]:
        """What the Endpoints hold: ready addresses, and those that are not ready. Raises ApiError when there are none.

        An address is there once for each subset that holds it.
        """
        subsets = self.api.read("Endpoints", name, self.namespace).get("subsets") or []
        ready, asleep = (
            [each["ip"] for found in subsets for each in found.get(key) or []]
            for key in ("addresses", "notReadyAddresses")
        )
        return ready, asleep

    def mirrored(self, name: str = "web") -> Objects:
        """The slices that were made from hand-written Endpoints."""
        labels = f"kubernetes.io/service-name={name},endpointslice.kubernetes.io/managed-by={MIRRORING_MANAGER}"
        return self.api.list("EndpointSlice", self.namespace, labelSelector=labels)

    def mirrored_addresses(self, name: str = "web") -> dict[str, bool]:
        """Every mirrored address, and whether it is ready."""
        found = [e for each in self.mirrored(name) for e in each.get("endpoints") or []]
        return {e["addresses"][0]: e["conditions"]["ready"] for e in found}

    def all_versions(self) -> dict[str, str]:
        """As `versions`, of Endpoints, too."""
        return {
            f"{kind}/{each['metadata']['name']}": each["metadata"]["resourceVersion"]
            for kind in ("EndpointSlice", "Endpoints")
            for each in self.api.list(kind, self.namespace)
        }

    def events(self, name: str, kind: str, reason: str) -> Objects:
        """The Events of a reason about an object."""
        selector = f"involvedObject.name={name},involvedObject.kind={kind},reason={reason}"
        return self.api.list("Event", self.namespace, fieldSelector=selector)

    def warnings(self, name: str = "web") -> dict[str, str]:
        """Events on a Service: the last message by reason."""
        return {each["reason"]: each["message"] for each in self.told(name) if each["type"] == "Warning"}

    def told(self, name: str) -> Objects:
        """All Events on objects of this name, but those of the API server's own repair of addresses (IP-51).

        That looks at a Service before it has seen its IPAddress, now and then, and says so.
        """
        events = self.api.list("Event", self.namespace, fieldSelector=f"involvedObject.name={name}")
        return [each for each in events if not each.get("reportingComponent", "").endswith("-repair-controller")]
