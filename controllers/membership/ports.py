"""Ports of a Service, resolved for one Pod, in the order in which they are written (ES-47 ... ES-51, section 15)."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from controllers.model.objects import ContainerPort, EndpointPort, Pod, Service, ServicePort

_FNV_OFFSET: Final = 0x6C62272E07BB014262B821756295C58D
_FNV_PRIME: Final = (1 << 88) + 0x13B
_MASK: Final = (1 << 128) - 1


def fnv1a_128(text: str) -> str:
    """FNV-1a with 128 bits over the UTF-8 text, as 32 hexadecimal digits (ES-138)."""
    value = _FNV_OFFSET
    for byte in text.encode():
        value = ((value ^ byte) * _FNV_PRIME) & _MASK
    return f"{value:032x}"


def _field(value: str | int | None) -> str:
    return "<nil>" if value is None else str(value)


@lru_cache(maxsize=65_536)
def port_hash(port: EndpointPort) -> str:
    """What ports are ordered by: nothing but this order of the hash is visible outside (ES-139, ES-141)."""
    return fnv1a_128(
        f"(v1.EndpointPort){{Name:(*string){_field(port.name)} Protocol:(*v1.Protocol){_field(port.protocol)} "
        f"Port:(*int32){_field(port.port)} AppProtocol:(*string){_field(port.app_protocol)}}}"
    )


def group_key(ports: Iterable[EndpointPort]) -> tuple[EndpointPort, ...]:
    """The set of ports that a slice is about, in canonical order: slices with an equal key are one group (ES-50)."""
    return tuple(sorted(ports, key=port_hash))


def _container_port(pod: Pod, name: str, protocol: str) -> ContainerPort | None:
    for port in pod.ports:
        if port.name == name and port.protocol == protocol:
            return port
    return None


def _resolve(port: ServicePort, pod: Pod) -> EndpointPort | None:
    if isinstance(port.target, int):
        number = port.target
    else:
        found = _container_port(pod, port.target, port.protocol)
        if found is None:
            return None
        number = found.number
    return EndpointPort(port.name, port.protocol, number, port.app_protocol)


class Resolver:
    """Resolves a Service's ports for its Pods; Pods with the same named ports share one answer."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._known: dict[tuple[ContainerPort, ...], tuple[EndpointPort, ...]] = {}
        named = any(isinstance(port.target, str) for port in service.ports)
        self._last_ports: tuple[ContainerPort, ...] | None = None
        self._last: tuple[EndpointPort, ...] = ()
        self._same_for_all = None if named else self._group(Pod(namespace="", name=""))

    def group(self, pod: Pod) -> tuple[EndpointPort, ...]:
        """The Pod's group key; a port that the Pod does not have is dropped, and a Pod may have none at all (ES-48)."""
        if self._same_for_all is not None:
            return self._same_for_all
        # Replicas share their ports: most often they are the very same as before, and need not be hashed.
        if pod.ports is not self._last_ports:
            group = self._known.get(pod.ports)
            if group is None:
                group = self._known[pod.ports] = self._group(pod)
            self._last_ports, self._last = pod.ports, group
        return self._last

    def _group(self, pod: Pod) -> tuple[EndpointPort, ...]:
        resolved = (_resolve(port, pod) for port in self._service.ports)
        return group_key(port for port in resolved if port is not None)
