"""The EndpointSlice controller without an API server: the wire's bytes go in, encoded writes come out.

All in between is the product's: reflector, decoders, stores, routes, queue, plan, encoder, writer. So what is counted
or timed here is the controller's own, without HTTP. `python -m e2e.bench.bare` measures one size of cluster.
"""

import asyncio
import contextlib
import ctypes
import gc
import os
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import aiohttp
import click
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from controllers.model.objects import ObjectMeta
from controllers.runtime.api_client import JSON, ApiClient
from controllers.runtime.clock import Clock, SystemClock
from controllers.runtime.events import EventRecorder
from controllers.runtime.slice_controller import SliceController
from controllers.runtime.stores import Stores
from controllers.runtime.watch import NODES, PODS, SERVICES, Kind, Reflector
from controllers.runtime.writer import WRITABLE_SLICES, Writer
from e2e.bench import load
from e2e.bench.load import NAMESPACE, ZONES, Object
from e2e.bench.probes import memory

PAGE: Final = 500
# A page is fetched while the one before is decoded, and a third is freed.
_WARM_UP: Final = 4 * PAGE


@dataclass(frozen=True)
class Shape:
    """A cluster: the first Pods in turn belong to dual-stack `services` of `per_service` Pods, the rest to none."""

    pods: int
    services: int
    per_service: int = 20
    nodes: int = 99


def pod(number: int, shape: Shape, *, ready: bool = True, version: int = 1, warm_up: bool = False) -> bytes:
    """A Pod as the API server sends it (some 5 kB); the same number is the same Pod, whatever the cluster's size."""
    group = number // shape.per_service
    kind = "warm" if warm_up else "app" if group < shape.services else "batch"
    name = f"{kind}-{group}-{group:08x}-{number:05x}"
    made = load.pod(name, f"{kind}-{group}", f"node-{number % shape.nodes}", f"{group:08x}")
    made["metadata"] |= _meta(number, "Pod", version)
    made["spec"] |= _DEFAULTS
    ten = f"{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    made["status"] = load.running(f"10.{ten}", f"fd00:10:244::{number + 1:x}", ready=ready)
    return msgspec.json.encode(made)


def service(number: int) -> bytes:
    """A Service as the API server sends it."""
    made = load.service(f"svc-{number}", f"app-{number}")
    made["metadata"] |= _meta(number, "Service", 1)
    made["spec"] |= {"clusterIP": f"10.96.{number >> 8 & 255}.{number & 255}", "ipFamilies": ["IPv4", "IPv6"]}
    return msgspec.json.encode(made)


def node(number: int) -> bytes:
    """A Node as the API server sends it, without its images."""
    made = load.node(f"node-{number}", ZONES[number % len(ZONES)])
    made["metadata"] |= _meta(number, "Node", 1) | {"namespace": ""}
    return msgspec.json.encode(made)


def _meta(number: int, kind: str, version: int) -> Object:
    return {
        "namespace": NAMESPACE,
        "uid": f"{number:08x}-5b0c-4d7e-9f3a-{len(kind):012x}",
        "resourceVersion": str(version),
        "creationTimestamp": load.READY_SINCE,
        "managedFields": [
            {
                "manager": "kube-controller-manager",
                "operation": "Update",
                "apiVersion": "v1",
                "time": load.READY_SINCE,
                "fieldsType": "FieldsV1",
                "fieldsV1": {f"f:field-{at}": {".": {}, f'k:{{"name":"SETTING_{at}"}}': {}} for at in range(30)},
            }
        ],
    }


