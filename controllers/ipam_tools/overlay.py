"""Manifests as they would be once they are applied: typed, and laid over the facts of the cluster."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from api.names import LABEL
from api.v1alpha1.common import API_VERSION, GROUP, Resource
from api.v1alpha1.service_ip_pool import ServiceIPPool
from api.v1alpha1.service_port_pool import ServicePortPool
from api.v1alpha1.service_reservation import ServiceReservation
from controllers.ipam.objects import (
    Namespace,
    Service,
    ServiceCIDR,
    WireNamespace,
    WireService,
    WireServiceCIDR,
    namespace_from_wire,
    service_cidr_from_wire,
    service_from_wire,
)
from controllers.ipam.ranges import network
from controllers.ipam.world import NAMESPACE_NAME_LABEL
from controllers.ipam_tools.facts import Facts
from controllers.ipam_tools.findings import ERROR, WARNING, Finding
from controllers.ipam_tools.manifests import Manifest, PathStep
from controllers.ipam_tools.schema import faults, resource_of
from controllers.model.objects import Labels
from controllers.planning.decoding import Fault, decode, misfits
from controllers.planning.shapes import ServiceShape

RESOURCES: Final[dict[str, type[Resource]]] = {
    each.__name__: each for each in (ServiceIPPool, ServicePortPool, ServiceReservation)
}
_NETWORKING: Final = ("networking.k8s.io/v1", "networking.k8s.io/v1beta1")
# What the API server insists on, and what is read.
_SHAPES: Final[dict[str, tuple[type[Struct], ...]]] = {
    "Service": (ServiceShape, WireService),
    "Namespace": (WireNamespace,),
    "ServiceCIDR": (WireServiceCIDR,),
}
# For people.
READ: Final = f"Service, Namespace (v1); ServiceCIDR ({_NETWORKING[0]}); {', '.join(RESOURCES)} ({API_VERSION})"
# In place of a name that may be one that the API server has yet to make up.
_NAME: Final = "name"
# A reservation that is not made yet is younger than all that are.
_LATER: Final = "9999-12-31T23:59:59Z"

_LABEL: Final = re.compile(LABEL)
_SUBDOMAIN: Final = re.compile(rf"{LABEL}(\.{LABEL})*")

Object = Service | Namespace | ServiceCIDR | Resource


class Entry(NamedTuple):
    """A manifest and what it stands for. `namespace` is "" for what has none."""

    manifest: Manifest
    kind: str
    namespace: str
    name: str
    object: Object

    def finding(self, severity: str, reason: str, message: str, *path: PathStep) -> Finding:
        """Something to say of a field of it."""
        return Finding(
            file=self.manifest.file,
            line=self.manifest.line(*path),
            severity=severity,
            reason=reason,
            message=message,
            kind=self.kind,
            namespace=self.namespace,
            name=self.name,
        )

    @property
    def place(self) -> str:
        """Where it is, for a message about another one."""
        line = self.manifest.line()
        return f"{self.manifest.file}:{line}" if line else self.manifest.file


class Typed(NamedTuple):
    """What the manifests stand for, what is wrong with some, and how many are of kinds that are not looked at."""

    entries: list[Entry]
    findings: list[Finding]
    looked_at: Counter[str]
    ignored: Counter[str]


def typed(manifests: Iterable[Manifest], namespace: str) -> Typed:
    """The objects; those of a kind with namespaces that name none are in `namespace`. Of two the last counts."""
    into = Typed([], [], Counter(), Counter())
    for manifest in manifests:
        reader, entry = _reader(manifest), _identified(manifest, namespace)
        if reader is None and manifest.version.startswith(f"{GROUP}/"):
            # Ours, but misspelt or of another version: nobody wants that passed over.
            message = (
                f"there is no kind {manifest.kind} in {manifest.version}; {API_VERSION} has {', '.join(RESOURCES)}"
            )
            into.findings.append(entry.finding(ERROR, "Invalid", message))
            continue
        if reader is None:
            into.ignored[f"{manifest.kind} ({manifest.version})"] += 1
            continue
        into.looked_at[manifest.kind] += 1
        found = list(_read(entry, reader))
        into.entries.extend(each for each in found if isinstance(each, Entry))
        into.findings.extend(each for each in found if isinstance(each, Finding))
    _drop_repeated(into)
    return into


def _reader(manifest: Manifest) -> Callable[[dict[str, Any]], Object] | None:
    version, kind = manifest.version, manifest.kind
    if version == "v1" and kind == "Service":
        return lambda content: service_from_wire(decode(content, WireService))
    if version == "v1" and kind == "Namespace":
        return lambda content: _namespace(decode(content, WireNamespace))
    if version in _NETWORKING and kind == "ServiceCIDR":
        return lambda content: _service_cidr(decode(content, WireServiceCIDR))
    if version == API_VERSION and kind in RESOURCES:
        return lambda content: resource_of(RESOURCES[kind], content)
    return None


def _namespace(wire: WireNamespace) -> Namespace:
    """With the label that the API server gives to each."""
    found = namespace_from_wire(wire)
    return Namespace(found.name, Labels({**found.labels, NAMESPACE_NAME_LABEL: found.name}))


def _service_cidr(wire: WireServiceCIDR) -> ServiceCIDR:
    """As it will be once it is ready."""
    return msgspec.structs.replace(service_cidr_from_wire(wire), ready=True, terminating=False)


def _identified(manifest: Manifest, namespace: str) -> Entry:
    meta = manifest.content.get("metadata")
    meta = meta if isinstance(meta, dict) else {}
    kind = manifest.kind
    namespaced = kind == "Service" or (kind in RESOURCES and RESOURCES[kind].NAMESPACED)
    own = str(meta.get("namespace") or namespace) if namespaced else ""
    generated = meta.get("generateName")
    # A name that is not known yet must not be that of another Service: the line makes it one of its own.
    name = str(meta.get("name") or (f"{generated}<line {manifest.line()}>" if generated else ""))
    return Entry(manifest, kind, own, name, Namespace(""))


def _read(entry: Entry, reader: Callable[[dict[str, Any]], Object]) -> Iterator[Entry | Finding]:
    content = entry.manifest.content
    found = list(_name_faults(entry))
    if entry.kind in RESOURCES:
        found += faults(RESOURCES[entry.kind], content)
    if not found:
        meta = {**content.get("metadata", {}), "name": entry.name, "namespace": entry.namespace}
        # A status is nothing that can be applied.
        content = {key: each for key, each in content.items() if key != "status"} | {"metadata": meta}
        found += _misfits(entry.kind, content)
    yield from (entry.finding(ERROR, "Invalid", str(each), *each.path) for each in found)
    if not found:
        yield entry._replace(object=reader(content))


def _misfits(kind: str, content: dict[str, Any]) -> Iterator[Fault]:
    if kind not in _SHAPES:
        return
    found = list(misfits({**content, "metadata": {**content["metadata"], "name": _NAME}}, _SHAPES[kind]))
    yield from found
    if kind == "ServiceCIDR" and not found:
        for index, text in enumerate(service_cidr_from_wire(decode(content, WireServiceCIDR)).cidrs):
            try:
                network(text)
            except ValueError as error:
                yield Fault(("spec", "cidrs", index), str(error))


def _name_faults(entry: Entry) -> Iterator[Fault]:
    """What is wrong with its name and namespace; one that is generated is the API server's own affair."""
    meta = entry.manifest.content.get("metadata")
    meta = meta if isinstance(meta, dict) else {}
    if not entry.name:
        yield Fault(("metadata", "name"), "required, but not set")
    given = {key: meta.get(key) for key in ("name", "namespace")}
    for key, text in given.items():
        dotted = key == "name" and entry.kind not in ("Service", "Namespace")
        pattern = _SUBDOMAIN if dotted else _LABEL
        if text and not (isinstance(text, str) and len(text) <= (253 if dotted else 63) and pattern.fullmatch(text)):
            rule = "lower-case letters, digits and hyphens" + (", with dots between labels" if dotted else "")
            yield Fault(("metadata", key), f"{msgspec.json.encode(text).decode()} is no name: it takes {rule}")


