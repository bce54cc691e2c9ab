"""Workloads expanded to the Pods that they would have once everything runs: scheduled, with addresses, ready."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from controllers.model.objects import Pod
from controllers.model.wire import WirePod, pod_from_wire
from controllers.planning.decoding import decode
from controllers.planning.defaults import uid
from controllers.planning.manifests import GivenPod, Manifests, Workload
from controllers.planning.nodes import Cluster, Place, stable_number
from controllers.planning.shapes import Metadata, PodSpec

# What Kubernetes builds names and hashes of, and where it cuts a name that gets a suffix.
_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
_LONGEST_PREFIX: Final = 58

_Content = dict[str, Any]
_Owner = tuple[str, str, str]


def simulate(manifests: Manifests, cluster: Cluster) -> list[Pod]:
    """The Pods of all workloads, and of all Pods that have no status: everything that has not been run yet."""
    pods: list[Pod] = []
    taken = set(manifests.pods)
    for given_key in sorted(manifests.pods):
        given = manifests.pods[given_key]
        if not given.live:
            pods.append(_bare(given, given_key, cluster))
    present = represented(manifests)
    for key in sorted(manifests.workloads):
        if key not in present:
            pods += _expand(manifests.workloads[key], cluster, taken)
    return pods


def represented(manifests: Manifests) -> list[_Owner]:
    """The workloads (kind, Namespace, name) that stand for nothing more: what they made is in the input itself."""
    return sorted(set(_controllers(manifests)) & manifests.workloads.keys())


def _controllers(manifests: Manifests) -> Iterator[_Owner]:
    owned: list[tuple[str, Metadata]] = [(key[0], pod.shape.metadata) for key, pod in manifests.pods.items()]
    owned += [(each.namespace, each.shape.metadata) for each in manifests.workloads.values()]
    for namespace, metadata in owned:
        for owner in metadata.owner_references or ():
            if owner.controller:
                yield (owner.kind, namespace, owner.name)
                # The ReplicaSet between a Deployment and its Pods may not be in the input.
                suffix = f"-{(metadata.labels or {}).get('pod-template-hash', '')}"
                if owner.kind == "ReplicaSet" and owner.name.endswith(suffix):
                    yield ("Deployment", namespace, owner.name.removesuffix(suffix))


def _bare(given: GivenPod, key: tuple[str, str], cluster: Cluster) -> Pod:
    spec = given.shape.spec or PodSpec()
    places = cluster.eligible(spec)
    place = places[stable_number("place", *key) % len(places)] if places else None
    content = {**given.content, "spec": given.content.get("spec") or {}}
    return _running(content, spec, place, cluster)


def _expand(workload: Workload, cluster: Cluster, taken: set[tuple[str, str]]) -> Iterator[Pod]:
    template = workload.content["spec"]["template"]
    labels = dict((template.get("metadata") or {}).get("labels") or {})
    spec = workload.shape.spec.template.spec
    daemon = workload.kind == "DaemonSet"
    places = cluster.eligible(spec, daemon=daemon)
    prefix = workload.name
    if workload.kind == "Deployment":
        labels["pod-template-hash"] = template_hash(template)
        prefix = f"{prefix}-{labels['pod-template-hash']}"
    start = stable_number("place", workload.kind, workload.namespace, workload.name)
    for index, ordinal in enumerate(_ordinals(workload, places)):
        place = places[index if daemon else (start + index) % len(places)] if places else None
        extra: _Content = {}
        if workload.kind == "StatefulSet":
            name = f"{workload.name}-{ordinal}"
            labels = {
                **labels,
                "apps.kubernetes.io/pod-index": str(ordinal),
                "statefulset.kubernetes.io/pod-name": name,
            }
            extra = {"hostname": name, "subdomain": workload.shape.spec.service_name or ""}
        else:
            # A DaemonSet's Pod goes with its Node: another Node more or less must not rename the others.
            about = place.name if daemon and place else str(ordinal)
            name = _generated_name(workload, prefix, about, taken)
        taken.add((workload.namespace, name))
        metadata = {"name": name, "namespace": workload.namespace, "labels": labels}
        yield _running({"metadata": metadata, "spec": {**template["spec"], **extra}}, spec, place, cluster)


def _ordinals(workload: Workload, places: list[Place]) -> Iterable[int]:
    spec = workload.shape.spec
    if workload.kind == "DaemonSet":
        return range(len(places))
    start = (spec.ordinals.start or 0) if workload.kind == "StatefulSet" and spec.ordinals else 0
    return range(start, start + (1 if spec.replicas is None else spec.replicas))


def _running(content: _Content, spec: PodSpec, place: Place | None, cluster: Cluster) -> Pod:
    """The record of a Pod on its Node; one that fits on no Node stays Pending, without an address."""
    metadata, pod_spec = content["metadata"], content["spec"]
    namespace, name = metadata["namespace"], metadata["name"]
    status: _Content = {"phase": "Pending"}
    if place is not None:
        ips = place.host_ips if spec.host_network else cluster.addresses(place, f"{namespace}/{name}")
        pod_spec = {**pod_spec, "nodeName": place.name}
        status = {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "podIP": ips[0],
            "podIPs": [{"ip": ip} for ip in ips],
        }
    metadata = {**metadata, "uid": metadata.get("uid") or uid("Pod", namespace, name)}
    return pod_from_wire(decode({"metadata": metadata, "spec": pod_spec, "status": status}, WirePod))


def _letters(number: int, count: int) -> str:
    text = ""
    for _ in range(count):
        number, index = divmod(number, len(_ALPHABET))
        text += _ALPHABET[index]
    return text


def template_hash(template: _Content) -> str:
    """What a Deployment's ReplicaSet is called by: changes with the template, and only with it."""
    text = msgspec.json.encode(template, order="deterministic").decode()
    return _letters(stable_number("template", text), 10)


def _generated_name(workload: Workload, prefix: str, about: str, taken: set[tuple[str, str]]) -> str:
    attempt = 0
    while True:
        number = stable_number("pod", workload.kind, workload.namespace, prefix, about, str(attempt))
        name = f"{prefix}-"[:_LONGEST_PREFIX] + _letters(number, 5)
        if (workload.namespace, name) not in taken:
            return name
        attempt += 1
