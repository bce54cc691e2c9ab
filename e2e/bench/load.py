"""What the benchmark puts on the API server: Nodes, Services and ready Pods, and a steady rate of readiness changes."""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from controllers.runtime.api_client import ApiClient

Object = dict[str, Any]

NAMESPACE: Final = "bench"
PODS: Final = f"/api/v1/namespaces/{NAMESPACE}/pods"
ZONES: Final = ("zone-a", "zone-b", "zone-c")
NODES: Final = 99
READY_SINCE: Final = "2026-01-01T00:00:00Z"
STRATEGIC: Final = "application/strategic-merge-patch+json"
_AT_ONCE: Final = 16
_IMAGE: Final = "registry.example.com/team/app:v1.2.3"


@dataclass(frozen=True)
class Size:
    """How much: `pods` are spread evenly over dual-stack `services`, and over `nodes` in three zones.

    The Services, with their Pods, are spread over `namespaces`: KCM goes through all Pods of a Namespace to find those
    of a Service, so its figures depend on that.
    """

    pods: int
    services: int
    nodes: int = NODES
    namespaces: int = 1

    @property
    def slices(self) -> int:
        """For each family one for every 100 Pods of a Service, and one for a Service without Pods."""
        fewest, more = divmod(self.pods, self.services)
        return 2 * (more * _full(fewest + 1) + (self.services - more) * _full(fewest))


def _full(pods: int) -> int:
    return max(1, math.ceil(pods / 100))


async def all_of(work: Iterable[Awaitable[object]]) -> None:
    """Runs everything, a few at a time."""
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(each: Awaitable[object]) -> None:
        async with slots:
            await each

    await asyncio.gather(*(one(each) for each in work))


async def post(client: ApiClient, path: str, body: Object) -> None:
    await client.request("POST", path, body=msgspec.json.encode(body))


