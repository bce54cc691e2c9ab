"""Random cluster histories, written against the interface of `random.Random`: seeded, or driven and shrunk by
hypothesis.

A world is one Service with its Pods and Nodes, as API objects (plain JSON). `World.step` changes it a little, as
people, kubelets and controllers do; `World.edit_slices` does to slices what nobody should. The core's harness and the
one with real API servers draw from here, and from nowhere else.
"""

import copy
from random import Random
from typing import Any, Final

from api import names

Object = dict[str, Any]

ZONES: Final = ("zone-a", "zone-b", "zone-c")
CONTAINER_PORTS: Final = (("http", 8080), ("http", 8081), ("metrics", 9090), ("dns", 53))
_SERVICE_PORTS: Final[tuple[Object, ...]] = (
    {"name": "http", "protocol": "TCP", "port": 80, "targetPort": "http"},
    {"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080, "appProtocol": "kubernetes.io/h2c"},
    {"name": "metrics", "protocol": "TCP", "port": 9090, "targetPort": "metrics"},
    {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": "dns"},
    {"name": "dns-tcp", "protocol": "TCP", "port": 53, "targetPort": 53},
    {"name": "sctp", "protocol": "SCTP", "port": 3868, "targetPort": 3868},
)
_LABELS: Final[tuple[dict[str, str], ...]] = (
    {},
    {"team": "shop"},
    {"team": "shop", "tier": "web"},
    {"team": "shop", names.HEADLESS_LABEL: "x"},
    {names.MANAGED_BY_LABEL: "somebody", "team": "pay"},
)
_FAMILIES: Final = (("IPv4",), ("IPv6",), ("IPv4", "IPv6"), ("IPv6", "IPv4"))


class World:
    """One Service and what belongs to it; `namespace` and `prefix` (of Node names) keep histories apart."""

    def __init__(
        self,
        rng: Random,
        namespace: str = "ns",
        prefix: str = "",
        *,
        topology: bool = False,
        nodes: dict[str, Object] | None = None,
    ) -> None:
        """With `topology` Services ask for hints; with `nodes` those are the Nodes, and they never change."""
        self.rng = rng
        self.topology = topology
        self.nodes_given = nodes is not None
        self.namespace = namespace
        self.prefix = prefix
        self._clock = 0
        self._made = 0
        self.nodes: dict[str, Object] = dict(nodes or {})
        self.pods: dict[str, Object] = {}
        self.service_there = True
        # Endpoints as somebody wrote them last; None when that is left to the controllers.
        self.endpoints: Object | None = None
        if nodes is None:
            for _ in range(rng.randint(3, 8) if topology else rng.randint(1, 4)):
                self._add_node()
        self.service = self._new_service()
        for _ in range(rng.choice((0, 1, 2, 4, 7, 12))):
            self._add_pod()

    def copy(self) -> "World":
        """The same world, changing apart from here on; the source of chance is shared."""
        other = copy.copy(self)
        other.nodes, other.pods = copy.deepcopy(self.nodes), copy.deepcopy(self.pods)
        other.service, other.endpoints = copy.deepcopy(self.service), copy.deepcopy(self.endpoints)
        return other

    def moved_to(self, namespace: str) -> "World":
        """A copy in another Namespace."""
        other = self.copy()
        other.namespace = namespace
        for each in (other.service, *other.pods.values(), *filter(None, [other.endpoints])):
            each["metadata"]["namespace"] = namespace
        return other

    @property
    def selects(self) -> bool:
        """Whether there is a Service whose endpoints come from Pods."""
        spec = self.service["spec"]
        return self.service_there and "selector" in spec and spec["type"] != "ExternalName"

    @property
    def bound(self) -> bool:
        """Whether every Pod that is selected and has an address has a Node, too: KCM's Endpoints must (EP-32)."""
        selector = self.service["spec"].get("selector", {}).items()
        selected = [each for each in self.pods.values() if selector <= each["metadata"]["labels"].items()]
        return all("nodeName" in each["spec"] for each in selected if each["status"].get("podIPs"))

    def step(self) -> str:
        """One kind of change, to one or a few objects; says which."""
        actions = [
            self._pods_come,
            self._pods_come,
            self._pods_change,
            self._pods_change,
            self._pods_go,
            self._rolling_update,
            self._service_changes,
        ]
        action = self.rng.choice(actions if self.nodes_given else [*actions, self._nodes_change])
        action()
        return action.__name__.strip("_")

    def _now(self) -> str:
        """The next second of a clock of our own: what is older than what is part of the history."""
        self._clock += 1
        return f"2026-01-01T{self._clock // 3600:02}:{self._clock // 60 % 60:02}:{self._clock % 60:02}Z"

    def _new_service(self) -> Object:
        rng = self.rng
        headless = rng.random() < 0.3
        families = rng.choice(_FAMILIES)
        spec: Object = {
            "type": "ClusterIP",
            "selector": {"app": "s"},
            "ports": self._some_ports(allow_none=headless),
            "ipFamilies": list(families),
            "ipFamilyPolicy": "SingleStack" if len(families) == 1 else "RequireDualStack",
        }
        if headless:
            spec["clusterIP"] = "None"
        if rng.random() < 0.2:
            spec["publishNotReadyAddresses"] = True
        annotations: dict[str, str] = {}
        if self.topology:
            self._set_topology(spec, annotations)
        if rng.random() < 0.03:
            spec = {"type": "ExternalName", "externalName": "example.com", "selector": {"app": "s"}}
        elif rng.random() < 0.03:
            del spec["selector"]
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": "s",
                "namespace": self.namespace,
                "uid": "uid-s",
                "creationTimestamp": self._now(),
                "labels": dict(rng.choice(_LABELS)),
                "annotations": annotations,
            },
            "spec": spec,
        }

    def _set_topology(self, spec: Object, annotations: dict[str, str]) -> None:
        """Some way to ask for hints, or none."""
        rng = self.rng
        for key in (names.TOPOLOGY_MODE_ANNOTATION, names.TOPOLOGY_HINTS_ANNOTATION):
            annotations.pop(key, None)
        spec.pop("trafficDistribution", None)
        if rng.random() < 0.55:
            mode = rng.choice(("Auto", "Auto", "Auto", "auto", "Disabled"))
            annotations[rng.choice((names.TOPOLOGY_MODE_ANNOTATION, names.TOPOLOGY_HINTS_ANNOTATION))] = mode
        if rng.random() < 0.4:
            spec["trafficDistribution"] = rng.choice(("PreferClose", "PreferSameZone", "PreferSameNode"))

    def _some_ports(self, *, allow_none: bool) -> list[Object]:
        rng = self.rng
        if allow_none and rng.random() < 0.4:
            return []
        if rng.random() < 0.1:
            return [{"protocol": "TCP", "port": 80, "targetPort": rng.choice(("http", 8080))}]
        chosen = rng.sample(_SERVICE_PORTS, rng.randint(1, 3))
        return [copy.deepcopy(port) for port in {port["name"]: port for port in chosen}.values()]

    def _add_node(self) -> None:
        self._made += 1
        name = f"{self.prefix}node-{self._made}"
        labels = {names.ZONE_LABEL: self.rng.choice(ZONES)} if self.rng.random() < self._zoned else {}
        if self.topology and self.rng.random() < 0.1:
            labels["node-role.kubernetes.io/control-plane"] = ""
        self.nodes[name] = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": labels},
            "status": {
                "allocatable": {"cpu": self.rng.choice(("2", "4", "8", "500m"))},
                "conditions": [{"type": "Ready", "status": self._node_readiness()}],
            },
        }

    @property
    def _zoned(self) -> float:
        """How many Nodes have a zone: one that has none switches proportional hints off for all."""
        return 0.98 if self.topology else 0.85

    def _node_readiness(self) -> str:
        return "False" if self.topology and self.rng.random() < 0.08 else "True"

    def _add_pod(self, labels: Object | None = None) -> None:
        rng = self.rng
        self._made += 1
        number = self._made
        spec: Object = {"containers": [self._container("main")]}
        if rng.random() < 0.2:
            spec["initContainers"] = [self._container("init")]
            if rng.random() < 0.5:
                spec["initContainers"][0]["restartPolicy"] = "Always"
        if rng.random() < 0.3:
            spec["hostname"] = f"host-{number}"
            spec["subdomain"] = rng.choice(("s", "other"))
        if rng.random() < 0.93:
            spec["nodeName"] = self._some_node()
        pod: Object = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"pod-{number}",
                "namespace": self.namespace,
                "uid": f"uid-pod-{number}",
                "labels": labels or {"app": "s", "version": rng.choice(("v1", "v2"))},
            },
            "spec": spec,
            "status": {"phase": rng.choice(("Running", "Running", "Pending"))},
        }
        if rng.random() < 0.9:
            self._give_ips(pod, number)
        if rng.random() < 0.9:
            self._set_ready(pod, rng.random() < 0.8)
        self.pods[pod["metadata"]["name"]] = pod

    def _some_node(self) -> str:
        """Mostly a Node that exists."""
        if not self.nodes or self.rng.random() < 0.04:
            return f"{self.prefix}node-gone"
        return self.rng.choice(sorted(self.nodes))

    def _container(self, name: str) -> Object:
        rng = self.rng
        ports = [
            {"name": port, "containerPort": number, "protocol": "UDP" if port == "dns" else "TCP"}
            for port, number in dict(rng.sample(CONTAINER_PORTS, rng.randint(0, 3))).items()
        ]
        return {"name": name, "image": "example.com/app:v1", "ports": ports}

    def _give_ips(self, pod: Object, number: int) -> None:
        four, six = f"10.1.{number // 250}.{number % 250 + 1}", f"fd00:10:1::{number:x}"
        ips = self.rng.choice(([four, six], [four, six], [four], [six], [six, four]))
        pod["status"]["podIP"] = ips[0]
        pod["status"]["podIPs"] = [{"ip": ip} for ip in ips]

    def _set_ready(self, pod: Object, ready: bool) -> None:
        condition = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": self._now()}
        pod["status"]["conditions"] = [{"type": "Initialized", "status": "True"}, condition]

    def _some_pods(self) -> list[Object]:
        living = sorted(self.pods)
        return [self.pods[name] for name in self.rng.sample(living, min(len(living), self.rng.randint(1, 3)))]

    def _pods_come(self) -> None:
        for _ in range(self.rng.choice((1, 1, 2, 3, 6))):
            self._add_pod()

    def _pods_change(self) -> None:
        for pod in self._some_pods():
            change = self.rng.choice(
                (self._flip, self._flip, self._flip, self._get_ip, self._bind, self._relabel, self._finish)
            )
            change(pod)

    def _flip(self, pod: Object) -> None:
        ready = any(each["type"] == "Ready" and each["status"] == "True" for each in _conditions(pod))
        self._set_ready(pod, not ready)

    def _get_ip(self, pod: Object) -> None:
        if not pod["status"].get("podIPs"):
            self._made += 1
            self._give_ips(pod, self._made)

    def _bind(self, pod: Object) -> None:
        if "nodeName" not in pod["spec"]:
            pod["spec"]["nodeName"] = self._some_node()

    def _relabel(self, pod: Object) -> None:
        pod["metadata"]["labels"] = {"app": self.rng.choice(("s", "s", "t")), "version": self.rng.choice(("v1", "v2"))}

    def _finish(self, pod: Object) -> None:
        pod["status"]["phase"] = self.rng.choice(("Succeeded", "Failed", "Unknown"))
        self._set_ready(pod, False)

    def _pods_go(self) -> None:
        for pod in self._some_pods():
            # A Pod without a Node ends at once: no kubelet has to say goodbye to it.
            if "deletionTimestamp" in pod["metadata"] or "nodeName" not in pod["spec"] or self.rng.random() < 0.3:
                del self.pods[pod["metadata"]["name"]]
            else:
                pod["metadata"]["deletionTimestamp"] = self._now()

    def _rolling_update(self) -> None:
        """Every second Pod is replaced, as many come as go."""
        for name in sorted(self.pods)[::2]:
            del self.pods[name]
            self._add_pod()

    def _service_changes(self) -> None:
        rng, spec = self.rng, self.service["spec"]
        if spec["type"] == "ExternalName" or "selector" not in spec:
            return
        change = rng.choice(
            ("labels", "ports", "selector", "publish", "families", *("topology",) * (2 * self.topology))
        )
        if change == "topology":
            self._set_topology(spec, self.service["metadata"]["annotations"])
        elif change == "labels":
            self.service["metadata"]["labels"] = dict(rng.choice(_LABELS))
        elif change == "ports":
            spec["ports"] = self._some_ports(allow_none=spec.get("clusterIP") == "None")
        elif change == "selector":
            spec["selector"] = rng.choice(({"app": "s"}, {"app": "s", "version": "v1"}, {"app": "t"}))
        elif change == "publish":
            spec["publishNotReadyAddresses"] = not spec.get("publishNotReadyAddresses", False)
        else:
            # The first family of a Service can never change.
            first = spec["ipFamilies"][0]
            both = [first, "IPv6" if first == "IPv4" else "IPv4"]
            spec["ipFamilies"] = both if len(spec["ipFamilies"]) == 1 else [first]
            spec["ipFamilyPolicy"] = "SingleStack" if len(spec["ipFamilies"]) == 1 else "RequireDualStack"

    def _nodes_change(self) -> None:
        rng = self.rng
        if not self.nodes or rng.random() < 0.4:
            self._add_node()
            return
        name = rng.choice(sorted(self.nodes))
        if rng.random() < 0.4:
            del self.nodes[name]
        elif self.topology and rng.random() < 0.5:
            self.nodes[name]["status"]["conditions"][0]["status"] = self._node_readiness()
        else:
            labels = self.nodes[name]["metadata"]["labels"]
            labels.pop(names.ZONE_LABEL, None)
            if rng.random() < self._zoned:
                labels[names.ZONE_LABEL] = rng.choice(ZONES)


def _conditions(pod: Object) -> list[Object]:
    found: list[Object] = pod["status"].get("conditions", [])
    return found
