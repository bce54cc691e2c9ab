"""A random cluster, and what people, kubelets and other controllers do to it meanwhile."""

import json
from random import Random
from typing import Final

from api import names
from controllers.runtime import watch
from e2e.cluster.rest import Object
from tests.simulation.api import KINDS, Key, Server

PODS, SERVICES, NODES, SLICES, ENDPOINTS = (
    kind.path for kind in (watch.PODS, watch.SERVICES, watch.NODES, watch.SLICES, watch.ENDPOINTS)
)
# In two shards, each has one.
NAMESPACES: Final = ("n1", "n2")
NODE_NAMES: Final = ("node-1", "node-2", "node-3", "node-4")
ZONES: Final = ("z1", "z2", "z3")
_AUTO: Final = {"service.kubernetes.io/topology-mode": "Auto"}
_ADAPTIVE: Final = {names.ADAPTIVE_MODE_ANNOTATION: names.ADAPTIVE_MODE}
_SELECTORS: Final = ({"app": "a"}, {"app": "b"}, {"app": "a", "tier": "x"}, {"tier": "y"}, None)
_BY_NAME: Final = {"name": "http", "protocol": "TCP", "port": 80, "targetPort": "http"}
_BY_NUMBER: Final = {"name": "n", "protocol": "TCP", "port": 80, "targetPort": 81}


