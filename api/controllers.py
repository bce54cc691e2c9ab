"""The names that `--controllers` takes: our controllers under KCM's names, and KCM's others (1.37)."""

from typing import Final

# Our controllers, by KCM's name, and the alias that KCM knows them by.
ENDPOINTSLICE: Final = "endpointslice-controller"
ENDPOINTS: Final = "endpoints-controller"
MIRRORING: Final = "endpointslice-mirroring-controller"
CONTROLLERS: Final = {ENDPOINTS: "endpoint", ENDPOINTSLICE: "endpointslice", MIRRORING: "endpointslicemirroring"}

_KCM: Final = """
bootstrap-signer certificatesigningrequest-approving certificatesigningrequest-cleaner certificatesigningrequest-signing
clusterrole-aggregation cronjob daemonset deployment device-taint-eviction disruption endpoints endpointslice
endpointslice-mirroring ephemeral-volume garbage-collector horizontal-pod-autoscaler job
kube-apiserver-serving-clustertrustbundle-publisher legacy-serviceaccount-token-cleaner namespace node-ipam
node-lifecycle persistentvolume-attach-detach persistentvolume-binder persistentvolume-expander
persistentvolume-protection persistentvolumeclaim-protection pod-garbage-collector podcertificaterequest-cleaner
podgroup-protection replicaset replicationcontroller resourceclaim resourcepoolstatusrequest resourcequota
root-ca-certificate-publisher selinux-warning service-cidr serviceaccount serviceaccount-token statefulset
storage-version-migrator storageversion-garbage-collector taint-eviction token-cleaner ttl ttl-after-finished
validatingadmissionpolicy-status volumeattributesclass-protection
cloud-node-lifecycle node-route service-lb
"""
KCM_CONTROLLERS: Final = frozenset(f"{name}-controller" for name in _KCM.split())


class UnknownController(ValueError):
    """`--controllers` names what neither we nor KCM know."""


def chosen(text: str) -> set[str]:
    """The controllers that `--controllers` asks for, by KCM's syntax: the first item that names one decides, then `*`.

    Controllers that only KCM has may be named, so that its flag can be used as it is. Raises UnknownController.
    """
    items = [part.strip() for part in text.split(",") if part.strip()]
    known = KCM_CONTROLLERS | CONTROLLERS.keys() | set(CONTROLLERS.values())
    unknown = [item for item in items if item != "*" and item.removeprefix("-") not in known]
    if unknown:
        raise UnknownController(f"{', '.join(unknown)}: not a controller; there is: {', '.join(CONTROLLERS)}")
    return {name for name, alias in CONTROLLERS.items() if _is_on(items, name, alias)}


def _is_on(items: list[str], *names: str) -> bool:
    for item in items:
        if item.removeprefix("-") in names:
            return not item.startswith("-")
    return "*" in items
