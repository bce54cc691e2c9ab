"""No right of config/ipam is missing, and none superfluous: a process that has none is given what it is refused.

A right is granted only when the API server has refused it to a process that had all those before. What it has in the
end, able to do all that it does, must be what ships.
"""

import re
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from e2e.cluster.fixtures import unavailable
from e2e.cluster.ipam import crds, ip_pool, rights
from e2e.cluster.local import ControlPlane
from e2e.cluster.process import Process, free_port
from e2e.cluster.rest import Api, ApiError, Object
from e2e.cluster.toolchain import BuildError

pytestmark = pytest.mark.server

NAMESPACE = "kube-system"
TEAM = "payments"
USER = "grows"
# With this much time after the last refusal, nothing more is going to be refused.
PATIENCE = 60.0
PAUSE = 0.5
RBAC = "rbac.authorization.k8s.io"
GUARDS = "admissionregistration.k8s.io/v1"
STALE = {"name": "stale", "labels": {"app.kubernetes.io/managed-by": "sliceplane-ipam"}}
# In the log's values quotes are escaped.
REFUSED = re.compile(
    r'(?: \\*"(?P<name>[^"\\]+)\\*")? is forbidden: User \\*"grows\\*" cannot (?P<verb>\w+)'
    r' resource \\*"(?P<resource>[\w/]+)\\*" in API group \\*"(?P<group>[\w.]*)\\*"'
    r' (?:at the cluster scope|in the namespace \\*"(?P<namespace>[\w-]+)\\*")'
)


class Right(NamedTuple):
    """One verb on one resource. `namespace` and `name` are "" where the right is not limited to one."""

    namespace: str
    group: str
    resource: str
    verb: str
    name: str = ""


def shipped() -> set[Right]:
    """All that config/ipam grants."""
    return {
        Right(role["metadata"].get("namespace", ""), group, resource, verb, name)
        for role in rights()
        for rule in role.get("rules", ())
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", ("",))
    }


def refused(log: str) -> set[Right]:
    """All that a log tells of being refused, each as it ships if it does."""
    known, found = shipped(), set()
    for match in REFUSED.finditer(log):
        namespace, name = match["namespace"] or "", match["name"] or ""
        exact = (match["group"], match["resource"], match["verb"])
        limited = [Right(ns, *exact, each) for ns in ("", namespace) for each in ("", name)]
        found.add(next((each for each in limited if each in known), limited[-1]))
    return found


def granted(some: Collection[Right]) -> list[Object]:
    """A role in the cluster and one in the namespace, with their bindings."""
    made: list[Object] = []
    for kind, namespace in (("ClusterRole", ""), ("Role", NAMESPACE)):
        meta = {"name": USER} | ({"namespace": namespace} if namespace else {})
        rules = [_rule(each) for each in sorted(some) if each.namespace == namespace]
        ref = {"apiGroup": RBAC, "kind": kind, "name": USER}
        subject = {"kind": "User", "apiGroup": RBAC, "name": USER}
        head: Object = {"apiVersion": f"{RBAC}/v1", "metadata": meta}
        made += [
            {**head, "kind": kind, "rules": rules},
            {**head, "kind": f"{kind}Binding", "roleRef": ref, "subjects": [subject]},
        ]
    return made


def _rule(right: Right) -> Object:
    rule: Object = {"apiGroups": [right.group], "resources": [right.resource], "verbs": [right.verb]}
    return rule | ({"resourceNames": [right.name]} if right.name else {})


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    try:
        with ControlPlane() as made:
            yield made
    except BuildError as error:
        unavailable(error)


@contextmanager
def _running(plane: ControlPlane, port: int) -> Iterator[Process]:
    serving = plane.serving
    argv = [
        *(sys.executable, "-m", "controllers", "ipam", "run", f"--kubeconfig={plane.kubeconfig(USER)}"),
        *("--metrics-bind-address=0", f"--webhook-bind-address=127.0.0.1:{port}"),
        *(f"--webhook-url=https://127.0.0.1:{port}", f"--webhook-ca-file={plane.ca_file}"),
        *(f"--webhook-cert-file={serving.cert}", f"--webhook-key-file={serving.key}"),
        *("--repair=on", "--audit-period=1s", "--leader-elect-retry-period=300ms", "--v=4"),
    ]
    root = str(Path(__file__).parents[2])
    process = plane.spawn(plane.fresh_name("grows"), argv, {"PYTHONPATH": root})
    try:
        yield process
    finally:
        process.kill()