async def fill(client: ApiClient, size: Size) -> None:
    """Creates everything through the API server, with no controller running."""
    await post(client, "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    await all_of(post(client, "/api/v1/nodes", node(f"node-{n}", ZONES[n % 3])) for n in range(size.nodes))
    services = f"/api/v1/namespaces/{NAMESPACE}/services"
    await all_of(post(client, services, service(f"svc-{n}", f"app-{n}")) for n in range(size.services))
    await all_of(_filled_pod(client, number, size) for number in range(size.pods))


def node(name: str, zone: str) -> Object:
    """A Node that is ready. Without what a kubelet adds, such as images."""
    labels = {"topology.kubernetes.io/zone": zone, "kubernetes.io/hostname": name}
    conditions = [{"type": "Ready", "status": "True"}]
    return {
        "metadata": {"name": name, "labels": labels},
        "status": {"allocatable": {"cpu": "8"}, "conditions": conditions},
    }


def service(name: str, app: str) -> Object:
    """A Service of both families, with a port by name and one by number."""
    spec = {
        "selector": {"app": app},
        "ipFamilyPolicy": "RequireDualStack",
        "ports": [
            {"name": "http", "port": 80, "targetPort": "http"},
            {"name": "metrics", "port": 9090, "targetPort": 9090},
        ],
    }
    return {"metadata": {"name": name, "labels": {"app": app}}, "spec": spec}


def pod(name: str, app: str, node_name: str, template_hash: str) -> Object:
    """A Pod as large as an ordinary one (some 5 kB of JSON), with no status yet."""
    env = [{"name": f"SETTING_{index}", "value": f"value-{index}" * 3} for index in range(20)]
    container = {
        "name": "main",
        "image": _IMAGE,
        "env": env,
        "ports": [{"name": "http", "containerPort": 8080}, {"name": "metrics", "containerPort": 9090}],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
    }
    return {
        "metadata": {"name": name, "labels": {"app": app, "version": "v1", "pod-template-hash": template_hash}},
        "spec": {"nodeName": node_name, "containers": [container]},
    }


def running(four: str, six: str, *, ready: bool = True) -> Object:
    """A Pod's status once its container runs."""
    ready_conditions = {"ContainersReady", "Ready"}
    main = {
        "name": "main",
        "ready": ready,
        "started": True,
        "restartCount": 0,
        "image": _IMAGE,
        "imageID": "",
        "state": {"running": {"startedAt": READY_SINCE}},
    }
    return {
        "phase": "Running",
        "podIP": four,
        "podIPs": [{"ip": four}, {"ip": six}],
        "conditions": [
            {
                "type": kind,
                "status": "True" if ready or kind not in ready_conditions else "False",
                "lastTransitionTime": READY_SINCE,
            }
            for kind in ("Initialized", "PodScheduled", "ContainersReady", "Ready")
        ],
        "containerStatuses": [main],
    }


async def patch_status(client: ApiClient, path: str, status: Mapping[str, object]) -> None:
    """Merges into the status of an object, as kubelets do."""
    body = msgspec.json.encode({"status": status})
    await client.request("PATCH", f"{path}/status", body=body, content_type=STRATEGIC)


async def _filled_pod(client: ApiClient, number: int, size: Size) -> None:
    app = number % size.services
    body = pod(f"pod-{number}", f"app-{app}", f"node-{number % size.nodes}", f"{app:08x}")
    await post(client, PODS, body)
    high, low = divmod(number, 65536)
    six = f"fd00:10:244::{high:x}:{low:x}" if high else f"fd00:10:244::{low:x}"
    four = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    await patch_status(client, f"{PODS}/pod-{number}", running(four, six))


def _filled_path(number: int) -> str:
    return f"{PODS}/pod-{number}"


class Flips:
    """Turns Pods' readiness over at a steady rate; `answered` is called with the Pod and its new readiness."""

    def __init__(self, client: ApiClient, size: Size, seed: int, path: Callable[[int], str] = _filled_path) -> None:
        """`path` tells where each Pod is."""
        self._client, self._size, self._random, self._path = client, size, random.Random(seed), path
        self._ready: dict[int, bool] = {}
        # Two changes of a Pod that are under way at once may be carried out in either order.
        self._flying: set[int] = set()

    async def run(self, rate: float, seconds: float, sink: "Answered") -> int:
        """Sends `rate` changes a second for so many seconds; returns how many."""
        loop = asyncio.get_running_loop()
        start, sent, tasks = loop.time(), 0, set[asyncio.Task[None]]()
        while sent < rate * seconds:
            await asyncio.sleep(max(0.0, start + sent / rate - loop.time()))
            task = asyncio.create_task(self._flip(self._next(), sink))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            sent += 1
        await asyncio.gather(*tasks)
        return sent

    def _next(self) -> int:
        """A Pod that no change is under way for, as long as there is one."""
        number = self._random.randrange(self._size.pods)
        while number in self._flying and len(self._flying) < self._size.pods:
            number = self._random.randrange(self._size.pods)
        self._flying.add(number)
        return number

    async def restore(self) -> None:
        """Makes every Pod ready again, for whoever comes next."""
        nobody = Answered()
        await all_of(self._flip(number, nobody) for number, ready in list(self._ready.items()) if not ready)

    async def _flip(self, number: int, sink: "Answered") -> None:
        ready = not self._ready.get(number, True)
        self._ready[number] = ready
        condition = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": READY_SINCE}
        path = self._path(number)
        name = path.rpartition("/")[2]
        sink.sent(name, ready)
        await patch_status(self._client, path, {"conditions": [condition]})
        self._flying.discard(number)
        sink.answered(name, ready)


class Answered:
    """Told of every change: before it is sent, and when the API server has answered."""

    def sent(self, pod: str, ready: bool) -> None:
        """The change is on its way."""

    def answered(self, pod: str, ready: bool) -> None:
        """The change is made."""
