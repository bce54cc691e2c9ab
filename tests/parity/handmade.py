"""Endpoints as people write them for a Service without a selector, and what other hands do to Endpoints and slices."""

import copy
from random import Random
from typing import Any, Final

from api import names
from tests.parity.tampering import tamper

Object = dict[str, Any]

_PORTS: Final[tuple[Object, ...]] = (
    {"name": "http", "port": 8080, "protocol": "TCP"},
    {"name": "http", "port": 8081, "protocol": "TCP"},
    {"name": "h2", "port": 8443, "protocol": "TCP", "appProtocol": "kubernetes.io/h2c"},
    {"name": "dns", "port": 53, "protocol": "UDP"},
    {"name": "sctp", "port": 3868, "protocol": "SCTP"},
)
_LABELS: Final[tuple[dict[str, str], ...]] = (
    {},
    {"team": "shop"},
    {"team": "shop", "tier": "web"},
    {names.HEADLESS_LABEL: ""},
    {names.SKIP_MIRROR_LABEL: "false"},
    {names.SKIP_MIRROR_LABEL: "true"},
    {names.MANAGED_BY_LABEL: "me"},
    {names.SERVICE_NAME_LABEL: "other"},
    {names.ENDPOINTS_MANAGED_BY_LABEL: names.ENDPOINTS_MANAGED_BY},
)
_ANNOTATIONS: Final[tuple[dict[str, str], ...]] = (
    {},
    {},
    {"foo": "bar"},
    {names.LAST_APPLIED_ANNOTATION: "{}", "foo": "bar"},
    {names.LAST_APPLIED_ANNOTATION: ""},
    {names.TRIGGER_TIME_ANNOTATION: "2026-01-01T00:00:00Z"},
    {names.OVER_CAPACITY_ANNOTATION: "truncated"},
    {names.LEADER_ANNOTATION: ""},
)
_ODD_IPS: Final = ("bad", "10.0.0.01", "::ffff:10.9.0.1", "a.example.com", "300.1.1.1")


def random_subsets(rng: Random, *, odd: bool) -> list[Object]:
    """0 to 4 subsets over few addresses, so that these meet; with `odd` some are no IP, or not canonical."""
    return [_subset(rng, odd=odd) for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 4)))]


def _subset(rng: Random, *, odd: bool) -> Object:
    ports = {port["name"]: copy.deepcopy(port) for port in rng.sample(_PORTS, rng.choice((0, 1, 1, 1, 2, 3)))}
    if len(ports) == 1 and rng.random() < 0.2:
        for port in ports.values():
            port.pop("name")
    found: Object = {"ports": list(ports.values())} if ports else {}
    for part, most in (("addresses", 4), ("notReadyAddresses", 2)):
        addresses = [_address(rng, odd=odd) for _ in range(rng.randint(0, most))]
        if addresses:
            found[part] = list({(each["ip"], str(each.get("targetRef"))): each for each in addresses}.values())
    return found


def _address(rng: Random, *, odd: bool) -> Object:
    number = rng.randint(1, 8)
    found: Object = {"ip": rng.choice((f"10.9.0.{number}", f"fd00:9::{number:x}"))}
    if odd and rng.random() < 0.15:
        found["ip"] = rng.choice(_ODD_IPS)
    if rng.random() < 0.2:
        found["hostname"] = f"host-{number}"
    if rng.random() < 0.3:
        found["nodeName"] = f"node-{number % 3}"
    if rng.random() < 0.2:
        target = {"kind": rng.choice(("Pod", "VM")), "namespace": "ns", "name": f"t-{number}", "uid": f"uid-{number}"}
        found["targetRef"] = {**target, "resourceVersion": "7"} if rng.random() < 0.3 else target
    return found