# What admission adds to every Pod.
_DEFAULTS: Final[Mapping[str, object]] = {
    "restartPolicy": "Always",
    "dnsPolicy": "ClusterFirst",
    "serviceAccountName": "default",
    "schedulerName": "default-scheduler",
    "tolerations": [
        {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
        for key in ("not-ready", "unreachable")
    ],
    "volumes": [
        {
            "name": "kube-api-access",
            "projected": {"sources": [{"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}]},
        }
    ],
}


class _Answer(Struct):
    metadata: ObjectMeta
    kind: str = "PartialObjectMetadata"


class Accepting(ApiClient):
    """Stands in for the API server: accepts every write, serves lists, and counts what it is asked.

    `seconds` is the CPU time that it has used itself, to be taken off what is measured.
    """

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.seconds = 0.0
        self.listed: Mapping[str, Iterator[bytes]] = {}
        self._version = 1_000_000

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        accept: str = JSON,
        content_type: str = JSON,
        attempts: int = 4,
        began: Callable[[bytes], bool] | None = None,
    ) -> bytes:
        start = time.process_time()
        self.requests[method] += 1
        answer = self._list(path) if method == "GET" else self._accept(body or b"{}")
        self.seconds += time.process_time() - start
        return answer

    def _list(self, path: str) -> bytes:
        items = list(islice(self.listed[path], PAGE))
        following = b"more" if len(items) == PAGE else b""
        meta = b'{"resourceVersion":"1","continue":"%s"}' % following
        return b'{"metadata":%s,"items":[%s]}' % (meta, b",".join(items))

    def _accept(self, body: bytes) -> bytes:
        metadata = msgspec.json.decode(body, type=_Answer).metadata
        self._version += 1
        uid = metadata.uid or f"uid-{metadata.name}"
        return msgspec.json.encode(_Answer(replace(metadata, uid=uid, resource_version=str(self._version))))

    @asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str], *, idle_seconds: float
    ) -> AsyncGenerator[aiohttp.StreamReader]:
        await asyncio.Event().wait()
        raise AssertionError("nothing ends the wait")
        yield


class Bare:
    """Stores and controller of one cluster."""

    def __init__(self, shape: Shape, clock: Clock | None = None) -> None:
        self.shape, self.server, self.stores = shape, Accepting(), Stores()
        self._clock = clock or SystemClock()
        writer = Writer(self.server, WRITABLE_SLICES, self.stores.slices, self._clock)
        recorder = EventRecorder(self.server, self._clock, "bench")
        core = SliceController(self.stores, writer, recorder, self._clock, max_endpoints=100, batch_seconds=0.0)
        self.core, self.syncs = core, 0
        self._pod_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(PODS.wire_type)

    async def list_small(self) -> None:
        """Lists Nodes and Services."""
        await self._listed(NODES, self.stores.nodes, map(node, range(self.shape.nodes)))
        await self._listed(SERVICES, self.stores.services, map(service, range(self.shape.services)))

    async def list_pods(self, pods: Iterable[bytes] | None = None) -> float:
        """Lists Pods (all of the shape's, unless others are given); returns the CPU seconds that it took."""
        every = (pod(number, self.shape) for number in range(self.shape.pods))
        return await self._listed(PODS, self.stores.pods, every if pods is None else pods)

    async def _listed(self, kind: Kind[Any], store: Any, items: Iterable[bytes]) -> float:  # noqa: ANN401
        self.server.listed = {kind.path: iter(items)}
        reflector = Reflector(self.server, kind, store, self._clock, _refuse)
        before = time.process_time() - self.server.seconds
        task = asyncio.create_task(reflector.run())
        await reflector.synced.wait()
        taken = time.process_time() - self.server.seconds - before
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return taken

    def start(self) -> None:
        """The controller begins to work: every Service waits to be synced."""
        self._controller = self.core.start()

    def told(self, line: bytes) -> None:
        """A Pod has been added or modified."""
        self.stores.pods.put(PODS.record(self._pod_decoder.decode(line)))

    def ask(self, key: str) -> None:
        """Asks for a Service (`namespace/name`) to be synced."""
        self._controller.queue.add(key)

    async def settle(self) -> None:
        """Syncs whatever waits."""
        queue = self._controller.queue
        while len(queue):
            key, _ = await queue.get() or ("", 0.0)
            self._controller.causes.take(key)
            await self._controller.sync(key)
            queue.done(key)
            self.syncs += 1

    async def change(self, number: int, *, ready: bool, version: int) -> float:
        """A Pod changes its readiness; returns the CPU seconds until it is written, less what the server took."""
        line = pod(number, self.shape, ready=ready, version=version)
        before = time.process_time() - self.server.seconds
        self.told(line)
        await self.settle()
        return time.process_time() - self.server.seconds - before


def _refuse(malformed: object) -> None:
    raise AssertionError(malformed)


class Measured(Struct, frozen=True):
    """One size of cluster: CPU seconds and bytes; a change is one Pod's readiness, its two slices written."""

    pods: int
    services: int
    load_seconds: float
    store_bytes: int
    first_syncs_seconds: float
    slices_bytes: int
    change_micros: float
    change_p90_micros: float


async def measure(shape: Shape, changes: int) -> Measured:
    """Loads a cluster, syncs it all, and changes one Pod after the other, at random."""
    gc.set_threshold(100_000)
    cluster, other = Bare(shape), Bare(Shape(_WARM_UP, 0))
    await cluster.list_small()
    # What decoding a page takes for a moment is there before the Pods are counted; what is kept of it stays.
    await other.list_pods(pod(number, shape, warm_up=True) for number in range(_WARM_UP))
    empty = resident()
    load_seconds = await cluster.list_pods()
    full = resident()
    gc.freeze()
    gc.set_threshold(10_000)
    cluster.start()
    before = time.process_time() - cluster.server.seconds
    await cluster.settle()
    first = time.process_time() - cluster.server.seconds - before
    written = resident()
    rng, ready = random.Random(shape.pods), Counter[int]()
    micros = []
    for version in range(changes):
        number = rng.randrange(min(shape.pods, shape.services * shape.per_service))
        ready[number] ^= 1
        micros.append(await cluster.change(number, ready=not ready[number], version=version + 2) * 1e6)
    return Measured(
        pods=shape.pods,
        services=shape.services,
        load_seconds=load_seconds,
        store_bytes=full - empty,
        first_syncs_seconds=first,
        slices_bytes=written - full,
        change_micros=statistics.median(micros),
        change_p90_micros=statistics.quantiles(micros, n=10)[-1],
    )


def resident() -> int:
    """The resident memory of this process in bytes, without garbage and without what the allocator has free.

    glibc keeps some megabytes free when a page has been decoded, at one time more, at another less: that is not the
    store's, and would drown small clusters. What it cannot give back, because something lives beside it, counts.
    """
    gc.collect()
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    return memory(os.getpid())


@click.command()
@click.option("--pods", required=True, type=int)
@click.option("--services", required=True, type=int)
@click.option("--changes", default=2000, show_default=True)
def main(pods: int, services: int, changes: int) -> None:
    """Measure one size of cluster in this process, and print it as JSON."""
    found = asyncio.run(measure(Shape(pods, services), changes))
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")


if __name__ == "__main__":
    main()
