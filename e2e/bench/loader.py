"""Puts a whole cluster into etcd, as the API server itself stores it: 150,000 Pods in a minute, not in an hour.

One object of each kind is created through the API server and read back from etcd, in its storage encoding. The others
are its copies, with names, uids, labels and addresses replaced by others of the same length, so that the encoding's
lengths stay right.
"""

import asyncio
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import msgspec

from controllers.runtime.api_client import ApiClient
from e2e.bench.etcd import Etcd
from e2e.bench.load import NAMESPACE, ZONES, Object, Size, node, patch_status, pod, post, running, service

AUTO: Final = {"service.kubernetes.io/topology-mode": "Auto"}

# The keys of the Pods of every Namespace that is ours.
_POD_KEYS: Final = f"/registry/pods/{NAMESPACE}-"
# Numbers that no loaded object has, and that nothing else in the templates looks like.
_SAMPLE: Final = 99_999
_SAMPLE_POD: Final = 999_999
_SAMPLE_NAMESPACE: Final = 999
_SAMPLE_ZONE: Final = "zone-z"
_SAMPLE_ADDRESSES: Final = ("10.96.250.250", "fd00:10:96::fffe")
_LISTED_SECONDS: Final = 60.0
_MOST: Final = Size(pods=900_000, services=22_000, nodes=90_000, namespaces=900)


class LoadError(Exception):
    """The cluster is not what was asked for."""


def pod_name(number: int) -> str:
    """What the loaded Pod of this number is called."""
    return f"pod-{number:06d}"


def namespace_name(number: int) -> str:
    """What the Namespace of this number is called."""
    return f"{NAMESPACE}-{number:03d}"


def node_name(number: int) -> str:
    """What the loaded Node of this number is called."""
    return f"node-{number:05d}"


def pod_addresses(number: int) -> tuple[str, str]:
    """Its IPv4 and IPv6 address: always of the same length, and never twice."""
    four = f"10.{100 + number // 10_000}.{100 + number // 100 % 100}.{100 + number % 100}"
    return four, f"fd00:10:244::{0x1000 + (number >> 12):x}:{0x1000 + (number & 0xFFF):x}"


def service_addresses(number: int) -> tuple[str, str]:
    """Its cluster IPs, from the API server's ranges: always of the same length, and never twice."""
    return f"10.96.{100 + number // 150}.{100 + number % 150}", f"fd00:10:96::{0x1000 + number:x}"


def _app(number: int) -> str:
    return f"app-{number:05d}"


def _service(number: int) -> str:
    return f"svc-{number:05d}"


@dataclass(frozen=True)
class Template:
    """An object as it is stored, and what in it belongs to it alone."""

    stored: bytes
    own: tuple[str, ...]

    def copy(self, *theirs: str) -> bytes:
        """The same object with others in place of its own. Raises LoadError when one is not as long as it was."""
        copied = self.stored
        for old, new in zip(self.own, theirs, strict=True):
            if len(old) != len(new):
                raise LoadError(f"{new!r} is not as long as {old!r}, which it should replace")
            copied = copied.replace(old.encode(), new.encode())
        return copied


