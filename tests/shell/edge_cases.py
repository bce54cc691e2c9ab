"""The worlds in which table C of the spec is played: one cluster with Sliceplane in the path of requests, one without.

In both the same numbers are another team's. With Sliceplane they are in exclusive pools that it enforces; no pool
concerns the team under test. So each request is judged, and must end as it does where nobody judges it.
"""

import contextlib
import datetime
import itertools
import json
import re
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import grpc
import psutil

from e2e.cluster.fixtures import plane_of
from e2e.cluster.ipam import Ipam, ip_pool, port_pool
from e2e.cluster.local import ControlPlane
from e2e.cluster.process import free_port
from e2e.cluster.rest import Api, ApiError, Object, Objects, path_of
from tests.shell.ipaming import Team, metric, namespaces, refused, service_cidr
from tests.shell.waiting import eventually

SMALL = "10.96.0.0/28"
SMALL_PORTS = (30000, 30063)

_OTHERS_CIDR = "10.96.9.0/29"
_OTHERS_ADDRESSES = tuple(f"10.96.9.{last}" for last in range(1, 7))
_OTHERS_PORTS = (30060, 30063)
_OWN = {"exclusive": True, "enforcement": "Enforce", "select": {"namespaces": ["others"]}}
_numbers = itertools.count()


class World(NamedTuple):
    """A control plane and the team under test; `ipam` is None where Sliceplane is not."""

    plane: ControlPlane
    team: Team
    ipam: Ipam | None

    @property
    def api(self) -> Api:
        return self.team.api

    @contextlib.contextmanager
    def cidr(self, name: str, *cidrs: str) -> Iterator[None]:
        """A further ServiceCIDR, until the end; the team's Services go before it, or their IPAddresses stay (IP-21)."""
        eventually(lambda: self.api.create(service_cidr(name, *cidrs)))
        try:
            yield
        finally:
            self.clear()
            with contextlib.suppress(ApiError):
                self.api.delete("ServiceCIDR", name)

    def touch(self, name: str) -> None:
        """Changes a label, each time to another value: the API server's repair looks at the Service (IP-50)."""
        labels = {"touched": str(next(_numbers))}
        self.api.patch("Service", name, {"metadata": {"labels": labels}}, self.team.namespace)

    def address(self, name: str) -> str:
        """The uid of the IPAddress of this name, "" when there is none."""
        found = self.api.list("IPAddress", fieldSelector=f"metadata.name={name}")
        return str(found[0]["metadata"]["uid"]) if found else ""

    def told(self, name: str, reason: str) -> Objects:
        """The Events of this reason about an object, whatever its namespace."""
        return [
            each
            for each in self.api.list("Event")
            if each["involvedObject"].get("name") == name and each["reason"] == reason
        ]

    def held_by(self, name: str) -> list[str]:
        """The IPAddress objects of one Service; those of its neighbours might be `sweep`'s."""
        return [address for address, owner in self.team.held().items() if owner == name]

    def sweep(self) -> int:
        """As the team's, but also what others have left: here nobody keeps anything."""
        return self.team.sweep("")

    def clear(self) -> None:
        """Takes away all Services of the team, and what is left of them."""
        self.api.request("DELETE", path_of("Service", namespace=self.team.namespace))
        self.sweep()

    def ports_taken(self, *numbers: int) -> None:
        """Nobody else can have these node ports."""
        for number in numbers:
            with refused(422, "provided port is already allocated"):
                self.team.create("thief", type="NodePort", ports=[{"port": 80, "nodePort": number}])

    def ports_free(self, *numbers: int) -> None:
        """Somebody else can have these node ports: a moment after their release, when all have seen it."""
        for number in numbers:
            ports = [{"port": 80, "nodePort": number}]
            eventually(partial(self.team.create, "heir", type="NodePort", ports=ports))
            self.team.delete("heir")

    def put_aged(self, obj: Object, seconds: float) -> str:
        """Stores an object as if it had been made so long ago, past the API server; its uid."""
        made = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds)
        meta = {"uid": str(uuid.uuid4()), "creationTimestamp": made.strftime("%Y-%m-%dT%H:%M:%SZ")}
        stored = {**obj, "metadata": obj["metadata"] | meta}
        with grpc.insecure_channel(f"unix:{self.plane.folder}/etcd.sock") as channel:
            put: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/etcdserverpb.KV/Put")
            put(_field(1, f"/registry/ipaddresses/{obj['metadata']['name']}") + _field(2, json.dumps(stored)))
        return meta["uid"]


