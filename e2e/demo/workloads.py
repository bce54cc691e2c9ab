"""What the demo deploys: Services of every common shape, and the Pods behind them."""

from dataclasses import dataclass

from e2e.cluster.rest import Object, Objects

NAMESPACE = "demo"
VERSION_LABEL = "version"

# What the odd Pod says its IPv4 address is: link-local, which no EndpointSlice may hold.
ODD_ADDRESS = "169.254.10.1"


@dataclass(frozen=True, slots=True)
class Shape:
    """A Service of the demo: its Pods have the label app=`name`."""

    name: str
    about: str
    families: tuple[str, ...]
    pods: int
    headless: bool = False
    target: str | int = "http"
    mode: str = ""
    distribution: str = ""


DUAL = ("IPv4", "IPv6")
SHAPES = (
    Shape("web", "dual stack, Auto hints", DUAL, 6, mode="Auto"),
    Shape("db", "headless, hostnames", ("IPv4",), 3, headless=True),
    Shape("api", "two ports, same zone", ("IPv4",), 6, distribution="PreferSameZone"),
    Shape("big", "dual stack, 250 Pods", DUAL, 250, target=8080),
    Shape("none", "selects nothing", DUAL, 0),
    Shape("odd", "a Pod's IP is wrong", DUAL, 2),
)


def namespace() -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}


def services() -> Objects:
    return [_service(shape) for shape in SHAPES]


def workloads() -> Objects:
    """The Deployments and the StatefulSet behind the Services."""
    pods = {shape.name: shape.pods for shape in SHAPES}
    return [
        _workload("Deployment", "web", "web", pods["web"], 8080),
        _workload("StatefulSet", "db", "db", pods["db"], 8080, serviceName="db"),
        _workload("Deployment", "api-old", "api", pods["api"] // 2, 8080),
        _workload("Deployment", "api-new", "api", pods["api"] // 2, 9090),
        _workload("Deployment", "big", "big", pods["big"], 8080),
        _workload("Deployment", "odd", "odd", pods["odd"], 8080),
    ]


def _service(shape: Shape) -> Object:
    policy = "RequireDualStack" if len(shape.families) > 1 else "SingleStack"
    spec: Object = {
        "selector": {"app": shape.name},
        "ipFamilyPolicy": policy,
        "ipFamilies": list(shape.families),
        "ports": [{"name": "http", "port": 80, "targetPort": shape.target}],
    }
    if shape.headless:
        spec["clusterIP"] = "None"
    if shape.distribution:
        spec["trafficDistribution"] = shape.distribution
    metadata: Object = {"name": shape.name, "namespace": NAMESPACE}
    if shape.mode:
        metadata["annotations"] = {"service.kubernetes.io/topology-mode": shape.mode}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def _workload(kind: str, name: str, app: str, replicas: int, port: int, **spec: object) -> Object:
    labels = {"app": app, "workload": name}
    container = {"name": "main", "image": "example.org/server:1", "ports": [{"name": "http", "containerPort": port}]}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": {**labels, VERSION_LABEL: "v1"}},
                "spec": {"containers": [container]},
            },
            **spec,
        },
    }
