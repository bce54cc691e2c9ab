"""Two control planes, one served by the real KCM and one by Sliceplane, and how a history is played on one of them."""

import copy
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from api import names
from e2e.cluster.local import ControlPlane
from e2e.cluster.product import start_sliceplane
from e2e.cluster.rest import Api, ApiError
from tests.parity.histories import World
from tests.parity.normal import canonical

Object = dict[str, Any]

BATCH_SECONDS: Final = 1.0
# So few that hand-made Endpoints often have more.
MOST_MIRRORED: Final = 3
_IGNORED: Final = ("uid", "creationTimestamp", "deletionTimestamp")
# An annotation of anybody's stays (EP-46), the mark of too many addresses does not (EP-43).
_NOTES: Final = {"example.com/note": "kept", names.OVER_CAPACITY_ANNOTATION: "warning"}
# Edits that only what mirrors undoes for sure.
_OF_MIRRORED: Final = frozenset({"annotation", "owner", "double", "manager", "service"})


@contextmanager
def two_planes(limit: int = 100) -> Iterator[tuple["Plane", "Plane"]]:
    """Ours and theirs, with equal flags; `limit` endpoints a slice."""
    flags = (
        f"--max-endpoints-per-slice={limit}",
        f"--endpointslice-updates-batch-period={BATCH_SECONDS:g}s",
        f"--endpoint-updates-batch-period={BATCH_SECONDS:g}s",
        f"--mirroring-max-endpoints-per-subset={MOST_MIRRORED}",
        "--concurrent-service-endpoint-syncs=20",
        "--concurrent-endpoint-syncs=20",
        "--mirroring-concurrent-service-endpoint-syncs=20",
    )
    # Endpoints may hold IPs that are not canonical, as those do that older servers have let in.
    loose = ("--feature-gates=StrictIPCIDRValidation=false",)
    with ExitStack() as stack:
        ours, theirs = (stack.enter_context(ControlPlane(extra_apiserver_args=loose)) for _ in range(2))
        start_sliceplane(ours, *flags)
        kcm = theirs.start_kcm(*flags, "--kube-api-qps=5000", "--kube-api-burst=10000")
        yield Plane(ours.client()), Plane(theirs.client(), kcm.log)