class Handmade:
    """A Service, mostly without a selector, and hand-made Endpoints of its name."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self._version = 100
        self._born = 0
        self.service: Object = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "s", "namespace": "ns", "uid": "uid-s", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"ports": [{"name": "http", "port": 80}], "clusterIP": "10.96.0.10"},
        }
        self.service_there = rng.random() < 0.95
        self.endpoints: Object | None = None
        if rng.random() < 0.95:
            self._create()

    def step(self) -> Object:
        """The snapshot, as the oracle reads it."""
        return copy.deepcopy(
            {
                "service": self.service,
                "serviceDeleted": not self.service_there,
                "endpoints": self.endpoints,
                "endpointsGiven": True,
            }
        )

    def change(self) -> None:
        """One change by somebody."""
        rng = self.rng
        changes = [self._resubset] * 4 + [self._ports, self._relabel, self._annotate, self._recreate, self._serve]
        if self.endpoints is None:
            self._create()
            return
        rng.choice(changes)()
        if self.endpoints is not None:
            self._version += 1
            self.endpoints["metadata"]["resourceVersion"] = str(self._version)

    def tampered(self, slices: list[Object]) -> list[Object]:
        """Slices that an earlier process has made, and others have touched."""
        for number, each in enumerate(slices):
            each["metadata"] |= {"uid": f"uid-{number}", "resourceVersion": str(number + 1), "generation": 1}
        return tamper(self.rng, slices)

    def _create(self) -> None:
        self._born += 1
        self._version += 1
        meta = {
            "name": "s",
            "namespace": "ns",
            "uid": f"uid-e{self._born}",
            "resourceVersion": str(self._version),
            "labels": dict(self.rng.choice(_LABELS)),
            "annotations": dict(self.rng.choice(_ANNOTATIONS)),
        }
        self.endpoints = {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": meta,
            "subsets": random_subsets(self.rng, odd=True),
        }

    def _resubset(self) -> None:
        assert self.endpoints is not None
        self.endpoints["subsets"] = random_subsets(self.rng, odd=True)

    def _ports(self) -> None:
        assert self.endpoints is not None
        for subset in self.endpoints["subsets"]:
            for port in subset.get("ports", []):
                port["port"] += self.rng.randint(0, 1)

    def _relabel(self) -> None:
        assert self.endpoints is not None
        self.endpoints["metadata"]["labels"] = dict(self.rng.choice(_LABELS))

    def _annotate(self) -> None:
        assert self.endpoints is not None
        self.endpoints["metadata"]["annotations"] = dict(self.rng.choice(_ANNOTATIONS))

    def _recreate(self) -> None:
        self.endpoints = None
        if self.rng.random() < 0.5:
            self._create()

    def _serve(self) -> None:
        if self.rng.random() < 0.4:
            self.service_there = not self.service_there
        elif self.service["spec"].pop("selector", None) is None:
            self.service["spec"]["selector"] = {"app": "s"}


def touched(rng: Random, found: Object) -> Object:
    """Endpoints of a Service with a selector after somebody has touched them."""
    meta, subsets = found["metadata"], found.get("subsets") or []
    for _ in range(rng.choice((0, 0, 1, 2))):
        edit = rng.choice(("label", "unlabel", "annotate", "capacity", "shuffle", "lose", "version", "split", "hold"))
        if edit == "label":
            meta.setdefault("labels", {})["extra"] = "x"
        elif edit == "unlabel" and meta.get("labels"):
            meta["labels"].pop(rng.choice(sorted(meta["labels"])))
        elif edit == "annotate":
            meta.setdefault("annotations", {})["mine"] = "x"
        elif edit == "capacity":
            meta.setdefault("annotations", {})[names.OVER_CAPACITY_ANNOTATION] = rng.choice(("truncated", "warning"))
        elif edit == "hold":
            meta["finalizers"] = ["example.com/f"]
        else:
            _touch_subsets(rng, subsets, edit)
    return found


def _touch_subsets(rng: Random, subsets: list[Object], edit: str) -> None:
    if not subsets:
        return
    subset = rng.choice(subsets)
    addresses = subset.get("addresses") or []
    if edit == "shuffle":
        rng.shuffle(subsets)
        rng.shuffle(addresses)
        rng.shuffle(subset.get("ports") or [])
    elif edit == "lose" and addresses:
        addresses.pop()
    elif edit == "version" and addresses:
        addresses[0]["targetRef"]["resourceVersion"] = "5"
    elif edit == "split" and len(addresses) > 1:
        subsets.append({**copy.deepcopy(subset), "addresses": [addresses.pop()], "notReadyAddresses": []})