def _everyday(api: Api) -> None:
    """What teams and their clusters do, once."""
    names = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": each}} for each in (NAMESPACE, TEAM)]
    api.apply([*names, *crds()])
    select = {"namespaces": [TEAM]}
    kept = {"select": select, "exclusive": True, "enforcement": "Enforce"}
    ports = {"ranges": [{"from": 30000, "to": 30010}], **kept}
    sticky = {"mode": "ByName", "ttl": "1s"}
    _applied(api, ip_pool("kept", "10.96.0.32/28", "fd00:10:96::20/124", sticky=sticky, **kept))
    _applied(api, ip_pool("watched", "10.96.8.0/28", select={"namespaces": ["nobody"]}))
    _applied(api, {**ip_pool("ports"), "kind": "ServicePortPool", "spec": ports})
    _applied(api, _reservation("held", "10.96.9.9"))
    _applied(api, _service("steady"), _service("watched", clusterIP="10.96.8.5"))


def _turn(api: Api, number: int) -> None:
    """What comes and goes; again and again, until it has been answered."""
    once = number % 8 < 4
    with suppress(ApiError):
        _deleted(api, "IPAddress", api.read("Service", "steady", TEAM)["spec"]["clusterIP"])
    # A finding that comes again is the same Event again.
    _patched(api, "ServiceIPPool", "watched", {"spec": {"exclusive": once}})
    if once:
        created = ip_pool("created", "172.20.0.0/28", select={"namespaces": ["nobody"]}, serviceCIDR={"mode": "Create"})
        _applied(api, created, _service("short"), *_stale())
        # The hold of a Service that was an alias makes way when it gets an address.
        _applied(api, _service("held", type="ExternalName", externalName="example.com"), _service("held"))
    else:
        _deleted(api, "ServiceIPPool", "created")
        _deleted(api, "Service", "short", TEAM)
        _deleted(api, "Service", "held", TEAM)


def _service(name: str, **spec: Any) -> Object:
    ports = [{"name": "web", "port": 80}]
    more = {"type": "NodePort", "ports": ports, "ipFamilyPolicy": "PreferDualStack"} | spec
    if spec.get("externalName"):
        del more["ipFamilyPolicy"]
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": TEAM}, "spec": more}


def _reservation(service: str, address: str) -> Object:
    spec = {"serviceName": service, "addresses": [address], "enforcement": "Hold"}
    meta = {"name": service, "namespace": TEAM}
    return {"apiVersion": "ipam.sliceplane.dev/v1alpha1", "kind": "ServiceReservation", "metadata": meta, "spec": spec}


def _stale() -> list[Object]:
    """What an earlier version might have left behind: to be found by its label, and to be removed."""
    rule = {"apiGroups": ["example.com"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["none"]}
    judged: Object = {"matchConstraints": {"resourceRules": [rule]}}
    apply = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{}"}}
    specs: dict[str, Object] = {
        "ValidatingAdmissionPolicy": {"spec": {**judged, "validations": [{"expression": "true"}]}},
        "ValidatingAdmissionPolicyBinding": {"spec": {"policyName": "none", "validationActions": ["Deny"]}},
        "MutatingAdmissionPolicy": {"spec": {**judged, "mutations": [apply], "reinvocationPolicy": "Never"}},
        "MutatingAdmissionPolicyBinding": {"spec": {"policyName": "none"}},
        "ValidatingWebhookConfiguration": {},
        "MutatingWebhookConfiguration": {},
    }
    return [{"apiVersion": GUARDS, "kind": kind, "metadata": STALE, **more} for kind, more in specs.items()]


def _applied(api: Api, *objects: Object) -> None:
    for each in objects:
        with suppress(ApiError, LookupError):
            api.apply([each])


def _deleted(api: Api, kind: str, name: str, namespace: str | None = None) -> None:
    with suppress(ApiError):
        api.delete(kind, name, namespace)


def _patched(api: Api, kind: str, name: str, body: Object) -> None:
    with suppress(ApiError):
        api.patch(kind, name, body)


def test_rights_that_are_needed_are_those_that_ship(plane: ControlPlane) -> None:
    api, port = plane.client(), free_port()
    ours: set[Right] = set()
    until, number = time.monotonic() + PATIENCE, 0
    logs = ""
    while ours != shipped() and time.monotonic() < until:
        with _running(plane, port) as process:
            while process.poll() is None and ours != shipped() and time.monotonic() < until:
                if number % 8 == 0:
                    _everyday(api)
                _turn(api, number)
                number += 1
                more = refused(process.log.read_text()) - ours
                assert more <= shipped(), f"config/ipam/rbac.yaml lacks {sorted(more - shipped())}"
                if more:
                    ours |= more
                    api.apply(granted(ours))
                    until = time.monotonic() + PATIENCE
                time.sleep(PAUSE)
            logs = process.tail(20)
    assert sorted(shipped() - ours) == [], f"nobody is refused these. The log ends with:\n{logs}"
