"""Simulated nodes at work: a small scheduler, and a kubelet for all that runs nothing but tells like a real one.

A Pod without a node is bound to one. A Pod on one of our nodes, whoever bound it, starts after `start_delay`, becomes
ready, and when it is deleted ends after `termination`. A Pod that has an IP when it is first seen is taken to run
already. Pods on other nodes are left alone.
"""

import contextlib
import datetime
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from e2e.cluster.agenda import Agenda
from e2e.cluster.mirror import DELETED, Mirror
from e2e.cluster.nodes import Scheduler, SimulatedNode
from e2e.cluster.rest import Api, ApiError, Object, Objects, path_of

# On a Pod: "false" starts it, and leaves it until `set_ready`, not ready.
READY_ANNOTATION = "e2e.sliceplane.dev/ready"

_SYNC_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Change:
    """A Pod's status as the API server has just taken it over; the times are of time.monotonic.

    `ready` is None when the Pod has ended.
    """

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    ready: bool | None
    sent: float
    answered: float


@dataclass(slots=True)
class _Pod:
    """A Pod on one of our nodes. Its lock orders the writes of its status; `Kubelets` guards the rest."""

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    containers: Objects
    node: SimulatedNode
    ready: bool
    addresses: tuple[str, ...] = ()
    owns_addresses: bool = False
    started: str = ""
    ending: bool = False
    ended: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class Kubelets:
    """All simulated nodes of a cluster, as a context manager: its nodes are there when it is entered.

    `told` is called, from several threads, with every change of a Pod's readiness that the API server has confirmed.
    """

    def __init__(
        self,
        api: Api,
        nodes: Iterable[SimulatedNode],
        *,
        start_delay: float = 0.5,
        termination: float = 1.0,
        told: Callable[[Change], None] = lambda change: None,
    ) -> None:
        """`api`'s user must be allowed everything with nodes and Pods. Times in seconds."""
        self._api = api
        self.nodes = {node.name: node for node in nodes}
        self._start_delay = start_delay
        self._termination = termination
        self._told = told
        self._lock = threading.Lock()
        self._scheduler = Scheduler(self.nodes.values())
        self._pods: dict[str, _Pod] = {}
        self._named: dict[tuple[str, str], _Pod] = {}
        self._unplaced: dict[str, Object] = {}
        self._agenda = Agenda()
        self._mirrors = [Mirror(api, "Node", self._heard_node), Mirror(api, "Pod", self._heard_pod)]
        self._running = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            for node in self.nodes.values():
                self._register(node)
            stack.enter_context(self._agenda)
            for mirror in self._mirrors:
                stack.enter_context(mirror)
                if not mirror.synced.wait(_SYNC_TIMEOUT):
                    raise TimeoutError(f"nodes and Pods could not be listed within {_SYNC_TIMEOUT:.0f} s")
            self._running = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._running.close()

    def set_ready(self, namespace: str, name: str, ready: bool) -> None:
        """Make a Pod's readiness probe pass or fail; returns when the API server has taken it over.

        A Pod that is still starting will be so when it has. Raises LookupError when no such Pod is on our nodes,
        ApiError and urllib3.exceptions.HTTPError like the client.
        """
        with self._lock:
            pod = self._named.get((namespace, name))
        if pod is None:
            raise LookupError(f"no Pod {namespace}/{name} on the simulated nodes")
        with pod.lock:
            pod.ready = ready
            if pod.started and not pod.ended:
                self._write_status(pod)

    def _register(self, node: SimulatedNode) -> None:
        manifest = node.manifest()
        try:
            self._api.create(manifest)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
        self._api.patch("Node", node.name, {"status": manifest["status"]}, subresource="status")
        # Given to every new Node, and taken away by a controller that need not be there.
        self._api.patch("Node", node.name, {"spec": {"taints": None}})

    def _heard_node(self, change: str, obj: Object) -> None:
        with self._lock:
            self._scheduler.heard_node(obj, gone=change == DELETED)
            waiting = list(self._unplaced.values())
            for pod in waiting:
                self._place(pod)

    def _heard_pod(self, change: str, obj: Object) -> None:
        uid = obj["metadata"]["uid"]
        node = self.nodes.get(obj["spec"].get("nodeName", ""))
        with self._lock:
            if change == DELETED:
                self._forget(uid)
            elif not obj["spec"].get("nodeName"):
                self._place(obj)
            elif node is not None:
                self._unplaced.pop(uid, None)
                self._follow(obj, node)

    def _place(self, obj: Object) -> None:
        uid = obj["metadata"]["uid"]
        if obj["metadata"].get("deletionTimestamp") or self._scheduler.placed(uid):
            return
        node = self._scheduler.choose(obj)
        if node is None:
            self._unplaced[uid] = obj
            return
        self._unplaced.pop(uid, None)
        self._scheduler.note(obj, node)
        target = {"apiVersion": "v1", "kind": "Node", "name": node.name}
        metadata = {key: obj["metadata"][key] for key in ("name", "namespace", "uid")}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": target}
        self._agenda.later(0, lambda: self._api.create(binding, subresource="binding"))

    def _follow(self, obj: Object, node: SimulatedNode) -> None:
        uid = obj["metadata"]["uid"]
        pod = self._pods.get(uid)
        if pod is None:
            pod = self._pods[uid] = _adopt(obj, node)
            self._named[pod.namespace, pod.name] = pod
            self._scheduler.note(obj, node)
            if not pod.started:
                self._agenda.later(self._start_delay, lambda: self._start(pod))
        pod.labels = obj["metadata"].get("labels") or {}
        if obj["metadata"].get("deletionTimestamp") and not pod.ending:
            pod.ending = True
            grace = obj["metadata"].get("deletionGracePeriodSeconds") or 0
            self._agenda.later(min(self._termination, grace), lambda: self._end(pod))

    def _forget(self, uid: str) -> None:
        self._scheduler.forget(uid)
        self._unplaced.pop(uid, None)
        pod = self._pods.pop(uid, None)
        if pod is not None:
            pod.ended = True
            if self._named.get((pod.namespace, pod.name)) is pod:
                del self._named[pod.namespace, pod.name]
            if pod.owns_addresses:
                pod.node.return_addresses(pod.addresses)

    def _start(self, pod: _Pod) -> None:
        with pod.lock:
            with self._lock:
                if pod.ended or pod.ending:
                    return
                if not pod.addresses:
                    pod.addresses, pod.owns_addresses = pod.node.take_addresses(), True
            pod.started = pod.started or _now()
            self._write_status(pod)

    def _end(self, pod: _Pod) -> None:
        with pod.lock:
            pod.ready = False
            pod.ended = True
            if pod.started:
                self._write_status(pod)
            options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod.uid}}
            body = {"apiVersion": "v1", "kind": "DeleteOptions", **options}
            self._api.request("DELETE", path_of("Pod", pod.name, pod.namespace), body)

    def _write_status(self, pod: _Pod) -> None:
        # The uid makes it a Conflict when a namesake has taken its place.
        body = {"metadata": {"uid": pod.uid}, "status": _status(pod)}
        sent = time.monotonic()
        self._api.patch("Pod", pod.name, body, pod.namespace, subresource="status")
        ready = None if pod.ended else pod.ready
        answered = time.monotonic()
        self._told(Change(pod.namespace, pod.name, pod.uid, pod.labels, ready, sent, answered))