class World:
    """Does one random thing after another to the server's objects."""

    def __init__(self, server: Server, random: Random) -> None:
        self.server, self.random = server, random
        self._counter = 0

    def populate(self) -> None:
        """Nodes, and half of the time something on them."""
        for name in NODE_NAMES:
            self.server.save(NODES, ("", name), self.node(name))
        for _ in range(self.random.choice((0, 40))):
            self.act()

    def act(self) -> None:
        """One change."""
        deeds = (self._pod, self._service, self._node, self._foreign, self._hand_made, self.server.collect_garbage)
        self.random.choices(deeds, weights=(45, 13, 10, 16, 6, 10))[0]()

    def disturb(self) -> None:
        """The history of a kind is compacted: its watches and continue tokens end."""
        if self.server.faults:
            self.server.compact(self.random.choice(tuple(KINDS)))

    def forget(self) -> None:
        """The whole history is compacted: when its watch ends, every kind is listed anew."""
        for path in KINDS:
            self.server.compact(path)

    def settle(self) -> None:
        """Nothing goes wrong any more, and every Node is there."""
        self.server.faults, self.server.slowest = 0.0, 0.1
        for name in NODE_NAMES:
            ready = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"cpu": "1"}}
            self.server.save(NODES, ("", name), {**self.node(name), "status": ready})

    def touch_services(self) -> None:
        """Has every Service looked at: only so are changes of Endpoints by somebody else mended (EP-14, EP-20)."""
        for key, found in sorted(self.server.objects[SERVICES].items()):
            annotations = {**found["metadata"].get("annotations", {}), "touched": "yes"}
            self.server.save(SERVICES, key, {**found, "metadata": {**found["metadata"], "annotations": annotations}})

    def _key(self, letter: str, number: int) -> Key:
        return self.random.choice(NAMESPACES), f"{letter}{self.random.randrange(number)}"

    def _pod(self) -> None:
        key = self._key("p", 10)
        if self.random.random() < 0.25:
            self.server.remove(PODS, key)
            return
        new, old = self.pod(key), self.server.objects[PODS].get(key)
        chance = self.random.random()
        if old is not None and chance < 0.2:
            new = {**old, "metadata": {**old["metadata"], "labels": new["metadata"]["labels"]}}
        elif old is not None and chance < 0.7:
            new = {**old, "status": {**old["status"], "conditions": new["status"]["conditions"]}}
        self.server.save(PODS, key, new)

    def _service(self) -> None:
        key = self._key("s", 4)
        if self.random.random() < 0.3:
            self.server.remove(SERVICES, key)
        else:
            self.server.save(SERVICES, key, self.service(key))

    def _node(self) -> None:
        name = self.random.choice(NODE_NAMES)
        if self.random.random() < 0.3:
            self.server.remove(NODES, ("", name))
        else:
            self.server.save(NODES, ("", name), self.node(name))

    def _foreign(self) -> None:
        """Somebody else deletes or edits what we have written, or makes it anew."""
        path = self.random.choice((SLICES, ENDPOINTS))
        if not self.server.objects[path]:
            return
        key = self._some(path)
        if self.random.random() < 0.5:
            self.server.remove(path, key)
            return
        edited = self._edited(path, self.server.objects[path][key])
        self.server.save(path, key, edited)
        if self.random.random() < 0.2:
            self.server.remove(path, key)
            self.server.save(path, key, edited)

    def _some(self, path: str) -> Key:
        """An object of a kind, often the one written last: whoever wrote it may not know yet."""
        objects = self.server.objects[path]
        if self.random.random() < 0.5:
            return max(objects, key=lambda key: int(objects[key]["metadata"]["resourceVersion"]))
        return self.random.choice(sorted(objects))

    def _edited(self, path: str, found: Object) -> Object:
        edited: Object = json.loads(json.dumps(found))
        what = "endpoints" if path == SLICES else "subsets"
        chance = self.random.random()
        if chance < 0.5 and edited.get(what):
            edited[what].pop()
        elif chance < 0.8:
            self._counter += 1
            edited["metadata"].setdefault("annotations", {})["edited"] = str(self._counter)
        else:
            edited["metadata"]["labels"] = {}
        return edited

    def _hand_made(self) -> None:
        """Endpoints that somebody writes for a Service without a selector, to be mirrored."""
        key = self._key("s", 4)
        service = self.server.objects[SERVICES].get(key)
        if service is None or "selector" in service["spec"]:
            return
        addresses = [{"ip": f"192.0.2.{self.random.randrange(1, 9)}"}]
        subset = {"addresses": addresses, "ports": [{"name": "p", "port": 99, "protocol": "TCP"}]}
        metadata = {"name": key[1], "namespace": key[0], "labels": {"hand": "made"}}
        self.server.save(ENDPOINTS, key, {"metadata": metadata, "subsets": [subset]})

    def pod(self, key: Key) -> Object:
        """A Pod, most often on a Node; that may not exist."""
        choice = self.random.choice
        metadata = {"name": key[1], "namespace": key[0], "labels": {"app": choice("ab"), "tier": choice("xy")}}
        node = choice((*NODE_NAMES, *NODE_NAMES, ""))
        if not node:
            return {"metadata": metadata, "spec": {"containers": []}, "status": {"phase": "Pending", "conditions": []}}
        if self.random.random() < 0.1:
            metadata["deletionTimestamp"] = "2026-01-01T00:10:00Z"
        ports = [{"name": "http", "containerPort": choice((80, 8080)), "protocol": "TCP"}]
        spec = {
            "nodeName": node,
            "hostname": choice(("", "h")),
            "subdomain": choice(("", "s0")),
            "containers": [{"ports": ports if self.random.random() < 0.8 else []}],
        }
        return {"metadata": metadata, "spec": spec, "status": self._status()}

    def _status(self) -> Object:
        random = self.random
        v4 = f"10.0.{random.randrange(4)}.{random.randrange(1, 9)}"
        v6 = f"fd00::{random.randrange(1, 9):x}"
        ready = {
            "type": "Ready",
            "status": "True" if random.random() < 0.7 else "False",
            "lastTransitionTime": f"2026-01-01T00:{random.randrange(60):02}:{random.randrange(60):02}Z",
        }
        return {
            "phase": random.choice(("Running",) * 8 + ("Failed", "Pending")),
            "podIP": v4,
            "podIPs": random.choice(([{"ip": v4}], [{"ip": v4}, {"ip": v6}], [])),
            "conditions": [ready],
        }

    def service(self, key: Key) -> Object:
        """A Service of any family, with or without selector, ports, cluster IP and wishes for hints."""
        choice = self.random.choice
        metadata = {
            "name": key[1],
            "namespace": key[0],
            "labels": {"l": choice("12")},
            "annotations": choice(({}, {}, _AUTO, _ADAPTIVE)),
        }
        spec: Object = {
            "type": choice(("ClusterIP",) * 6 + ("ExternalName",)),
            "clusterIP": choice(("None", "10.96.0.1", "10.96.0.1")),
            "ipFamilies": choice((["IPv4"], ["IPv6"], ["IPv4", "IPv6"])),
            "publishNotReadyAddresses": self.random.random() < 0.2,
            "ports": choice(([_BY_NAME], [_BY_NUMBER], [_BY_NAME, _BY_NUMBER], [])),
        }
        selector, distribution = choice(_SELECTORS), choice((None, None, "PreferClose"))
        if selector is not None:
            spec["selector"] = selector
        if distribution is not None:
            spec["trafficDistribution"] = distribution
        return {"metadata": metadata, "spec": spec}

    def node(self, name: str) -> Object:
        """A Node in a random zone."""
        choice = self.random.choice
        ready = {"type": "Ready", "status": choice(("True",) * 5 + ("False",))}
        status = {"conditions": [ready], "allocatable": {"cpu": choice(("1", "2", "500m"))}}
        return {"metadata": {"name": name, "labels": {names.ZONE_LABEL: choice(ZONES)}}, "status": status}
