"""The generated guards on a real API server: the objects that tests make, and a webhook to be asked."""

import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from controllers.ipam.guard_rules import Facts
from controllers.ipam.objects import Namespace
from controllers.ipam.pools import IPPool, LabelSelector, PortPool, Requirement, Reservation, Select
from controllers.ipam.ranges import Span, Spans, addresses_of, network
from controllers.ipam.webhook_configurations import WebhookClient
from controllers.model.objects import Labels
from e2e.cluster.certs import Authority
from e2e.cluster.rest import Api, ApiError, Object
from tests.shell.waiting import eventually

US = "system:serviceaccount:sliceplane-system:sliceplane-ipam"
NAMESPACES = ("payments", "shop", "old", "kube-system")
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
ADDRESSES = "/apis/networking.k8s.io/v1/ipaddresses"
PLURALS = {
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
    "MutatingAdmissionPolicy": "mutatingadmissionpolicies",
    "MutatingAdmissionPolicyBinding": "mutatingadmissionpolicybindings",
    "MutatingWebhookConfiguration": "mutatingwebhookconfigurations",
    "ValidatingWebhookConfiguration": "validatingwebhookconfigurations",
}
OURS = "app.kubernetes.io/managed-by=sliceplane-ipam"
GOLD = LabelSelector(Labels(tier="gold"), (Requirement("stage", "NotIn", ("test", "lab")), Requirement("v", "Exists")))


def pool(name: str, *ranges: str, **select: Any) -> IPPool:
    addresses = addresses_of(network(each) for each in ranges)
    return IPPool(name=name, exclusive=True, enforced=True, addresses=addresses, select=Select(**select))


def reservation(service: str, *addresses: str, **more: Any) -> Reservation:
    namespace, _, name = service.partition("/")
    return Reservation(namespace=namespace, name=name, service_name=name, addresses=addresses, **more)


PAY = pool("pay", "10.96.1.0/28", "10.96.1.32/27", "fd00:10:96::100/120", namespaces=frozenset({"payments"}))
FACTS = Facts(
    ip_pools=(
        PAY,
        # It overlaps the other: whoever one of them admits may use what both have.
        pool("gold", "10.96.1.40/29", "10.96.2.0/27", namespaces=frozenset({"payments", "shop"}), service=GOLD),
        # Its selector admits no namespace.
        pool("nobodys", "10.96.3.240/29", namespace=LabelSelector(Labels(never="so"))),
    ),
    port_pools=(
        PortPool(
            name="ports",
            exclusive=True,
            enforced=True,
            ports=Spans([Span(30000, 30015)]),
            select=Select(frozenset({"payments"}), None, GOLD),
        ),
    ),
    reservations=(
        reservation(
            "shop/web",
            "10.96.3.7",
            "fd00:10:96::77",
            node_ports=(("http", 30100), ("https", 30101)),
            health_check_node_port=30102,
        ),
        reservation("old/gone", "10.96.3.8"),
    ),
    namespaces=tuple(map(Namespace, NAMESPACES)),
    holders={"10.96.1.3": ("old/svc", "shop/svc"), "10.96.3.8": ("shop/svc",)},
    user=US,
)


def enact(api: Api, objects: Sequence[Object]) -> None:
    """Applies what was generated, and returns when the API server goes by the policies."""
    for each in [*objects, *_CANARIES]:
        path = f"{ADMISSION}/{PLURALS[each['kind']]}/{each['metadata']['name']}"
        params = {"fieldManager": "ipam", "force": "true"}
        api.request("PATCH", path, each, params=params, content_type="application/apply-patch+yaml")
    in_force(api)


def _canary(kind: str, spec: Object) -> list[Object]:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    named = {"resourceRules": [{**rule, "resourceNames": ["canary"]}]}
    metadata = {"name": "sliceplane-ipam-zz-canary", "labels": {"app.kubernetes.io/managed-by": "sliceplane-ipam"}}
    bound: Object = {"policyName": metadata["name"]}
    bound |= {"validationActions": ["Deny"]} if kind == "ValidatingAdmissionPolicy" else {}
    specs = {kind: {**spec, "matchConstraints": named}, f"{kind}Binding": bound}
    version = "admissionregistration.k8s.io/v1"
    return [{"apiVersion": version, "kind": k, "metadata": metadata, "spec": each} for k, each in specs.items()]


# Policies of either kind come to be known in the order in which they were made: one marks what the other refuses.
_MARK = "[JSONPatch{op: 'add', path: '/metadata/labels', value: {'canary': 'yes'}}]"
_CANARIES = [
    *_canary(
        "MutatingAdmissionPolicy",
        {"reinvocationPolicy": "Never", "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": _MARK}}]},
    ),
    *_canary("ValidatingAdmissionPolicy", {"validations": [{"expression": "!has(object.metadata.labels)"}]}),
]


def address(name: str, service: str, **labels: str) -> Object:
    namespace, _, service_name = service.partition("/")
    parent = {"group": "", "resource": "services", "namespace": namespace, "name": service_name}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": {"name": name, "labels": labels},
        "spec": {"parentRef": parent},
    }


def service(key: str, labels: dict[str, str] | None = None, **spec: Any) -> Object:
    namespace, _, name = key.partition("/")
    given = {"ports": [{"port": 80, "name": "http"}], **spec}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
        "spec": given,
    }


def tried(api: Api, obj: Object) -> str:
    """What the API server says to a dry run of this creation; "" when it would do it."""
    namespace = obj["metadata"].get("namespace")
    path = f"/api/v1/namespaces/{namespace}/services" if namespace else ADDRESSES
    try:
        api.request("POST", path, obj, params={"dryRun": "All"})
    except ApiError as error:
        return str(error)
    return ""


def in_force(api: Api) -> None:
    """Returns when the API server goes by the policies: it knows those that were made last."""
    eventually(lambda: _sung(api, refused=True))


def _sung(api: Api, *, refused: bool, **labels: str) -> None:
    path, metadata = "/api/v1/namespaces/default/configmaps", {"name": "canary", "labels": labels}
    found: object = "refused"
    with contextlib.suppress(ApiError):
        made = api.request("POST", path, {"metadata": metadata}, params={"dryRun": "All"})
        found = made["metadata"].get("labels", {})
    assert found == ("refused" if refused else labels)


def repeal(api: Api) -> None:
    """Removes everything generated, and returns when it is not in force any more."""
    for plural in PLURALS.values():
        api.request("DELETE", f"{ADMISSION}/{plural}", params={"labelSelector": OURS})
    eventually(lambda: _sung(api, refused=False))
    eventually(lambda: _sung(api, refused=False, canary="yes"))


@contextlib.contextmanager
def served(folder: Path, answer: Callable[[Object], Object]) -> Iterator[WebhookClient]:
    """A webhook over TLS that answers each admission request with what `answer` makes of it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
            review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
            data = json.dumps({**review, "response": {"uid": request["uid"], **answer(request)}}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    authority = Authority(folder)
    pair = authority.serving()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"https://127.0.0.1:{server.server_port}"
        try:
            yield WebhookClient(url=url, ca_bundle=authority.ca_file.read_bytes())
        finally:
            server.shutdown()
            thread.join()
