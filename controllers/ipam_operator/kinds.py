"""What `sliceplane ipam run` lists and watches: four kinds of the cluster's and three of our own."""

from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import Raw, Struct

from api.v1alpha1.common import API_VERSION, Resource
from api.v1alpha1.service_ip_pool import ServiceIPPool
from api.v1alpha1.service_port_pool import ServicePortPool
from api.v1alpha1.service_reservation import ServiceReservation
from controllers.ipam import compiled, objects
from controllers.ipam.pools import IPPool, PortPool, Reservation
from controllers.runtime.watch import Kind

S = TypeVar("S", bound=Resource)
C = TypeVar("C")

BASE: Final = f"/apis/{API_VERSION}"


class Known(Struct, Generic[S, C], frozen=True):
    """A custom resource as its user wrote it, and as it is worked with."""

    resource: S
    compiled: C

    @property
    def namespace(self) -> str:
        """Its Namespace, "" for what has none."""
        return self.resource.metadata.namespace

    @property
    def name(self) -> str:
        """Its name."""
        return self.resource.metadata.name


class _Meta(Struct, rename="camel", gc=False):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class _WireResource(Struct, gc=False):
    metadata: _Meta
    spec: Raw = Raw(b"{}")
    status: Raw = Raw(b"{}")


class _Document(Struct):
    metadata: dict[str, Any]
    spec: Raw
    status: Raw


def _reader(model: type[S], compile_: Callable[[S], C]) -> Callable[[_WireResource], Known[S, C]]:
    """From the API's JSON to both forms; what makes no sense raises, and the reflector reports and skips it."""

    def read(wire: _WireResource) -> Known[S, C]:
        meta = msgspec.to_builtins(wire.metadata)
        # It changes with every write of the status, ours included, and nothing here reads it.
        del meta["resourceVersion"]
        document = _Document({key: value for key, value in meta.items() if value is not None}, wire.spec, wire.status)
        resource = model.model_validate_json(msgspec.json.encode(document))
        return Known(resource, compile_(resource))

    return read


KnownIPPool = Known[ServiceIPPool, IPPool]
KnownPortPool = Known[ServicePortPool, PortPool]
KnownReservation = Known[ServiceReservation, Reservation]

SERVICES: Final = Kind("Service", "/api/v1/services", objects.WireService, objects.service_from_wire)
ADDRESSES: Final = Kind(
    "IPAddress", "/apis/networking.k8s.io/v1/ipaddresses", objects.WireAddress, objects.address_from_wire
)
SERVICE_CIDRS: Final = Kind(
    "ServiceCIDR", "/apis/networking.k8s.io/v1/servicecidrs", objects.WireServiceCIDR, objects.service_cidr_from_wire
)
NAMESPACES: Final = Kind("Namespace", "/api/v1/namespaces", objects.WireNamespace, objects.namespace_from_wire)
IP_POOLS: Final = Kind(
    "ServiceIPPool", f"{BASE}/serviceippools", _WireResource, _reader(ServiceIPPool, compiled.ip_pool)
)
PORT_POOLS: Final = Kind(
    "ServicePortPool", f"{BASE}/serviceportpools", _WireResource, _reader(ServicePortPool, compiled.port_pool)
)
RESERVATIONS: Final = Kind(
    "ServiceReservation",
    f"{BASE}/servicereservations",
    _WireResource,
    _reader(ServiceReservation, compiled.reservation),
)
FOLLOWED: Final[tuple[Kind[Any], ...]] = (
    SERVICES,
    ADDRESSES,
    SERVICE_CIDRS,
    NAMESPACES,
    IP_POOLS,
    PORT_POOLS,
    RESERVATIONS,
)
