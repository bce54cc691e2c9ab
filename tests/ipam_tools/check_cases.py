"""Clusters, manifests and what `ipam check` says to them: the table of test_check.py."""

from typing import Any

from controllers.ipam.objects import Address
from controllers.ipam.snapshot import HOLD_MANAGER
from tests.ipam_tools.builders import Object, ip_pool, manifest, port_pool, reservation, service, wanted

OWN: Object = {"select": {"namespaces": ["payments"]}, "exclusive": True}
ENFORCED: Object = {**OWN, "enforcement": "Enforce"}
POOL = ip_pool("own", "10.96.0.32/28", **ENFORCED)
FEW = ip_pool("few", "10.96.0.32/30", select={"namespaces": ["shop"]}, enforcement="Enforce", onExhausted="Deny")
AUDITED = ip_pool("own", "10.96.0.32/28", **OWN)
PORTS = port_pool("ports", 30000, 30009, **ENFORCED)
LIVE = service("shop/live", "10.96.0.5", ports=(30080,))


def node(number: int, name: str = "web", **spec: Any) -> Object:
    """A Service with a node port."""
    return wanted(name, type="NodePort", ports=[{"name": "p", "port": 80, "nodePort": number}], **spec)


def pool(name: str, *ranges: str, **spec: Any) -> Object:
    return manifest("ServiceIPPool", name, ranges=[{"cidr": each} for each in ranges], **spec)


def kept(name: str, namespace: str = "shop", **spec: Any) -> Object:
    return manifest("ServiceReservation", name, namespace, serviceName=name, **spec)