class Plane:
    """One of the two, as the histories see it; `log` is KCM's."""

    def __init__(self, api: Api, log: Path | None = None) -> None:
        self._api, self._log = api, log
        self._pods_made: Counter[tuple[str, str]] = Counter()
        self._pod_of_uid: dict[str, str] = {}
        self.mended = 0

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
        self._service(before if before and before.service_there else None, after)
        # Endpoints go with their Service, by the hands of the controllers.
        if after.service_there or not (before and before.service_there):
            self._endpoints(before.endpoints if before else None, after.endpoints, after.namespace)

    def nudge(self, world: World, text: str) -> None:
        """Makes any controller look at the Service again: KCM does not after a change of Nodes (D-7)."""
        if world.selects:
            body = {"metadata": {"annotations": {"example.com/nudge": text}}}
            self._api.patch("Service", "s", body, world.namespace)

    def nudge_endpoints(self, namespace: str, text: str) -> None:
        """Makes any controller look at Endpoints again, by what is never mirrored (MI-7)."""
        with _gone_is_fine():
            body = {"metadata": {"annotations": {names.LAST_APPLIED_ANNOTATION: text}}}
            self._api.patch("Endpoints", "s", body, namespace)

    def slices(self, world: World) -> list[Object]:
        """The slices, with a common name for what differs between servers: the Service's creation, the uids."""
        service = self._read("Service", world.namespace)
        endpoints = self._read("Endpoints", world.namespace)
        uids = {each["metadata"]["uid"]: f"the {each['kind']}" for each in (service, endpoints) if each}
        found = self._api.list("EndpointSlice", world.namespace)
        for each in found:
            self._name_creation(each, service)
            for owner in each["metadata"].get("ownerReferences", []):
                owner["uid"] = uids.get(owner["uid"], f"an earlier {owner['kind']}")
            for endpoint in each.get("endpoints") or []:
                self._name_target(endpoint)
        return found

    def endpoints(self, world: World) -> Object | None:
        """The Endpoints, with the same common names, and whether their subsets are in canonical order."""
        found = self._read("Endpoints", world.namespace)
        if found is not None:
            found["canonical"] = _truncated(found) or canonical(found)
            self._name_creation(found, self._read("Service", world.namespace))
            for subset in found.get("subsets") or []:
                for address in (*subset.get("addresses", []), *subset.get("notReadyAddresses", [])):
                    self._name_target(address)
        return found

    def warnings(self, world: World, kind: str = "Endpoints") -> set[str]:
        """The reasons of Warnings about the Endpoints (or the Service) as they now are, not about earlier ones."""
        about = self._read(kind, world.namespace)
        uid = about["metadata"]["uid"] if about else ""
        found = self._api.list("Event", world.namespace)
        # What is told of Endpoints that could not be made yet has no uid.
        told = [each for each in found if each["type"] == "Warning" and each["involvedObject"].get("uid") == uid]
        return {each["reason"] for each in told}

    def said(self) -> int:
        """How much KCM has said so far, for `defective`."""
        return self._log.stat().st_size if self._log is not None else 0

    def defective(self, namespace: str, since: int) -> bool:
        """Whether KCM has met a defect of its own that keeps it from mirroring.

        Recycling slices of both families it creates one that exists (MI-47). And when a slice that it knows is given
        to somebody else, by its labels, it takes itself for outdated until it forgets the Service (ES-134).
        """
        if self._log is None:
            return False
        with self._log.open("rb") as log:
            log.seek(since)
            said = [line for line in log if f'key="{namespace}/s"'.encode() in line]
        return any(b"already exists" in line for line in said) or sum(b"out of date" in line for line in said) > 2

    def mirror_anew(self, namespace: str) -> None:
        """Has all mirrored slices deleted and made again, so that the controller forgets what it knew (MI-24)."""
        self.mended += 1
        with _gone_is_fine():
            found = self._api.read("Endpoints", "s", namespace)
            before = found["metadata"].get("labels", {}).get(names.SKIP_MIRROR_LABEL)
            for value in ("true", before):
                body = {"metadata": {"labels": {names.SKIP_MIRROR_LABEL: value}}}
                self._api.patch("Endpoints", "s", body, namespace)
                time.sleep(1)

    def _read(self, kind: str, namespace: str) -> Object | None:
        with _gone_is_fine():
            return self._api.read(kind, "s", namespace)
        return None

    def _name_creation(self, found: Object, service: Object | None) -> None:
        annotations = found["metadata"].get("annotations", {})
        if service and annotations.get(names.TRIGGER_TIME_ANNOTATION) == service["metadata"]["creationTimestamp"]:
            annotations[names.TRIGGER_TIME_ANNOTATION] = "the Service's creation"

    def _name_target(self, found: Object) -> None:
        target = found.get("targetRef", {})
        target["uid"] = self._pod_of_uid.get(target.get("uid"), target.get("uid"))

    def edit(self, found: Object, edit: str) -> None:
        """Somebody tampers with a slice."""
        name, namespace = found["metadata"]["name"], found["metadata"]["namespace"]
        fresh = self._api.read("EndpointSlice", name, namespace)
        meta = fresh["metadata"]
        if edit in _OF_MIRRORED and meta["labels"].get(names.MANAGED_BY_LABEL) != names.MIRRORING_MANAGED_BY:
            edit = "label"
        if edit == "delete":
            self._api.delete("EndpointSlice", name, namespace)
            return
        if edit == "double":
            meta["name"] += "-double"
            del meta["resourceVersion"]
            self._api.create(fresh)
            return
        # Their order is free.
        endpoints = sorted(fresh.get("endpoints") or [], key=lambda each: str(each["addresses"]))
        if edit == "lose":
            fresh["endpoints"] = endpoints[1:]
        elif edit == "unready":
            fresh["endpoints"] = [{**each, "conditions": {"ready": False}} for each in endpoints]
        elif edit == "owner":
            meta["ownerReferences"][0]["uid"] = "00000000-0000-0000-0000-000000000000"
        elif edit == "annotation":
            meta.setdefault("annotations", {})["extra"] = "x"
        else:
            key = {"manager": names.MANAGED_BY_LABEL, "service": names.SERVICE_NAME_LABEL}.get(edit, "extra")
            meta["labels"][key] = "x"
        self._api.replace(fresh)

    def edit_endpoints(self, namespace: str, edit: str) -> None:
        """Somebody tampers with the Endpoints of a Service that has a selector."""
        found = self._read("Endpoints", namespace)
        if found is None:
            return
        if edit == "delete":
            with _gone_is_fine():
                self._api.delete("Endpoints", "s", namespace)
            return
        if edit == "lose":
            found["subsets"] = (found.get("subsets") or [])[1:]
        elif edit == "label":
            found["metadata"]["labels"] = {"extra": "x"}
        else:
            found["metadata"].setdefault("annotations", {}).update(_NOTES)
        self._api.replace(found)

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
                made = self._api.create({**_sent(pod), "status": {}})
                self._pods_made[namespace, name] += 1
                self._pod_of_uid[made["metadata"]["uid"]] = f"{name} {self._pods_made[namespace, name]}"
                self._api.replace({**made, "status": pod["status"]}, subresource="status")
            elif before[name] != pod:
                self._change_pod(before[name], pod, namespace)

    def _end_pod(self, name: str, namespace: str) -> None:
        with _gone_is_fine():
            self._api.delete("Pod", name, namespace, grace=0)

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

    def _service(self, before: World | None, after: World) -> None:
        """`before` is None when there was no Service."""
        another = before is not None and before.service["metadata"]["uid"] != after.service["metadata"]["uid"]
        if before is not None and (another or not after.service_there):
            self._api.delete("Service", "s", after.namespace)
            before = None
        if not after.service_there:
            return
        if before is None:
            self._api.create(_sent(after.service))
        elif before.service != after.service:
            self._replace_service(after)

    def _endpoints(self, before: Object | None, after: Object | None, namespace: str) -> None:
        """What somebody writes: the whole of it, whatever the controllers have made of it meanwhile."""
        if before is not None and (after is None or after["metadata"]["uid"] != before["metadata"]["uid"]):
            with _gone_is_fine():
                self._api.delete("Endpoints", "s", namespace)
        if after is not None and after != before:
            # This kind may be created by a PUT (EP-66).
            self._api.replace(_sent(after))

    def _replace_service(self, world: World) -> None:
        fresh = self._api.read("Service", "s", world.namespace)
        spec = fresh["spec"]
        fresh["metadata"]["labels"] = world.service["metadata"]["labels"]
        fresh["metadata"]["annotations"] = world.service["metadata"]["annotations"]
        for key in ("trafficDistribution", "selector"):
            spec.pop(key, None)
        for key, value in world.service["spec"].items():
            spec[key] = value
        spec["publishNotReadyAddresses"] = world.service["spec"].get("publishNotReadyAddresses", False)
        if spec.get("clusterIP") != "None" and spec.get("clusterIPs"):
            spec["clusterIPs"] = spec["clusterIPs"][: len(spec["ipFamilies"])]
        self._api.replace(fresh)


def _truncated(found: Object) -> bool:
    """Then its order is that of the subsets as they were before."""
    annotations = found["metadata"].get("annotations", {})
    return bool(annotations.get(names.OVER_CAPACITY_ANNOTATION) == names.OVER_CAPACITY_TRUNCATED)


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except ApiError as error:
        if error.status != 404:
            raise


def _sent(found: Object) -> Object:
    """An object as a client sends it: without what the server sets."""
    sent = copy.deepcopy(found)
    for key in _IGNORED:
        sent["metadata"].pop(key, None)
    return sent
