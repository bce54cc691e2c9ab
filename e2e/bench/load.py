"""What the benchmark puts on the API server: Nodes, Services and ready Pods, and a steady rate of readiness changes."""

import asyncio
import random
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from controllers.runtime.api_client import ApiClient

Object = dict[str, Any]

NAMESPACE: Final = "bench"
ZONES: Final = ("zone-a", "zone-b", "zone-c")
NODES: Final = 99
READY_SINCE: Final = "2026-01-01T00:00:00Z"
STRATEGIC: Final = "application/strategic-merge-patch+json"
_AT_ONCE: Final = 16


@dataclass(frozen=True)
class Size:
    """How much: `pods` are spread evenly over dual-stack `services`."""

    pods: int
    services: int

    @property
    def slices(self) -> int:
        """One for each family: no Service has more than 100 Pods."""
        return 2 * self.services


async def _all(work: Iterable[Awaitable[object]]) -> None:
    """Runs everything, a few at a time."""
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(each: Awaitable[object]) -> None:
        async with slots:
            await each

    await asyncio.gather(*(one(each) for each in work))


async def _post(client: ApiClient, path: str, body: Object) -> None:
    await client.request("POST", path, body=msgspec.json.encode(body))


async def fill(client: ApiClient, size: Size) -> None:
    """Creates everything, with no controller running."""
    await _post(client, "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    await _all(_post(client, "/api/v1/nodes", _node(number)) for number in range(NODES))
    services = f"/api/v1/namespaces/{NAMESPACE}/services"
    await _all(_post(client, services, _service(number)) for number in range(size.services))
    await _all(_pod(client, number, size) for number in range(size.pods))


def _node(number: int) -> Object:
    labels = {"topology.kubernetes.io/zone": ZONES[number % 3], "kubernetes.io/hostname": f"node-{number}"}
    conditions = [{"type": "Ready", "status": "True"}]
    return {
        "metadata": {"name": f"node-{number}", "labels": labels},
        "status": {"allocatable": {"cpu": "8"}, "conditions": conditions},
    }


def _service(number: int) -> Object:
    spec = {
        "selector": {"app": f"app-{number}"},
        "ipFamilyPolicy": "RequireDualStack",
        "ports": [
            {"name": "http", "port": 80, "targetPort": "http"},
            {"name": "metrics", "port": 9090, "targetPort": 9090},
        ],
    }
    return {"metadata": {"name": f"svc-{number}", "labels": {"app": f"app-{number}"}}, "spec": spec}


async def _pod(client: ApiClient, number: int, size: Size) -> None:
    """A Pod as large as an ordinary one (some 5 kB of JSON), and ready."""
    service = number % size.services
    env = [{"name": f"SETTING_{index}", "value": f"value-{index}" * 3} for index in range(20)]
    container = {
        "name": "main",
        "image": "registry.example.com/team/app:v1.2.3",
        "env": env,
        "ports": [{"name": "http", "containerPort": 8080}, {"name": "metrics", "containerPort": 9090}],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
    }
    labels = {"app": f"app-{service}", "version": "v1", "pod-template-hash": f"{service:08x}"}
    body = {
        "metadata": {"name": f"pod-{number}", "labels": labels},
        "spec": {"nodeName": f"node-{number % NODES}", "containers": [container]},
    }
    path = f"/api/v1/namespaces/{NAMESPACE}/pods"
    await _post(client, path, body)
    four, six = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", f"fd00:10:244::{number:x}"
    status = {
        "phase": "Running",
        "podIP": four,
        "podIPs": [{"ip": four}, {"ip": six}],
        "conditions": [
            {"type": kind, "status": "True", "lastTransitionTime": READY_SINCE}
            for kind in ("Initialized", "PodScheduled", "ContainersReady", "Ready")
        ],
        "containerStatuses": [
            {
                "name": "main",
                "ready": True,
                "started": True,
                "restartCount": 0,
                "image": container["image"],
                "imageID": "",
                "state": {"running": {"startedAt": READY_SINCE}},
            }
        ],
    }
    patch = msgspec.json.encode({"status": status})
    await client.request("PATCH", f"{path}/pod-{number}/status", body=patch, content_type=STRATEGIC)


class Flips:
    """Turns Pods' readiness over at a steady rate; `answered` is called with the Pod and its new readiness."""

    def __init__(self, client: ApiClient, size: Size, seed: int) -> None:
        self._client, self._size, self._random = client, size, random.Random(seed)
        self._ready: dict[int, bool] = {}

    async def run(self, rate: float, seconds: float, sink: "Answered") -> int:
        """Sends `rate` changes a second for so many seconds; returns how many."""
        loop = asyncio.get_running_loop()
        start, sent, tasks = loop.time(), 0, set[asyncio.Task[None]]()
        while sent < rate * seconds:
            await asyncio.sleep(max(0.0, start + sent / rate - loop.time()))
            number = self._random.randrange(self._size.pods)
            task = asyncio.create_task(self._flip(number, sink))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            sent += 1
        await asyncio.gather(*tasks)
        return sent

    async def restore(self) -> None:
        """Makes every Pod ready again, for whoever comes next."""
        nobody = Answered()
        await _all(self._flip(number, nobody) for number, ready in list(self._ready.items()) if not ready)

    async def _flip(self, number: int, sink: "Answered") -> None:
        ready = not self._ready.get(number, True)
        self._ready[number] = ready
        condition = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": READY_SINCE}
        patch = msgspec.json.encode({"status": {"conditions": [condition]}})
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/pod-{number}/status"
        sink.sent(f"pod-{number}", ready)
        await self._client.request("PATCH", path, body=patch, content_type=STRATEGIC)
        sink.answered(f"pod-{number}", ready)


class Answered:
    """Told of every change: before it is sent, and when the API server has answered."""

    def sent(self, pod: str, ready: bool) -> None:
        """The change is on its way."""

    def answered(self, pod: str, ready: bool) -> None:
        """The change is made."""