CASES: dict[str, tuple[list[object], list[Object], list[str]]] = {
    "nothing wrong": ([LIVE], [wanted(clusterIP="10.96.0.6")], []),
    "the same again": ([LIVE], [wanted("live", clusterIP="10.96.0.5")], []),
    "an address that a live Service has": (
        [LIVE],
        [wanted(clusterIP="10.96.0.5")],
        ["web: error Collision: 10.96.0.5 is held by Service shop/live"],
    ),
    "an address of another form": (
        [service("shop/live", "fd00:10:96::5")],
        [wanted(clusterIP="FD00:10:96:0::0005")],
        ["web: error Collision: fd00:10:96::5 is held by Service shop/live"],
    ),
    "a node port that a live Service has": (
        [LIVE],
        [node(30080)],
        ["web: error Collision: node port 30080 is held by Service shop/live"],
    ),
    "one address twice": (
        [],
        [wanted("a", clusterIP="10.96.0.5"), wanted("b", clusterIP="10.96.0.5")],
        ["b: error Collision: 10.96.0.5 is also named by Service shop/a at m.yaml:1"],
    ),
    "TCP and UDP of one Service share a node port": (
        [],
        [
            wanted(
                type="NodePort",
                ports=[
                    {"name": "t", "port": 53, "nodePort": 30053},
                    {"name": "u", "port": 53, "protocol": "UDP", "nodePort": 30053},
                ],
            )
        ],
        [],
    ),
    "an address of nobody's IPAddress": (
        [Address(name="10.96.0.5", labels={"ipaddress.kubernetes.io/managed-by": "somebody"})],  # type: ignore[arg-type]
        [wanted(clusterIP="10.96.0.5")],
        ["web: error Collision: 10.96.0.5 is taken by an IPAddress of somebody"],
    ),
    "an address that is held for the Service": (
        [
            reservation("shop/web", "10.96.0.5", enforcement="Hold"),
            Address(name="10.96.0.5", labels={"ipaddress.kubernetes.io/managed-by": HOLD_MANAGER}),  # type: ignore[arg-type]
        ],
        [wanted(clusterIP="10.96.0.5")],
        [],
    ),
    "out of reach": (
        [],
        [wanted("a", clusterIP="10.97.0.5"), node(40000, "b")],
        [
            "a: error OutOfReach: 10.97.0.5 is outside every ready ServiceCIDR",
            "b: error OutOfReach: node port 40000 is outside --service-node-port-range=30000-32767",
        ],
    ),
    "within a ServiceCIDR of the manifests": (
        [],
        [
            manifest("ServiceCIDR", "more", version="networking.k8s.io/v1", cidrs=["10.97.0.0/16"]),
            wanted(clusterIP="10.97.0.5"),
        ],
        [],
    ),
    "within a ServiceCIDR that a pool makes": (
        [],
        [pool("more", "10.98.0.0/24", serviceCIDR={"mode": "Create"}), wanted(clusterIP="10.98.0.5")],
        [],
    ),
    "an exclusive address": (
        [POOL],
        [wanted(clusterIP="10.96.0.33")],
        ['web: error NotEntitled: 10.96.0.33 belongs to ServiceIPPool "own", which is exclusive to namespace payments'],
    ),
    "an exclusive address of a pool that audits": (
        [AUDITED],
        [wanted(clusterIP="10.96.0.33")],
        ['web: warning WouldWarn: 10.96.0.33 belongs to ServiceIPPool "own", which is exclusive to namespace payments'],
    ),
    "an exclusive node port": (
        [PORTS],
        [node(30001)],
        [
            'web: error NotEntitled: node port 30001 belongs to ServicePortPool "ports", which is exclusive to'
            " namespace payments"
        ],
    ),
    "a pool of the manifests counts": (
        [],
        [pool("own", "10.96.0.32/28", **ENFORCED), wanted(clusterIP="10.96.0.33")],
        ['web: error NotEntitled: 10.96.0.33 belongs to ServiceIPPool "own", which is exclusive to namespace payments'],
    ),
    "reserved for another": (
        [reservation("shop/db", "10.96.0.5")],
        [wanted(clusterIP="10.96.0.5")],
        ["web: error Reserved: 10.96.0.5 is reserved for Service shop/db by a ServiceReservation"],
    ),
    "another address than the reserved one": (
        [reservation("shop/web", "10.96.0.5")],
        [wanted(clusterIP="10.96.0.6")],
        [
            "web: warning NotItsReservation: it names 10.96.0.6, but 10.96.0.5 is reserved for it by a"
            " ServiceReservation"
        ],
    ),
    "given its reservation": (
        [reservation("shop/web", "10.96.0.5")],
        [wanted()],
        ["web: info WouldGet: IPv4 address 10.96.0.5, reserved for it by a ServiceReservation"],
    ),
    "given of a pool": (
        [POOL],
        [wanted(namespace="payments")],
        ['web: info WouldGet: IPv4 address at random of 16 free in ServiceIPPool "own"'],
    ),
    "in order, and past what later ones name": (
        [ip_pool("own", "10.96.0.32/28", strategy="Sequential")],
        [wanted("a"), wanted("b"), wanted("c", clusterIP="10.96.0.32")],
        [
            'a: info WouldGet: IPv4 address 10.96.0.33 of ServiceIPPool "own"',
            'b: info WouldGet: IPv4 address 10.96.0.34 of ServiceIPPool "own"',
        ],
    ),
    "a pool that its Services use up": (
        [FEW, service("shop/live", "10.96.0.32"), service("shop/other", "10.96.0.33"), service("shop/x", "10.96.0.34")],
        [wanted("a"), wanted("b")],
        [
            'a: info WouldGet: IPv4 address at random of 1 free in ServiceIPPool "few"',
            'b: error PoolExhausted: ServiceIPPool "few" has no free IPv4 address: of its 4, most are held by'
            " namespace shop 4",
        ],
    ),
    "a quota": (
        [ip_pool("own", "10.96.0.32/28", quota={"perNamespace": 1}, enforcement="Enforce")],
        [wanted("a"), wanted("b"), wanted("c", namespace="payments")],
        [
            'a: info WouldGet: IPv4 address at random of 16 free in ServiceIPPool "own"',
            'b: error QuotaExceeded: namespace shop holds 1 of the 1 numbers that ServiceIPPool "own" allows a'
            " namespace (spec.quota.perNamespace)",
            'c: info WouldGet: IPv4 address at random of 15 free in ServiceIPPool "own"',
        ],
    ),
    "kube-system is exempt, but no collision is": (
        [POOL, LIVE],
        [wanted("a", "kube-system", clusterIP="10.96.0.33"), wanted("b", "kube-system", clusterIP="10.96.0.5")],
        ["b: error Collision: 10.96.0.5 is held by Service shop/live"],
    ),
    "a pool over another": (
        [POOL],
        [pool("new", "10.96.0.40/29")],
        [
            'new: error PoolRefused: 10.96.0.40-10.96.0.47 also belongs to ServiceIPPool "own": give each address one'
            " pool"
        ],
    ),
    "two pools of the manifests, told once": (
        [],
        [pool("a", "10.96.0.32/28"), pool("b", "10.96.0.32/28")],
        ['b: error PoolRefused: 10.96.0.32-10.96.0.47 also belongs to ServiceIPPool "a": give each address one pool'],
    ),
    "a pool that makes room for another": (
        [POOL],
        [pool("new", "10.96.0.40/29"), pool("own", "10.96.0.32/29", **ENFORCED)],
        [],
    ),
    "a pool out of reach": (
        [],
        [pool("new", "10.97.0.0/24")],
        [
            "new: error PoolRefused: 10.97.0.0-10.97.0.255 is in no ready ServiceCIDR, so no Service can have it:"
            " create a ServiceCIDR first, or set serviceCIDR.mode to Create, or exclude it"
        ],
    ),
    "a pool that leaves a Service behind": (
        [POOL, service("payments/web", "10.96.0.33")],
        [pool("own", "10.96.0.40/29", **ENFORCED)],
        [
            "own: error PoolRefused: in use by Service payments/web (10.96.0.33): release them first, or annotate the"
            " pool with ipam.sliceplane.dev/force=true"
        ],
    ),
    "ports out of range": (
        [],
        [manifest("ServicePortPool", "new", ranges=[{"from": 32760, "to": 32770}])],
        [
            "new: error PoolRefused: ports 32768-32770 are outside the node port range 30000-32767, which is given by"
            " --service-node-port-range to the API server and to us"
        ],
    ),
    "a reservation of what another has": (
        [LIVE],
        [kept("web", addresses=["10.96.0.5"])],
        ["web: error ReservationRefused: 10.96.0.5 is held by Service shop/live"],
    ),
    "two reservations of one address": (
        [],
        [kept("a", addresses=["10.96.0.5"]), kept("b", addresses=["10.96.0.5"])],
        ["b: error ReservationRefused: 10.96.0.5 is reserved for Service shop/a already"],
    ),
    "a reservation that passes an address on": (
        [reservation("shop/a", "10.96.0.5")],
        [kept("a", addresses=["10.96.0.6"]), kept("b", addresses=["10.96.0.5"])],
        [],
    ),
    "what a reservation has adopted stays reserved": (
        [reservation("shop/a", adopt=True, status={"phase": "Held", "addresses": ["10.96.0.5"]})],
        [kept("a", adopt=True), wanted("b", clusterIP="10.96.0.5")],
        ["b: error Reserved: 10.96.0.5 is reserved for Service shop/a by a ServiceReservation"],
    ),
    "a reservation's Service stays": (
        [reservation("shop/a", "10.96.0.5")],
        [manifest("ServiceReservation", "a", "shop", serviceName="b", addresses=["10.96.0.5"])],
        [
            "a: error Invalid: spec.serviceName: cannot be changed from a: delete the reservation first",
        ],
    ),
    "given again": (
        [],
        [wanted(clusterIP="10.96.0.5"), wanted(clusterIP="10.96.0.6")],
        ["web: warning Repeated: it is given again at m.yaml:12, which counts"],
    ),
    "of our kinds, every error": (
        [],
        [pool("new", "10.96.0.33/28", exclusiv=True, priority="high")],
        [
            "new: error Invalid: spec.exclusiv: unknown field; there are: cooldown, enforcement, exclude, exclusive,"
            " onExhausted, priority, quota, ranges, select, serviceCIDR, sticky, strategy, thresholds, use",
            'new: error Invalid: spec.priority: expected an integer, got "high"',
        ],
    ),
    "of our kinds, the rules": (
        [],
        [pool("new", "10.96.0.33/28")],
        ["new: error Invalid: spec.ranges[0]: cidr has bits behind its prefix: give the network's address"],
    ),
    "of our group, but no kind of it": (
        [],
        [
            manifest("ServiceIPPools", "a"),
            manifest("ServiceIPPool", "b", version="ipam.sliceplane.dev/v1"),
        ],
        [
            "a: error Invalid: there is no kind ServiceIPPools in ipam.sliceplane.dev/v1alpha1;"
            " ipam.sliceplane.dev/v1alpha1 has ServiceIPPool, ServicePortPool, ServiceReservation",
            "b: error Invalid: there is no kind ServiceIPPool in ipam.sliceplane.dev/v1;"
            " ipam.sliceplane.dev/v1alpha1 has ServiceIPPool, ServicePortPool, ServiceReservation",
        ],
    ),
    "names that are none": (
        [],
        [pool("a\n", "10.96.0.32/28"), wanted("a.b"), wanted("b", "Shop")],
        [
            'a\n: error Invalid: metadata.name: "a\\n" is no name: it takes lower-case letters, digits and hyphens,'
            " with dots between labels",
            'a.b: error Invalid: metadata.name: "a.b" is no name: it takes lower-case letters, digits and hyphens',
            'b: error Invalid: metadata.namespace: "Shop" is no name: it takes lower-case letters, digits and hyphens',
        ],
    ),
    "a Service that is none": (
        [],
        [wanted(type="NodePrt")],
        ["web: error Invalid: spec.type: invalid enum value 'NodePrt'"],
    ),
    "a node port without the type": (
        [],
        [wanted(ports=[{"port": 80, "nodePort": 30080}])],
        ["web: error Invalid: nodePort 30080 may not be set for a Service of type ClusterIP"],
    ),
    "a health check port that is a node port of its own": (
        [],
        [
            wanted(
                type="LoadBalancer",
                externalTrafficPolicy="Local",
                healthCheckNodePort=30003,
                ports=[{"name": "p", "port": 80, "nodePort": 30003}],
            )
        ],
        ["web: error Invalid: 30003 is a nodePort of the Service, too"],
    ),
    "two ports, one without a name": (
        [],
        [wanted(ports=[{"name": "a", "port": 80}, {"port": 81}])],
        ["web: error Invalid: a port needs a name where there are several"],
    ),
    "clusterIPs alone": (
        [],
        [wanted(clusterIPs=["10.96.0.6"])],
        ["web: error Invalid: clusterIP must be set, too, to the first of clusterIPs: 10.96.0.6"],
    ),
    "families against the policy": (
        [],
        [wanted(ipFamilyPolicy="SingleStack", ipFamilies=["IPv4", "IPv6"])],
        [
            "web: error Invalid: the API server would refuse its clusterIPs, ipFamilies and ipFamilyPolicy: they do not"
            " go together, or not with a cluster of IPv4 and IPv6, or change what must stay"
        ],
    ),
    "a ClusterIP that changes": (
        [LIVE],
        [wanted("live", clusterIP="10.96.0.6")],
        [
            "live: error Invalid: the API server would refuse its clusterIPs, ipFamilies and ipFamilyPolicy: they do"
            " not go together, or not with a cluster of IPv4 and IPv6, or change what must stay"
        ],
    ),
    "no numbers at all": (
        [POOL],
        [
            wanted("a", clusterIP="None", selector={"app": "a"}),
            manifest("Service", "b", "shop", "v1", type="ExternalName", externalName="example.com"),
        ],
        [],
    ),
}