def _drop_repeated(into: Typed) -> None:
    """Only the last of an object's manifests counts, as with `kubectl apply`."""
    last = {(each.kind, each.namespace, each.name): each for each in into.entries}
    for each in into.entries:
        winner = last[each.kind, each.namespace, each.name]
        if winner is not each:
            message = f"it is given again at {winner.place}, which counts"
            into.findings.append(each.finding(WARNING, "Repeated", message))
    into.entries[:] = last.values()


def laid_over(facts: Facts, entries: Iterable[Entry]) -> Facts:
    """The facts with all but the Services of the manifests: these are looked at one by one."""
    namespaces, service_cidrs = dict(facts.namespaces), dict(facts.service_cidrs)
    ip_pools, port_pools, reservations = dict(facts.ip_pools), dict(facts.port_pools), dict(facts.reservations)
    for each in entries:
        match each.object:
            case Namespace() as namespace:
                namespaces[each.name] = namespace
            case ServiceCIDR() as service_cidr:
                service_cidrs[each.name] = service_cidr
            case ServiceIPPool() as ip_pool:
                ip_pools[each.name] = ip_pool
            case ServicePortPool() as port_pool:
                port_pools[each.name] = port_pool
            case ServiceReservation() as reservation:
                key = f"{each.namespace}/{each.name}"
                reservations[key] = _merged(reservation, facts.reservations.get(key))
    # Where no ServiceCIDR is known, these must not seem to be all that there are.
    for pool in ip_pools.values() if service_cidrs else ():
        if pool.spec.service_cidr.mode == "Create":
            made = [each.cidr for each in pool.spec.ranges if each.cidr]
            # Not one of the cluster's names: what the operator calls them is its own affair.
            name = f"<made for {pool.metadata.name}>"
            service_cidrs[name] = ServiceCIDR(name=name, cidrs=tuple(made))
    return replace(
        facts,
        namespaces=namespaces,
        service_cidrs=service_cidrs,
        ip_pools=ip_pools,
        port_pools=port_pools,
        reservations=reservations,
    )


def _merged(new: ServiceReservation, old: ServiceReservation | None) -> ServiceReservation:
    """As it is after an update: of its age, and with what it has adopted; a new one is the youngest of all."""
    if old is None:
        later = new.metadata.model_validate({"creationTimestamp": _LATER}).creation_timestamp
        return new.model_copy(update={"metadata": new.metadata.model_copy(update={"creation_timestamp": later})})
    return new.model_copy(update={"metadata": old.metadata, "status": old.status})
