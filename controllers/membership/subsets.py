"""Subsets of Endpoints in canonical form (EP-36 ... EP-38). Who writes Endpoints and who mirrors them share it."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from api import names
from controllers.membership.ports import fnv1a_128
from controllers.model.objects import (
    EndpointAddress,
    Endpoints,
    EndpointSubset,
    Fingerprints,
    SubsetPort,
    TargetRef,
)

# An address is the same one if its IP and its target's uid are (EP-36).
_Key = tuple[str, str]
_NO_PORT: Final = SubsetPort(port=-1)
_encode: Final = msgspec.json.Encoder().encode


class _Offered(Struct, gc=False):
    """A port, and who offers it: whether each address is ready."""

    port: SubsetPort
    readiness: dict[_Key, bool]


def repack(subsets: Iterable[EndpointSubset], *, from_api: bool) -> tuple[EndpointSubset, ...]:
    """The same ports and addresses in canonical form: each set of addresses once, with all ports that it offers.

    What is not ready on a port in one subset is not ready on it; of an address given twice the first counts (EP-37).
    Upstream tells ports with an appProtocol apart by where they were decoded: `from_api` says that the subsets come
    from an object that was read, where two such ports are never one (EP-36).
    """
    addresses: dict[_Key, EndpointAddress] = {}
    offered: dict[tuple[SubsetPort, int], _Offered] = {}
    place = 0
    for subset in subsets:
        keys = [(_key(address), address, True) for address in subset.addresses]
        keys += [(_key(address), address, False) for address in subset.not_ready_addresses]
        for key, address, _ in keys:
            addresses.setdefault(key, address)
        for port in subset.ports or (_NO_PORT,):
            place += 1
            identity = (port, place if from_api and port.app_protocol is not None else 0)
            readiness = offered.setdefault(identity, _Offered(port, {})).readiness
            for key, _, ready in keys:
                readiness[key] = ready and readiness.get(key, True)
    return _assembled(addresses, list(offered.values()))


def same_ports(subsets: Sequence[EndpointSubset]) -> tuple[EndpointSubset, ...]:
    """As `repack`, of subsets that differ in nothing but their addresses, each of which is there once."""
    ready = _in_order(each for subset in subsets for each in subset.addresses)
    unready = _in_order(each for subset in subsets for each in subset.not_ready_addresses)
    if not ready and not unready:
        return ()
    ports = dict.fromkeys(port for port in subsets[0].ports if port.port > 0)
    return (EndpointSubset(ready, unready, tuple(sorted(ports, key=port_hash))),)


def _assembled(addresses: dict[_Key, EndpointAddress], offered: list[_Offered]) -> tuple[EndpointSubset, ...]:
    """One subset for each distinct readiness of addresses; what has no address vanishes (EP-38)."""
    distinct: list[tuple[dict[_Key, bool], list[SubsetPort]]] = []
    for each in offered:
        if not each.readiness:
            continue
        for readiness, ports in distinct:
            if readiness == each.readiness:
                ports.append(each.port)
                break
        else:
            distinct.append((each.readiness, [each.port]))
    found = [
        EndpointSubset(
            addresses=_in_order(addresses[key] for key, ready in readiness.items() if ready),
            not_ready_addresses=_in_order(addresses[key] for key, ready in readiness.items() if not ready),
            ports=tuple(sorted((port for port in ports if port.port > 0), key=port_hash)),
        )
        for readiness, ports in distinct
    ]
    # The hash of a large subset is dear: one alone has no order.
    return tuple(sorted(found, key=subset_hash) if len(found) > 1 else found)


def _key(address: EndpointAddress) -> _Key:
    return address.ip, address.target_ref.uid if address.target_ref is not None else ""


def _in_order(addresses: Iterable[EndpointAddress]) -> tuple[EndpointAddress, ...]:
    def order(address: EndpointAddress) -> tuple[str, bool, str]:
        target = address.target_ref
        return address.ip, target is not None, target.uid if target is not None else ""

    return tuple(sorted(addresses, key=order))


def _port_text(port: SubsetPort) -> str:
    app_protocol = "<nil>" if port.app_protocol is None else port.app_protocol
    return (
        f"{{Name:(string){port.name} Port:(int32){port.port} Protocol:(v1.Protocol){port.protocol} "
        f"AppProtocol:(*string){app_protocol}}}"
    )


def _target_text(target: TargetRef | None) -> str:
    if target is None:
        return "(*v1.ObjectReference)<nil>"
    return (
        f"(*v1.ObjectReference){{Kind:(string){target.kind} Namespace:(string){target.namespace} "
        f"Name:(string){target.name} UID:(types.UID){target.uid} APIVersion:(string){target.api_version} "
        f"ResourceVersion:(string){target.resource_version} FieldPath:(string){target.field_path}}}"
    )


def _address_text(address: EndpointAddress) -> str:
    node = "<nil>" if address.node_name is None else address.node_name
    return (
        f"{{IP:(string){address.ip} Hostname:(string){address.hostname} NodeName:(*string){node} "
        f"TargetRef:{_target_text(address.target_ref)}}}"
    )


def _list_text(items: Sequence[str]) -> str:
    return f"[{' '.join(items)}]" if items else "<nil>"


@lru_cache(maxsize=65_536)
def port_hash(port: SubsetPort) -> str:
    """What the ports of a subset are ordered by (EP-38)."""
    return fnv1a_128(f"(v1.EndpointPort){_port_text(port)}")


def subset_hash(subset: EndpointSubset) -> str:
    """What subsets are ordered by, and so which ones a truncation cuts (EP-38, EP-54)."""
    return fnv1a_128(
        f"(v1.EndpointSubset){{"
        f"Addresses:([]v1.EndpointAddress){_list_text([_address_text(each) for each in subset.addresses])} "
        f"NotReadyAddresses:([]v1.EndpointAddress)"
        f"{_list_text([_address_text(each) for each in subset.not_ready_addresses])} "
        f"Ports:([]v1.EndpointPort){_list_text([_port_text(each) for each in subset.ports])}}}"
    )


def fingerprint(subsets: Iterable[EndpointSubset]) -> bytes:
    """16 bytes that are equal for equal subsets; the resourceVersion of a target does not count (EP-41)."""
    return blake2b(_encode([without_versions(each) for each in subsets]), digest_size=16).digest()


def without_versions(subset: EndpointSubset) -> EndpointSubset:
    """The subset without the resourceVersions of its targets."""
    if not any(each.target_ref and each.target_ref.resource_version for each in _all(subset)):
        return subset
    return replace(
        subset,
        addresses=tuple(map(_without_version, subset.addresses)),
        not_ready_addresses=tuple(map(_without_version, subset.not_ready_addresses)),
    )


def _all(subset: EndpointSubset) -> tuple[EndpointAddress, ...]:
    return subset.addresses + subset.not_ready_addresses


def _without_version(address: EndpointAddress) -> EndpointAddress:
    target = address.target_ref
    return address if target is None else replace(address, target_ref=replace(target, resource_version=""))


def fingerprints(found: Endpoints) -> Fingerprints:
    """The fingerprints of Endpoints that were read or are about to be written."""
    if found.fingerprints is not None:
        return found.fingerprints
    subsets = found.subsets or ()
    return Fingerprints(fingerprint(subsets), fingerprint(repack(subsets, from_api=True)))


def remembered(found: Endpoints) -> Endpoints:
    """What is worth remembering: of Endpoints that our controller manages, fingerprints instead of their subsets.

    These are compared with what should be there, and never read: a digest of 32 bytes does for 1,000 addresses.
    """
    if found.labels.get(names.ENDPOINTS_MANAGED_BY_LABEL) != names.ENDPOINTS_MANAGED_BY:
        return found
    return replace(found, subsets=None, fingerprints=fingerprints(found))