def _adopt(obj: Object, node: SimulatedNode) -> _Pod:
    metadata, status = obj["metadata"], obj.get("status") or {}
    pod = _Pod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        labels=metadata.get("labels") or {},
        containers=[{"name": each["name"], "image": each["image"]} for each in obj["spec"]["containers"]],
        node=node,
        ready=(metadata.get("annotations") or {}).get(READY_ANNOTATION) != "false",
    )
    if status.get("podIP"):
        pod.addresses = tuple(each["ip"] for each in status.get("podIPs") or [{"ip": status["podIP"]}])
        pod.owns_addresses = node.claim_addresses(pod.addresses)
        pod.started = status.get("startTime") or _now()
        pod.ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or [])
    return pod


def _status(pod: _Pod) -> Object:
    now = _now()
    state: Object = {"running": {"startedAt": pod.started}}
    if pod.ended:
        state = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": pod.started, "finishedAt": now}}
    conditions = {
        "PodScheduled": (True, pod.started),
        "PodReadyToStartContainers": (not pod.ended, now if pod.ended else pod.started),
        "Initialized": (True, pod.started),
        # Written only when it changes, so it changed now.
        "ContainersReady": (pod.ready, now),
        "Ready": (pod.ready, now),
    }
    return {
        "phase": "Succeeded" if pod.ended else "Running",
        "startTime": pod.started,
        "hostIP": pod.node.addresses[0],
        "hostIPs": [{"ip": each} for each in pod.node.addresses],
        "podIP": pod.addresses[0],
        "podIPs": [{"ip": each} for each in pod.addresses],
        "conditions": [
            {"type": kind, "status": str(true), "lastTransitionTime": since}
            for kind, (true, since) in conditions.items()
        ],
        "containerStatuses": [
            {
                **each,
                "imageID": each["image"],
                "ready": pod.ready,
                "started": not pod.ended,
                "restartCount": 0,
                "state": state,
            }
            for each in pod.containers
        ],
    }


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