Case = Callable[[World], None]


def _field(number: int, text: str) -> bytes:
    """A string field of a protobuf message."""
    data, size = text.encode(), b""
    rest = len(data)
    while rest > 127:
        size += bytes([rest & 127 | 128])
        rest >>= 7
    return bytes([number << 3 | 2]) + size + bytes([rest]) + data


@contextlib.contextmanager
def large_world(*, us: bool) -> Iterator[World]:
    """Dual stack, with ranges that nothing fills. Node ports 30000 to 30069 are nobody's and never picked (IP-38)."""
    with plane_of() as plane:
        namespaces(plane.client(), "team", "others")
        pools = [
            ip_pool("others", "10.96.40.0/24", "fd00:10:96::4000/120", **_OWN),
            port_pool("others", (30070, 30085), **_OWN),
        ]
        with _watched(plane, pools if us else []) as ipam:
            yield World(plane, Team(plane.client(), "team"), ipam)


@contextlib.contextmanager
def small_world(*, us: bool) -> Iterator[World]:
    """Single stack, 13 addresses and 60 node ports. The others have more, in a range of their own, and use all."""
    ports = "--service-node-port-range={}-{}".format(*SMALL_PORTS)
    with plane_of(f"--service-cluster-ip-range={SMALL}", ports) as plane:
        api = plane.client()
        namespaces(api, "team", "others")
        api.create(service_cidr("others", _OTHERS_CIDR))
        others = Team(api, "others")
        numbers = range(_OTHERS_PORTS[0], _OTHERS_PORTS[1] + 1)
        held = [{"name": f"p{n}", "port": n, "nodePort": n} for n in numbers]
        for number, address in enumerate(_OTHERS_ADDRESSES):
            more: Object = {"type": "NodePort", "ports": held} if number == 0 else {}
            eventually(partial(others.create, f"web-{number}", clusterIP=address, **more))
        pools = [ip_pool("others", _OTHERS_CIDR, **_OWN), port_pool("others", _OTHERS_PORTS, **_OWN)]
        with _watched(plane, pools if us else [], ports) as ipam:
            yield World(plane, Team(api, "team"), ipam)


@contextlib.contextmanager
def _watched(plane: ControlPlane, pools: Objects, *flags: str) -> Iterator[Ipam | None]:
    """Sliceplane with these pools in force, if any; in the end it must have been asked, and have refused nothing."""
    # The API server makes it a moment after it is ready, and is then asked for the first address.
    eventually(lambda: plane.client().read("Service", "kubernetes", "default"))
    if not pools:
        yield None
        return
    ipam = Ipam(plane, *flags)
    ipam.start()
    for pool in pools:
        plane.client().create(pool)
    ipam.in_force()
    # One that is judged for certain, whatever cases are chosen.
    team = Team(plane.client(), "team")
    team.create("judged")
    team.delete("judged")
    yield ipam
    name = "sliceplane_ipam_admission_decisions_total"
    asked = metric(ipam.replicas, name)
    assert metric(ipam.replicas, name, decision="filled") > 0
    assert metric(ipam.replicas, name, decision="denied") == 0
    assert metric(ipam.replicas, name, reason="InternalError") == 0
    # A machine that is busy may keep an answer back for 2 s, now and then; with few cases chosen few are asked.
    assert passed_by(plane.client()) <= max(2, asked / 100)
    assert ipam.stop() == [0]


def passed_by(api: Api) -> float:
    """How often an API server went on without an answer of ours."""
    name = "apiserver_admission_webhook_fail_open_count"
    found = re.findall(rf"^{name}\{{(.*)\}} (\S+)$", api.text("/metrics"), re.MULTILINE)
    return sum(float(value) for labels, value in found if "sliceplane" in labels)


@contextlib.contextmanager
def second_server(plane: ControlPlane, *flags: str) -> Iterator[Api]:
    """One more API server on the same etcd, with the first one's flags and these, which win; ready."""
    argv = psutil.Process(plane.pids["kube-apiserver"]).cmdline()
    port = free_port()
    process = plane.spawn("kube-apiserver-2", [*argv, f"--secure-port={port}", *flags])
    api = Api(f"https://127.0.0.1:{port}", plane.ca_file, plane.admin)
    try:
        eventually(lambda: api.text("/readyz"))
        yield api
    finally:
        api.close()
        process.kill()
