"""Address management as tests see it: a namespace's Services, pools and reservations, and the replicas' pages."""

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import urllib3

from e2e.cluster.process import Process
from e2e.cluster.rest import Api, ApiError, Object, path_of
from tests.shell.waiting import eventually

T = TypeVar("T")

HTTP: Object = {"name": "http", "port": 80}

# There may be one of each family, and a repair may be as late again.
_IN_THE_WAY = 4

_http = urllib3.PoolManager(retries=False, timeout=30.0)


def namespaces(api: Api, *names: str) -> None:
    api.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names])


class Team(NamedTuple):
    """A namespace, and what its users do in it; every spec that is given back is as the API server has stored it."""

    api: Api
    namespace: str

    def body(self, name: str, *, labels: dict[str, str] | None = None, **spec: Any) -> Object:
        """A Service, with one port unless `ports` says otherwise, or it is an alias."""
        alias = spec.get("type") == "ExternalName"
        more = {"externalName": "example.com"} if alias else {"ports": [HTTP]}
        meta = {"name": name, "namespace": self.namespace, "labels": labels or {}}
        return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": more | spec}

    def create(self, name: str, *, dry: bool = False, **spec: Any) -> Object:
        path = path_of("Service", namespace=self.namespace)
        made: Object = self.api.request("POST", path, self.body(name, **spec), params=_dry(dry))["spec"]
        return made

    def put(self, name: str, *, dry: bool = False, **spec: Any) -> Object:
        """Replaces a Service by what is given, and nothing else (IP-9)."""
        path = path_of("Service", name, self.namespace)
        made: Object = self.api.request("PUT", path, self.body(name, **spec), params=_dry(dry))["spec"]
        return made

    def patch(self, name: str, *, dry: bool = False, **spec: Any) -> Object:
        path, kind = path_of("Service", name, self.namespace), "application/merge-patch+json"
        made: Object = self.api.request("PATCH", path, {"spec": spec}, params=_dry(dry), content_type=kind)["spec"]
        return made

    def touch(self, name: str) -> None:
        """An update that changes no number: the API server's repair looks at the Service (IP-50)."""
        self.api.patch("Service", name, {"metadata": {"labels": {"touched": "yes"}}}, self.namespace)

    def delete(self, name: str, *, dry: bool = False) -> None:
        self.api.request("DELETE", path_of("Service", name, self.namespace), params=_dry(dry))

    def spec(self, name: str) -> Object:
        found: Object = self.api.read("Service", name, self.namespace)["spec"]
        return found

    def clear(self) -> None:
        for each in self.api.list("Service", self.namespace):
            self.delete(each["metadata"]["name"])
        self.sweep()

    def sweep(self, selector: str = "ipaddress.kubernetes.io/managed-by=ipallocator.k8s.io") -> int:
        """Deletes the IPAddresses that the repair made again for Services that were going (IP-51); how many.

        They would be in the way for a minute (IP-54). `selector` says whose: others' stay, and so do our holds.
        """
        listed = {ip for each in self.api.list("Service") for ip in each["spec"].get("clusterIPs", [])}
        made = self.api.list("IPAddress", labelSelector=selector)
        parents = {each["metadata"]["name"]: each["spec"]["parentRef"] for each in made}
        left = [ip for ip, of in parents.items() if of.get("namespace") == self.namespace and ip not in listed]
        for name in left:
            with contextlib.suppress(ApiError):
                self.api.delete("IPAddress", name)
        return len(left)

    def insist(self, write: Callable[[], T]) -> T:
        """Writes, and once more for each IPAddress in the way whose Service is gone: see `sweep`."""
        for _ in range(_IN_THE_WAY):
            try:
                return write()
            except ApiError as error:
                if "provided IP is already allocated" not in str(error):
                    raise
            self.sweep()
        return write()

    def reserve(self, name: str, **spec: Any) -> None:
        """A ServiceReservation for the Service of the same name, unless it is given another."""
        self.api.create(self._reservation(name, spec))

    def try_to_reserve(self, name: str, **spec: Any) -> None:
        """The same as a dry run."""
        path = path_of("ServiceReservation", namespace=self.namespace)
        self.api.request("POST", path, self._reservation(name, spec), params=_dry(True))

    def _reservation(self, name: str, spec: Object) -> Object:
        return {
            "apiVersion": "ipam.sliceplane.dev/v1alpha1",
            "kind": "ServiceReservation",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"serviceName": name} | spec,
        }

    def reservation(self, name: str) -> Object:
        """The status of a reservation."""
        found: Object = self.api.read("ServiceReservation", name, self.namespace).get("status", {})
        return found

    def until_phase(self, name: str, phase: str) -> Object:
        """The status of a reservation, once it is in this phase."""

        def check() -> Object:
            found = self.reservation(name)
            assert found.get("phase") == phase, found
            return found

        return eventually(check)

    def held(self) -> dict[str, str]:
        """The IPAddress objects of the namespace's Services, each with the Service."""
        return {
            each["metadata"]["name"]: each["spec"]["parentRef"]["name"]
            for each in self.api.list("IPAddress")
            if each["spec"]["parentRef"].get("namespace") == self.namespace
        }

    def events(self, name: str, reason: str) -> list[Object]:
        """What has been told of an object: old Events and new ones are the same objects."""
        return [
            each
            for each in self.api.list("Event", self.namespace)
            if each["involvedObject"].get("name") == name and each["reason"] == reason
        ]


def _dry(dry: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry else {}


def node_ports(spec: Object) -> list[int]:
    """The node ports of a Service in the order of its ports, 0 where there is none."""
    return [each.get("nodePort", 0) for each in spec["ports"]]


@contextlib.contextmanager
def refused(status: int, said: str = "") -> Iterator[None]:
    """The API server answers with this code; `said` is a part of what it says. May be waited for by `eventually`."""
    answer = ""
    try:
        yield
    except ApiError as error:
        answer = str(error)
    # What `pytest.raises` raises is no AssertionError: nobody would try again.
    assert (answer[:3], said in answer) == (str(status), True), answer or "not refused"


def condition(obj: Object, kind: str) -> Object:
    """A condition of an object; LookupError when it has none of this type yet."""
    found = {each["type"]: each for each in obj.get("status", {}).get("conditions", [])}
    return dict(found[kind])


def address_object(name: str, parent: Object, manager: str = "ipallocator.k8s.io") -> Object:
    """An IPAddress as the API server makes it, or somebody else (IP-18, IP-19)."""
    labels = {"ipaddress.kubernetes.io/ip-family": "IPv6" if ":" in name else "IPv4"}
    labels["ipaddress.kubernetes.io/managed-by"] = manager
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": {"name": name, "labels": labels},
        "spec": {"parentRef": parent},
    }


def service_cidr(name: str, *cidrs: str) -> Object:
    meta = {"name": name}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": meta, "spec": {"cidrs": [*cidrs]}}


def metric(replicas: Iterable[Process], name: str, **labels: str) -> float:
    """The sum of a metric's samples with these labels, of all replicas."""
    wanted, total = {f'{key}="{value}"' for key, value in labels.items()}, 0.0
    for replica in replicas:
        page = _http.request("GET", f"{replica.url}/metrics").data.decode()
        samples = re.findall(rf"^{name}(?:\{{(.*)\}})? (\S+)$", page, re.MULTILINE)
        total += sum(float(value) for found, value in samples if wanted <= set(found.split(",")))
    return total
