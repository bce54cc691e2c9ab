"""Random histories of Endpoints that somebody writes by hand, under the name of a Service that mostly has no selector.

What is mirrored depends on both, and on slices that others touch; Pods count while the Service has a selector.
"""

import copy
from collections.abc import Callable
from random import Random
from typing import Any, Final

from api import names
from controllers.membership.subsets import repack
from tests.parity.handmade import random_subsets
from tests.parity.histories import World
from tests.parity.normal import read_subsets

Object = dict[str, Any]

_LABELS: Final[tuple[dict[str, str], ...]] = (
    {},
    {"team": "shop"},
    {"team": "shop", "tier": "web"},
    {names.HEADLESS_LABEL: ""},
    {names.MANAGED_BY_LABEL: "somebody", "team": "pay"},
    {names.SERVICE_NAME_LABEL: "other"},
    {names.ENDPOINTS_MANAGED_BY_LABEL: names.ENDPOINTS_MANAGED_BY},
)
_SKIP: Final = ("true", "true", "True", "false", "invalid")
_SERVICE_LABELS: Final[tuple[dict[str, str], ...]] = (
    *_LABELS,
    {names.ENDPOINTS_MANAGED_BY_LABEL: "me"},
    {names.SKIP_MIRROR_LABEL: "true"},
)
_ANNOTATIONS: Final[tuple[dict[str, str], ...]] = (
    {},
    {"example.com/note": "one"},
    {"example.com/note": "two", names.LAST_APPLIED_ANNOTATION: "{}"},
    {names.LAST_APPLIED_ANNOTATION: ""},
    {names.TRIGGER_TIME_ANNOTATION: "2026-01-01T00:00:00Z"},
    {names.OVER_CAPACITY_ANNOTATION: "truncated"},
    {names.OVER_CAPACITY_ANNOTATION: "warning", "example.com/note": "one"},
)
# An API server without strict validation of IPs lets them in, as older ones did.
_LOOSE_IPS: Final = ("010.9.0.1", "10.9.0.02", "::ffff:10.9.0.3", "FD00:9::1", "fd00:9:0::2", "::10.9.0.4")
# A slice with two ports of a name is refused, so this cannot be mirrored.
_UNMIRRORABLE: Final[Object] = {
    "addresses": [{"ip": "10.9.0.1"}],
    "ports": [{"name": "http", "port": port, "protocol": "TCP"} for port in (8080, 8081)],
}


