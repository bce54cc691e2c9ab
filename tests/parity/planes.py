"""Two control planes, one served by the real KCM and one by Sliceplane, and how a history is played on one of them."""

import copy
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from api import names
from e2e.cluster.local import ControlPlane
from e2e.cluster.product import start_sliceplane
from e2e.cluster.rest import Api, ApiError
from tests.parity.histories import World

Object = dict[str, Any]

BATCH_SECONDS: Final = 1.0
_IGNORED: Final = ("uid", "creationTimestamp", "deletionTimestamp")


@contextmanager
def two_planes(limit: int = 100) -> Iterator[tuple["Plane", "Plane"]]:
    """Ours and theirs, with equal flags; `limit` endpoints a slice."""
    flags = (
        f"--max-endpoints-per-slice={limit}",
        f"--endpointslice-updates-batch-period={BATCH_SECONDS:g}s",
        "--concurrent-service-endpoint-syncs=20",
    )
    with ExitStack() as stack:
        ours, theirs = stack.enter_context(ControlPlane()), stack.enter_context(ControlPlane())
        start_sliceplane(ours, *flags)
        theirs.start_kcm(*flags, "--kube-api-qps=5000", "--kube-api-burst=10000")
        yield Plane(ours.client()), Plane(theirs.client())


class Plane:
    """One of the two, as the histories see it."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def begin(self, namespace: str, prefix: str) -> None:
        """A Namespace for a history, and no Nodes left of the last time that it was played."""
        for node in self._api.list("Node"):
            if node["metadata"]["name"].startswith(prefix):
                self._api.delete("Node", node["metadata"]["name"])
        self._api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})

    def give_nodes(self, nodes: dict[str, Object]) -> None:
        """Nodes that all histories share."""
        self._nodes({}, nodes)

    def move(self, before: World | None, after: World) -> None:
        """Makes the API server hold the world `after`, given that it holds `before`."""
        if not after.nodes_given:
            self._nodes(before.nodes if before else {}, after.nodes)
        self._pods(before.pods if before else {}, after.pods, after.namespace)
        if before is None:
            # A controller may hear of the Service before it hears of Pods that are older.
            time.sleep(0.5)
            self._api.create(_sent(after.service))
        elif before.service != after.service:
            self._replace_service(after)

    def nudge(self, world: World, text: str) -> None:
        """Makes any controller look at the Service again: KCM does not after a change of Nodes (D-7)."""
        body = {"metadata": {"annotations": {"example.com/nudge": text}}}
        self._api.patch("Service", "s", body, world.namespace)

    def slices(self, world: World) -> list[Object]:
        """The slices, with a common name for what differs between servers: the Service's creation, the uids."""
        created = self._api.read("Service", "s", world.namespace)["metadata"]["creationTimestamp"]
        uid = self._api.read("Service", "s", world.namespace)["metadata"]["uid"]
        pods = {pod["metadata"]["uid"]: pod["metadata"]["name"] for pod in self._api.list("Pod", world.namespace)}
        found = self._api.list("EndpointSlice", world.namespace)
        for each in found:
            annotations = each["metadata"].get("annotations", {})
            if annotations.get(names.TRIGGER_TIME_ANNOTATION) == created:
                annotations[names.TRIGGER_TIME_ANNOTATION] = "the Service's creation"
            for owner in each["metadata"].get("ownerReferences", []):
                owner["uid"] = "the Service" if owner["uid"] == uid else owner["uid"]
            for endpoint in each.get("endpoints") or []:
                target = endpoint.get("targetRef", {})
                target["uid"] = pods.get(target.get("uid"), target.get("uid"))
        return found

    def edit(self, found: Object, edit: str) -> None:
        """Somebody tampers with a slice."""
        name, namespace = found["metadata"]["name"], found["metadata"]["namespace"]
        if edit == "delete":
            self._api.delete("EndpointSlice", name, namespace)
            return
        fresh = self._api.read("EndpointSlice", name, namespace)
        endpoints = fresh.get("endpoints") or []
        if edit == "lose":
            fresh["endpoints"] = endpoints[1:]
        elif edit == "unready":
            for endpoint in endpoints:
                endpoint["conditions"] = {"ready": False}
        elif edit == "label":
            fresh["metadata"]["labels"]["extra"] = "x"
        self._api.replace(fresh)

    def _nodes(self, before: dict[str, Object], after: dict[str, Object]) -> None:
        for name in before.keys() - after.keys():
            self._api.delete("Node", name)
        for name, node in after.items():
            if name not in before:
                self._api.create(node)
            elif before[name] != node:
                fresh = self._api.read("Node", name)
                fresh["metadata"]["labels"] = node["metadata"]["labels"]
                self._api.replace(fresh)

    def _pods(self, before: dict[str, Object], after: dict[str, Object], namespace: str) -> None:
        for name in sorted(before.keys() - after.keys()):
            self._end_pod(name, namespace)
        for name, pod in after.items():
            if name not in before:
                self._api.create({**_sent(pod), "status": {}})
                self._set_status(name, pod, namespace)
            elif before[name] != pod:
                self._change_pod(before[name], pod, namespace)

    def _end_pod(self, name: str, namespace: str) -> None:
        try:
            self._api.delete("Pod", name, namespace, grace=0)
        except ApiError as error:
            if error.status != 404:
                raise

    def _change_pod(self, old: Object, new: Object, namespace: str) -> None:
        name = new["metadata"]["name"]
        if old["metadata"]["labels"] != new["metadata"]["labels"]:
            self._api.patch("Pod", name, {"metadata": {"labels": new["metadata"]["labels"]}}, namespace)
        if "nodeName" in new["spec"] and "nodeName" not in old["spec"]:
            target = {"kind": "Node", "name": new["spec"]["nodeName"]}
            meta = {"name": name, "namespace": namespace}
            self._api.create(
                {"apiVersion": "v1", "kind": "Binding", "metadata": meta, "target": target}, subresource="binding"
            )
        if old["status"] != new["status"]:
            self._set_status(name, new, namespace)
        if "deletionTimestamp" in new["metadata"] and "deletionTimestamp" not in old["metadata"]:
            self._api.delete("Pod", name, namespace, grace=600)

    def _set_status(self, name: str, pod: Object, namespace: str) -> None:
        fresh = self._api.read("Pod", name, namespace)
        fresh["status"] = pod["status"]
        self._api.replace(fresh, subresource="status")

    def _replace_service(self, world: World) -> None:
        fresh = self._api.read("Service", "s", world.namespace)
        spec = fresh["spec"]
        fresh["metadata"]["labels"] = world.service["metadata"]["labels"]
        fresh["metadata"]["annotations"] = world.service["metadata"]["annotations"]
        spec.pop("trafficDistribution", None)
        for key, value in world.service["spec"].items():
            spec[key] = value
        spec["publishNotReadyAddresses"] = world.service["spec"].get("publishNotReadyAddresses", False)
        if spec.get("clusterIP") != "None" and spec.get("clusterIPs"):
            spec["clusterIPs"] = spec["clusterIPs"][: len(spec["ipFamilies"])]
        self._api.replace(fresh)


def _sent(found: Object) -> Object:
    """An object as a client sends it: without what the server sets."""
    sent = copy.deepcopy(found)
    for key in _IGNORED:
        sent["metadata"].pop(key, None)
    return sent
