"""A namespace with Deployments, Pods and Services, and what it holds of slices and Endpoints."""

from dataclasses import dataclass, field

from e2e.cluster.kubelets import READY_ANNOTATION
from e2e.cluster.rest import Api, Object, Objects
from e2e.stories.watching import READY

FAMILIES = ("IPv4", "IPv6")
PORT = 8080
# How long a Pod may take to end. A real one takes all of it: `sleep` as process 1 does not hear SIGTERM.
GRACE = 6


@dataclass(frozen=True, slots=True)
class Shop:
    """Everything in it has the label app=<name of its Service>."""

    api: Api
    namespace: str
    image: str = field(repr=False)

    def service(self, name: str = "web", **spec: object) -> Object:
        """Create a Service of all families that the cluster has, with one port, unless `spec` says otherwise."""
        given = {
            "selector": {"app": name},
            "ports": [{"name": "http", "port": 80, "targetPort": PORT}],
            "ipFamilyPolicy": "PreferDualStack",
            **spec,
        }
        return self.api.create(self._object("v1", "Service", name, spec=given))

    def deploy(self, name: str = "web", replicas: int = 1, **spec: object) -> None:
        """Create a Deployment of Pods that are ready as soon as they run."""
        labels = {"app": name}
        template = {"metadata": {"labels": labels}, "spec": self._pod_spec()}
        given = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template, **spec}
        self.api.create(self._object("apps/v1", "Deployment", name, spec=given))

    def scale(self, replicas: int, name: str = "web") -> None:
        self.api.patch("Deployment", name, {"spec": {"replicas": replicas}}, self.namespace)

    def pod(self, name: str, app: str, *, ready: bool = True, **spec: object) -> None:
        """Create a Pod; unless `ready`, it never gets ready."""
        pod = self._object("v1", "Pod", name, labels={"app": app}, spec={**self._pod_spec(), **spec})
        if not ready:
            # For kubelets that are simulated, and for real ones.
            pod["metadata"]["annotations"] = {READY_ANNOTATION: "false"}
            pod["spec"]["containers"][0]["readinessProbe"] = {"exec": {"command": ["false"]}}
        self.api.create(pod)

    def manual(self, name: str, *addresses: str) -> None:
        """Create, or write anew, a Service's Endpoints by hand."""
        subset = {"addresses": [{"ip": each} for each in addresses], "ports": [{"name": "http", "port": PORT}]}
        # This kind may be created by a PUT.
        self.api.replace(self._object("v1", "Endpoints", name, subsets=[subset]))

    def budget(self, name: str, least: int) -> None:
        """Let no eviction leave fewer than so many healthy Pods of an app."""
        spec = {"minAvailable": least, "selector": {"matchLabels": {"app": name}}}
        made = self._object("policy/v1", "PodDisruptionBudget", name, spec=spec)
        self.api.request("POST", self._budgets(), made)

    def allowed(self, name: str) -> int:
        """How many Pods may be evicted now; raises LookupError before the budget has been looked at."""
        status = self.api.get(f"{self._budgets()}/{name}").get("status") or {}
        return int(status["disruptionsAllowed"])

    def pods(self, app: str = "web") -> Objects:
        """All Pods of an app, those on their way out too."""
        return self.api.list("Pod", self.namespace, labelSelector=f"app={app}")

    def ready_pods(self, app: str = "web") -> dict[str, Object]:
        """The Pods that are ready, and not on their way out; by name."""
        return {each["metadata"]["name"]: each for each in self.pods(app) if is_ready(each)}

    def slices(self, name: str = "web", family: str = "") -> Objects:
        """A Service's slices, of one family or of all."""
        found = self.api.list("EndpointSlice", self.namespace, labelSelector=f"kubernetes.io/service-name={name}")
        return [each for each in found if family in ("", each["addressType"])]

    def families(self, name: str = "web") -> tuple[str, ...]:
        return tuple(self.api.read("Service", name, self.namespace)["spec"]["ipFamilies"])

    def addresses(self, name: str = "web", *, ready: bool = True) -> list[str]:
        """The addresses that the Endpoints hold, ready or not. Raises ApiError when there are none."""
        subsets = self.api.read("Endpoints", name, self.namespace).get("subsets") or []
        key = "addresses" if ready else "notReadyAddresses"
        return sorted(each["ip"] for subset in subsets for each in subset.get(key) or [])

    def versions(self) -> dict[str, str]:
        """The resourceVersions of all slices and Endpoints: a write changes its object's."""
        return {
            f"{kind}/{each['metadata']['name']}": each["metadata"]["resourceVersion"]
            for kind in ("EndpointSlice", "Endpoints")
            for each in self.api.list(kind, self.namespace)
        }

    def assert_published(self, count: int, name: str = "web") -> None:
        """There are so many Pods, all ready, and slices and Endpoints hold just them, each once."""
        pods = self.ready_pods(name)
        assert len(pods) == len(self.pods(name)) == count
        families = self.families(name)
        for family in families:
            endpoints = [each for one in self.slices(name, family) for each in one.get("endpoints") or []]
            assert sorted((each["targetRef"]["name"], *each["addresses"]) for each in endpoints) == sorted(
                (each, pod_address(pod, family)) for each, pod in pods.items()
            )
            assert all(each["conditions"] == READY for each in endpoints)
        assert {each["addressType"] for each in self.slices(name)} == set(families)
        assert self.addresses(name) == sorted(pod_address(each, families[0]) for each in pods.values())

    def _object(self, version: str, kind: str, name: str, labels: Object | None = None, **fields: object) -> Object:
        metadata = {"name": name, "namespace": self.namespace, "labels": labels or {}}
        return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}

    def _pod_spec(self) -> Object:
        container = {
            "name": "main",
            "image": self.image,
            "command": ["sleep", "infinity"],
            "ports": [{"name": "http", "containerPort": PORT}],
        }
        return {"terminationGracePeriodSeconds": GRACE, "enableServiceLinks": False, "containers": [container]}

    def _budgets(self) -> str:
        return f"/apis/policy/v1/namespaces/{self.namespace}/poddisruptionbudgets"


def is_ready(pod: Object) -> bool:
    """Whether a Pod is ready, and not on its way out."""
    conditions = pod["status"].get("conditions") or []
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def pod_address(pod: Object, family: str) -> str:
    """A Pod's address of a family. Raises StopIteration when it has none."""
    found = (each["ip"] for each in pod["status"]["podIPs"])
    return str(next(each for each in found if (":" in each) == (family == "IPv6")))
