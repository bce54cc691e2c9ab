"""The names that `--controllers` takes: our controllers under KCM's names, and KCM's others (1.37), old ones too."""

from typing import Final

# Our controllers, by KCM's name, and the alias that KCM knows them by.
ENDPOINTSLICE: Final = "endpointslice-controller"
ENDPOINTS: Final = "endpoints-controller"
MIRRORING: Final = "endpointslice-mirroring-controller"
CONTROLLERS: Final = {ENDPOINTS: "endpoint", ENDPOINTSLICE: "endpointslice", MIRRORING: "endpointslicemirroring"}

# Without "-controller", and after "=" the name that it had before, by which KCM knows it for ever (kubeadm uses those).
_KCM: Final = """
bootstrap-signer=bootstrapsigner certificatesigningrequest-approving=csrapproving
certificatesigningrequest-cleaner=csrcleaner certificatesigningrequest-signing=csrsigning
clusterrole-aggregation=clusterrole-aggregation cronjob=cronjob daemonset=daemonset deployment=deployment
device-taint-eviction disruption=disruption endpoints=endpoint endpointslice=endpointslice
endpointslice-mirroring=endpointslicemirroring ephemeral-volume=ephemeral-volume garbage-collector=garbagecollector
horizontal-pod-autoscaler=horizontalpodautoscaling job=job kube-apiserver-serving-clustertrustbundle-publisher
legacy-serviceaccount-token-cleaner=legacy-service-account-token-cleaner namespace=namespace node-ipam=nodeipam
node-lifecycle=nodelifecycle persistentvolume-attach-detach=attachdetach persistentvolume-binder=persistentvolume-binder
persistentvolume-expander=persistentvolume-expander persistentvolume-protection=pv-protection
persistentvolumeclaim-protection=pvc-protection pod-garbage-collector=podgc podcertificaterequest-cleaner
podgroup-protection replicaset=replicaset replicationcontroller=replicationcontroller
resourceclaim=resource-claim-controller resourcepoolstatusrequest resourcequota=resourcequota
root-ca-certificate-publisher=root-ca-cert-publisher selinux-warning service-cidr serviceaccount=serviceaccount
serviceaccount-token=serviceaccount-token statefulset=statefulset storage-version-migrator=svm
storageversion-garbage-collector=storage-version-gc taint-eviction token-cleaner=tokencleaner ttl=ttl
ttl-after-finished=ttl-after-finished validatingadmissionpolicy-status volumeattributesclass-protection
"""
# Of older KCMs, which may still be there when Sliceplane comes; 1.37 refuses them.
_OLDER: Final = {
    "cloud-node-lifecycle-controller",
    "cloud-node-lifecycle",
    "node-route-controller",
    "route",
    "service-lb-controller",
    "service",
}
_PAIRS: Final = [each.partition("=") for each in _KCM.split()]
KCM_CONTROLLERS: Final = frozenset(f"{name}-controller" for name, _, _ in _PAIRS)
KCM_ALIASES: Final = {alias: f"{name}-controller" for name, _, alias in _PAIRS if alias}


class UnknownController(ValueError):
    """`--controllers` names what neither we nor KCM know."""


def chosen(text: str) -> set[str]:
    """The controllers that `--controllers` asks for, by KCM's syntax: the first item that names one decides, then `*`.

    Controllers that only KCM has may be named, so that its flag can be used as it is. Raises UnknownController.
    """
    items = [part.strip() for part in text.split(",") if part.strip()]
    known = KCM_CONTROLLERS | KCM_ALIASES.keys() | _OLDER
    unknown = [item for item in items if item != "*" and item.removeprefix("-") not in known]
    if unknown:
        raise UnknownController(f"{', '.join(unknown)}: not a controller; there is: {', '.join(CONTROLLERS)}")
    return {name for name, alias in CONTROLLERS.items() if _is_on(items, name, alias)}


def _is_on(items: list[str], *names: str) -> bool:
    for item in items:
        if item.removeprefix("-") in names:
            return not item.startswith("-")
    return "*" in items
