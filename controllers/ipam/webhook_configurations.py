"""The webhook configurations: which requests the API server asks us about, and that it goes on without us (IP-63).

Ours and not kopf's, which cannot say match conditions, selectors, re-invocation or a timeout (IP-66).
"""

from base64 import b64encode
from typing import Any, Final

from msgspec import Struct

from api.v1alpha1.common import GROUP, VERSION
from api.v1alpha1.service_ip_pool import ServiceIPPool
from api.v1alpha1.service_port_pool import ServicePortPool
from api.v1alpha1.service_reservation import ServiceReservation
from controllers.ipam import guard_cel as cel
from controllers.ipam.guard_rules import Rules
from controllers.ipam.guards import ADDRESSES, API_VERSION, MANAGER, address_hooks, elsewhere, metadata

Object = dict[str, Any]

STRICT_LABEL: Final = "ipam.sliceplane.dev/strict"
KINDS: Final = (ServiceIPPool.PLURAL, ServicePortPool.PLURAL, ServiceReservation.PLURAL)
TIMEOUT_SECONDS: Final = 2

# What the mutating hook has nothing to do with (IP-67, IP-68). A spec that stays as it is needs no number.
_CONCERNED: Final = {
    "not-the-servers": cel.NOT_THE_SERVERS,
    "not-external": "object.spec.type != 'ExternalName'",
    "not-headless": "!(has(object.spec.clusterIP) && object.spec.clusterIP == 'None')"
    " && !(has(object.spec.clusterIPs) && 'None' in object.spec.clusterIPs)",
    "not-going": "!has(object.metadata.deletionTimestamp)",
    "spec-changes": "oldObject == null || object.spec != oldObject.spec",
}


class WebhookClient(Struct, frozen=True, kw_only=True):
    """How the API server reaches us: a Service in the cluster with a port and a path before the hooks' own, or, when
    `url` is given (without a slash at its end), that. `ca_bundle` is what our certificate is checked with, PEM."""

    namespace: str = ""
    name: str = ""
    port: int = 443
    prefix: str = ""
    url: str = ""
    ca_bundle: bytes = b""

    def config(self, path: str) -> Object:
        """clientConfig for a path, such as "/services"."""
        service = {"namespace": self.namespace, "name": self.name, "port": self.port, "path": f"{self.prefix}{path}"}
        where: Object = {"url": f"{self.url}{path}"} if self.url else {"service": service}
        return where | ({"caBundle": b64encode(self.ca_bundle).decode()} if self.ca_bundle else {})


class Paths(Struct, frozen=True, kw_only=True):
    """Where each hook is served; `resources` are those of our own kinds, by plural name."""

    services: str = "/services"
    ipaddresses: str = "/ipaddresses"
    resources: str = "/{plural}"


PATHS: Final = Paths()


def webhooks(rules: Rules, client: WebhookClient, paths: Paths = PATHS) -> list[Object]:
    """All configurations. Same rules, same objects.

    Each webhook on IPAddresses is in one of its own: all together could be more than etcd takes of one object.
    """
    services = client.config(paths.services)
    mutating = [
        _services("services", services, rules, strict=False),
        _services("strict.services", services, rules, strict=True),
    ]
    return [
        _configuration("MutatingWebhookConfiguration", MANAGER, mutating),
        _configuration("ValidatingWebhookConfiguration", MANAGER, _resources(client, paths)),
        *_addresses(rules, client.config(paths.ipaddresses)),
    ]


def _services(name: str, client: Object, rules: Rules, *, strict: bool) -> Object:
    """Services that need a number. Namespaces that are labelled strict have rather no Service than one without us."""
    selected = elsewhere(rules.facts.exempt).get("matchExpressions", [])
    label = {"key": STRICT_LABEL, "operator": "In" if strict else "NotIn", "values": ["true"]}
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["services"],
        "scope": "Namespaced",
    }
    return {
        **_hook(name, client, rule, "Fail" if strict else "Ignore"),
        "sideEffects": "NoneOnDryRun",
        "reinvocationPolicy": "IfNeeded",
        "namespaceSelector": {"matchExpressions": [*selected, label]},
        "matchConditions": [{"name": each, "expression": text} for each, text in _CONCERNED.items()],
    }


def _addresses(rules: Rules, client: Object) -> list[Object]:
    """Creations of IPAddresses that a policy would refuse: we say AlreadyExists, and dynamic picks go on (IP-61).

    As mutating webhooks, although they change nothing: the API server evaluates validating policies before it calls
    validating webhooks, and so would be refused by ours before it asks us.
    Always Ignore, never Fail (IP-63). The match conditions are the policies' own: who is entitled costs no call.
    """
    found = []
    for guard in address_hooks(rules):
        name = guard.name.removeprefix(f"{MANAGER}-")
        hook = {**_hook(name, client, ADDRESSES, "Ignore"), "matchConditions": guard.conditions}
        found.append(_configuration("MutatingWebhookConfiguration", guard.name, [hook]))
    return found


def _resources(client: WebhookClient, paths: Paths) -> list[Object]:
    """Writes of our own kinds: what CEL in their schemas cannot see."""
    found = []
    for plural in KINDS:
        rule = {
            "apiGroups": [GROUP],
            "apiVersions": [VERSION],
            "operations": ["CREATE", "UPDATE", "DELETE"],
            "resources": [plural],
            "scope": "*",
        }
        found.append(_hook(plural, client.config(paths.resources.format(plural=plural)), rule, "Ignore"))
    return found


def _hook(name: str, client: Object, rule: Object, failure: str) -> Object:
    return {
        "name": f"{name}.{GROUP}",
        "clientConfig": client,
        "rules": [rule],
        "failurePolicy": failure,
        "matchPolicy": "Equivalent",
        "sideEffects": "None",
        "timeoutSeconds": TIMEOUT_SECONDS,
        "admissionReviewVersions": ["v1"],
    }


def _configuration(kind: str, name: str, hooks: list[Object]) -> Object:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata(name), "webhooks": hooks}