class ManualWorld(World):
    """A Service without a selector, or with one for a while, and Endpoints of its name."""

    def __init__(self, rng: Random, namespace: str = "ns", prefix: str = "") -> None:
        self._born = 0
        super().__init__(rng, namespace, prefix)
        self.service_there = rng.random() < 0.9
        if rng.random() < 0.9:
            self._write(subsets=self._some_subsets())

    def step(self) -> str:
        """One kind of change; says which."""
        actions: list[Callable[[], None]] = [self._subsets_change] * 4
        actions += [self._labels_change, self._skip_changes, self._annotations_change, self._lock_changes]
        actions += [self._endpoints_go]
        if self.service_there:
            # Without a Service whoever is slow deletes the new ones, too (EP-24).
            actions += [self._endpoints_again]
            actions += [self._selector_changes] * 2
            actions += [self._service_labels_change, self._service_goes, self._pods_come, self._pods_change]
        else:
            actions += [self._service_comes] * 4
        action = self.rng.choice(actions)
        action()
        return action.__name__.strip("_")

    def _new_service(self) -> Object:
        made = super()._new_service()
        self._born += 1
        made["metadata"]["uid"] = f"uid-{self._born}"
        if self.rng.random() < 0.9:
            made["spec"].pop("selector", None)
        if self.rng.random() < 0.1:
            made["spec"] = {"type": "ExternalName", "externalName": "example.com"}
        return made

    def _add_pod(self, labels: Object | None = None) -> None:
        """Pods with Nodes: without one KCM's Endpoints fail (EP-32), and that is another kind of history."""
        super()._add_pod(labels)
        spec = list(self.pods.values())[-1]["spec"]
        spec.setdefault("nodeName", self._some_node())

    def _write(self, **changes: Object | list[Object]) -> None:
        """Somebody writes Endpoints: `subsets`, `labels`, `annotations`; what is not given stays."""
        if self.endpoints is None:
            self._born += 1
            meta: Object = {"name": "s", "namespace": self.namespace, "uid": f"uid-{self._born}"}
            meta |= {"labels": {}, "annotations": {}}
            self.endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": meta, "subsets": []}
        for key, value in changes.items():
            (self.endpoints if key == "subsets" else self.endpoints["metadata"])[key] = value

    def _some_subsets(self) -> list[Object]:
        if self.rng.random() < 0.06:
            return [copy.deepcopy(_UNMIRRORABLE)]
        while True:
            subsets = [each for each in random_subsets(self.rng, odd=False) if _addresses(each)]
            for address in (address for each in subsets for address in _addresses(each)):
                if self.rng.random() < 0.1:
                    address["ip"] = self.rng.choice(_LOOSE_IPS)
            if mirrorable(subsets):
                return subsets

    def _subsets_change(self) -> None:
        """Mostly other ones, or the same with one thing changed."""
        subsets = copy.deepcopy(self.endpoints["subsets"]) if self.endpoints else []
        if not subsets or self.rng.random() < 0.5:
            self._write(subsets=self._some_subsets())
            return
        subset = self.rng.choice(subsets)
        change = self.rng.choice(("port", "readiness", "lose", "drop"))
        if change == "port":
            for port in subset.get("ports", []):
                port["port"] += 10
        elif change == "readiness":
            one, other = subset.pop("addresses", []), subset.pop("notReadyAddresses", [])
            subset |= {key: value for key, value in (("addresses", other), ("notReadyAddresses", one)) if value}
        elif change == "lose" and len(subset.get("addresses", [])) > 1:
            subset["addresses"].pop(0)
        else:
            subsets.remove(subset)
        self._write(subsets=subsets if mirrorable(subsets) else [])

    def _labels_change(self) -> None:
        self._write(labels=dict(self.rng.choice(_LABELS)))

    def _skip_changes(self) -> None:
        labels = dict(self.endpoints["metadata"]["labels"]) if self.endpoints else {}
        if labels.pop(names.SKIP_MIRROR_LABEL, None) is None or self.rng.random() < 0.4:
            labels[names.SKIP_MIRROR_LABEL] = self.rng.choice(_SKIP)
        self._write(labels=labels)

    def _annotations_change(self) -> None:
        self._write(annotations=dict(self.rng.choice(_ANNOTATIONS)))

    def _lock_changes(self) -> None:
        """Whether they are a lock of leader election: the annotation alone decides, even if it is empty (MI-12)."""
        annotations = dict(self.endpoints["metadata"]["annotations"]) if self.endpoints else {}
        if annotations.pop(names.LEADER_ANNOTATION, None) is None:
            annotations[names.LEADER_ANNOTATION] = self.rng.choice(("", "{}"))
        self._write(annotations=annotations)

    def _endpoints_go(self) -> None:
        self.endpoints = None

    def _endpoints_again(self) -> None:
        """Deleted and made again at once, the same or other ones."""
        before, self.endpoints = self.endpoints, None
        keep = before is not None and self.rng.random() < 0.6
        self._write(subsets=before["subsets"] if before and keep else self._some_subsets())

    def _service_goes(self) -> None:
        """Its Endpoints go with it, also those written by hand (EP-24)."""
        self.service_there, self.endpoints = False, None

    def _service_comes(self) -> None:
        self.service, self.service_there = self._new_service(), True

    def _selector_changes(self) -> None:
        spec = self.service["spec"]
        if spec.pop("selector", None) is None:
            spec["selector"] = {"app": "s"}

    def _service_labels_change(self) -> None:
        self.service["metadata"]["labels"] = dict(self.rng.choice(_SERVICE_LABELS))


def _addresses(subset: Object) -> list[Object]:
    return [*subset.get("addresses", []), *subset.get("notReadyAddresses", [])]


def mirrorable(subsets: list[Object]) -> bool:
    """Whether the outcome is certain: no slice would have two ports of a name, which the API server refuses.

    And no port with an appProtocol is there twice: KCM keeps those apart, and may then choose what to drop (MI-39).
    """
    packed = repack(read_subsets(subsets), from_api=True)
    names_of = [[port.name for port in each.ports] for each in packed]
    protocols = [port.get("name") for each in subsets for port in each.get("ports", []) if "appProtocol" in port]
    return all(len(set(each)) == len(each) for each in (*names_of, protocols))