@dataclass
class Loader:
    """Loads one size of cluster; every `hinted_every`-th Service asks for hints by zone (0: none does)."""

    client: ApiClient
    etcd: Etcd
    size: Size
    hinted_every: int = 0
    _templates: dict[str, Template] = field(default_factory=dict)

    async def load(self) -> None:
        """Fills an API server that has no benchmark's Namespaces yet. Raises LoadError, EtcdError, ApiError."""
        size = self.size
        if any(value > getattr(_MOST, name) for name, value in asdict(size).items()):
            raise LoadError(f"{size} is more than there are names and addresses for: {_MOST}")
        for number in (*range(size.namespaces), _SAMPLE_NAMESPACE):
            await post(self.client, "/api/v1/namespaces", {"metadata": {"name": namespace_name(number)}})
        await self._take_templates()
        await self.etcd.put_all(self._nodes())
        # Addresses first, and seen: the API server repairs at once what it finds without.
        await self.etcd.put_all(self._addresses())
        await self._await_listed("/apis/networking.k8s.io/v1/ipaddresses", 2 * size.services)
        await self.etcd.put_all(self._services())
        await self.etcd.put_all(self._pods())
        await self.check()

    async def reset_pods(self) -> None:
        """Puts the Pods back to what they were when they were loaded. No controller may run."""
        await self.etcd.delete_prefix(_POD_KEYS)
        await self.etcd.put_all(self._pods())
        await self.check()

    async def check(self) -> None:
        """Raises LoadError unless the API server lists as many objects as were loaded."""
        # There is one Service more: the API server's own.
        wanted = {"pods": self.size.pods, "services": self.size.services + 1, "nodes": self.size.nodes}
        for plural, number in wanted.items():
            await self._await_listed(f"/api/v1/{plural}", number)

    def pod_path(self, number: int) -> str:
        """Where a Pod is, loaded or in the place of one: counted on from the last."""
        return f"{_path(self._namespace(self._app_of(number)), 'pods')}/{pod_name(number)}"

    def _app_of(self, number: int) -> int:
        return number % self.size.pods % self.size.services

    def _namespace(self, app: int) -> str:
        return namespace_name(app % self.size.namespaces)

    async def _await_listed(self, path: str, number: int) -> None:
        until = time.monotonic() + _LISTED_SECONDS
        # There may be more addresses than ours: the API server has a Service itself.
        while (found := await _listed(self.client, path)) < number:
            if time.monotonic() > until:
                raise LoadError(f"the API server lists {found} of {number} at {path}")
            await asyncio.sleep(0.1)

    async def _take_templates(self) -> None:
        """Creates the samples, reads them from etcd, and removes them again."""
        client, name, app, host = self.client, pod_name(_SAMPLE_POD), _app(_SAMPLE), node_name(_SAMPLE)
        namespace = namespace_name(_SAMPLE_NAMESPACE)
        pods = _path(namespace, "pods")
        await post(client, "/api/v1/nodes", node(host, _SAMPLE_ZONE))
        await post(client, pods, pod(name, app, host, f"{_SAMPLE:08x}"))
        await patch_status(client, f"{pods}/{name}", running(*pod_addresses(_SAMPLE_POD)))
        await self._take("node", f"/registry/minions/{host}", "/api/v1/nodes", host, _SAMPLE_ZONE)
        own = (name, namespace, app, f"{_SAMPLE:08x}", host, _SAMPLE_ZONE, *pod_addresses(_SAMPLE_POD))
        await self._take("pod", f"/registry/pods/{namespace}/{name}", pods, *own)
        await self._take_service("service", {})
        await self._take_service("hinted", AUTO)

    async def _take_service(self, kind: str, annotations: dict[str, str]) -> None:
        name, app, namespace = _service(_SAMPLE), _app(_SAMPLE), namespace_name(_SAMPLE_NAMESPACE)
        services = _path(namespace, "services")
        body: Object = service(name, app)
        body["metadata"]["annotations"] = annotations
        body["spec"] |= {"clusterIP": _SAMPLE_ADDRESSES[0], "clusterIPs": list(_SAMPLE_ADDRESSES)}
        await post(self.client, services, body)
        for family, address in zip(("IPv4", "IPv6"), _SAMPLE_ADDRESSES, strict=True):
            # The API server removes them with their Service.
            await self._take(family, f"/registry/ipaddresses/{address}", None, address, name, namespace)
        key, own = f"/registry/services/specs/{namespace}/{name}", (name, namespace, app, *_SAMPLE_ADDRESSES)
        await self._take(kind, key, services, *own)

    async def _take(self, kind: str, key: str, collection: str | None, *own: str) -> None:
        """Reads a sample from etcd, with its uid among its own, and deletes it; its name is the first of its own."""
        name = own[0]
        path = f"/apis/networking.k8s.io/v1/ipaddresses/{name}" if collection is None else f"{collection}/{name}"
        uid = msgspec.json.decode(await self.client.request("GET", path))["metadata"]["uid"]
        stored = await self.etcd.get(key)
        if missing := [each for each in (*own, uid) if each.encode() not in stored]:
            raise LoadError(f"{key} is not stored with {missing} in it")
        self._templates[kind] = Template(stored, (*own, uid))
        if collection is not None:
            await self.client.request("DELETE", path, query={"gracePeriodSeconds": "0"})

    def _nodes(self) -> Iterator[tuple[str, bytes]]:
        for number in range(self.size.nodes):
            name = node_name(number)
            copied = self._templates["node"].copy(name, ZONES[number % 3], _uid(name))
            yield f"/registry/minions/{name}", copied

    def _addresses(self) -> Iterator[tuple[str, bytes]]:
        for number in range(self.size.services):
            for family, address in zip(("IPv4", "IPv6"), service_addresses(number), strict=True):
                own = (address, _service(number), self._namespace(number), _uid(address))
                copied = self._templates[family].copy(*own)
                yield f"/registry/ipaddresses/{address}", copied

    def _services(self) -> Iterator[tuple[str, bytes]]:
        for number in range(self.size.services):
            name, addresses = _service(number), service_addresses(number)
            hinted = self.hinted_every > 0 and number % self.hinted_every == 0
            template = self._templates["hinted" if hinted else "service"]
            namespace = self._namespace(number)
            copied = template.copy(name, namespace, _app(number), *addresses, _uid(name))
            yield f"/registry/services/specs/{namespace}/{name}", copied

    def _pods(self) -> Iterator[tuple[str, bytes]]:
        for number in range(self.size.pods):
            name, app, host = pod_name(number), self._app_of(number), number % self.size.nodes
            namespace, place = self._namespace(app), (f"{app:08x}", node_name(host), ZONES[host % 3])
            own = (name, namespace, _app(app), *place, *pod_addresses(number), _uid(name))
            yield f"/registry/pods/{namespace}/{name}", self._templates["pod"].copy(*own)

    def new_pod(self, number: int) -> Object:
        """The body of a Pod that takes the place of a loaded one, counted on from the last: its Service, its Node."""
        app, host = self._app_of(number), number % self.size.pods % self.size.nodes
        return pod(pod_name(number), _app(app), node_name(host), f"{app:08x}")


def _path(namespace: str, plural: str) -> str:
    return f"/api/v1/namespaces/{namespace}/{plural}"


def _uid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


async def _listed(client: ApiClient, path: str) -> int:
    answer: dict[str, Any] = msgspec.json.decode(await client.request("GET", path, query={"limit": "1"}))
    return len(answer["items"]) + int(answer["metadata"].get("remainingItemCount", 0))
