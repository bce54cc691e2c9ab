"""The floor of a start: lists the Pods as Sliceplane does, groups them by a label, and POSTs a slice for each group.

It knows how the benchmark names things, and writes slices without an owner. It imports nothing of the product's: what
that takes is no part of it.
"""

import asyncio
import re
from collections import defaultdict
from typing import Any, Final

import aiohttp
import click
import msgspec
from msgspec import Struct

from e2e.bench.floor.session import Meta, headers, options, run

# A page begins with where the next one begins.
_CONTINUE: Final = re.compile(rb'"continue":"([^"]+)"')
_SINCE: Final = "2026-01-01T00:00:00Z"
_PORTS: Final = [
    {"name": "http", "port": 8080, "protocol": "TCP"},
    {"name": "metrics", "port": 9090, "protocol": "TCP"},
]
_CONDITIONS: Final = {"ready": True, "serving": True, "terminating": False}


class _Spec(Struct, rename="camel"):
    node_name: str = ""


class _Address(Struct):
    ip: str


class _Status(Struct, rename={"pod_ips": "podIPs"}):
    pod_ips: list[_Address] = []


class _Pod(Struct):
    metadata: Meta
    spec: _Spec
    status: _Status


class _List(Struct):
    items: list[_Pod]


class Filling:
    """Lists once, writes once."""

    def __init__(self, session: aiohttp.ClientSession, page: int, ahead: int, in_flight: int, accept: str) -> None:
        self._session, self._page_size, self._headers = session, page, headers(accept)
        self._lists, self._slots = asyncio.Semaphore(ahead), asyncio.Semaphore(in_flight)
        self._pages = msgspec.json.Decoder(_List)
        self._groups: dict[tuple[str, str], list[_Pod]] = defaultdict(list)

    async def run(self) -> None:
        """Writes all slices, and waits until it is ended. Raises aiohttp.ClientError."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._page("", group))
        async with asyncio.TaskGroup() as group:
            for (namespace, app), pods in self._groups.items():
                for place, family in enumerate(("IPv4", "IPv6")):
                    for first in range(0, len(pods), 100):
                        group.create_task(self._post(namespace, app, family, place, pods[first : first + 100]))
        await asyncio.Event().wait()

    async def _page(self, token: str, group: asyncio.TaskGroup) -> None:
        query = {"limit": str(self._page_size)} | ({"continue": token} if token else {})
        parts: list[bytes] = []
        async with self._lists, self._session.get("/api/v1/pods", params=query) as response:
            async for part in response.content.iter_any():
                following = None if parts else _CONTINUE.search(part)
                if following is not None:
                    group.create_task(self._page(following[1].decode(), group))
                parts.append(part)
        for pod in self._pages.decode(b"".join(parts)).items:
            self._groups[pod.metadata.namespace, pod.metadata.labels["app"]].append(pod)

    async def _post(self, namespace: str, app: str, family: str, place: int, pods: list[_Pod]) -> None:
        service = app.replace("app", "svc")
        body: dict[str, Any] = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "generateName": f"{service}-",
                "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": _SINCE},
                "labels": {
                    "app": app,
                    "kubernetes.io/service-name": service,
                    "endpointslice.kubernetes.io/managed-by": "floor",
                },
            },
            "addressType": family,
            "ports": _PORTS,
            "endpoints": [_endpoint(each, place) for each in pods],
        }
        path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        async with self._slots:
            data = msgspec.json.encode(body)
            async with self._session.post(path, data=data, headers=self._headers) as response:
                await response.read()


def _endpoint(pod: _Pod, place: int) -> dict[str, Any]:
    meta, node = pod.metadata, pod.spec.node_name
    target = {"kind": "Pod", "name": meta.name, "namespace": meta.namespace, "uid": meta.uid}
    zone = f"zone-{'abc'[int(node.rpartition('-')[2]) % 3]}"
    address = pod.status.pod_ips[place].ip
    return {"addresses": [address], "conditions": _CONDITIONS, "nodeName": node, "targetRef": target, "zone": zone}


@click.command()
@options
@click.option("--page", type=int, required=True)
@click.option("--ahead", type=int, required=True)
def main(page: int, ahead: int, in_flight: int, accept: str, **connection: str) -> None:
    """Writes the slices of the Pods that are there, and nothing else."""
    run(lambda session: Filling(session, page, ahead, in_flight, accept).run(), **connection)


if __name__ == "__main__":
    main()
