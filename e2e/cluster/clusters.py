"""A cluster as a user story sees it, whatever it is made of: this machine's processes, kind, or one that is there.

`E2E_CLUSTER` chooses: `local` (the default), `kind`, or the path of a kubeconfig.
"""

import os
from pathlib import Path
from typing import Final, Protocol

from e2e.cluster.rest import Api, Object

VARIABLE: Final = "E2E_CLUSTER"
LOCAL: Final = "local"
KIND: Final = "kind"

NAMESPACE: Final = "kube-system"
LEASE: Final = "sliceplane"
# As in production: one works, the other keeps its caches warm.
REPLICAS: Final = 2


class Unavailable(Exception):
    """This cluster cannot do what a story needs; the message says why. A reason to skip the story, not to fail it."""


class Cluster(Protocol):
    """What stories need of a cluster: nodes that run Pods, real or simulated, and KCM's controllers of Deployments."""

    @property
    def api(self) -> Api:
        """The API server, with every right."""

    @property
    def image(self) -> str:
        """An image that the nodes can run; it has `sleep`."""

    def serve_with_sliceplane(self) -> None:
        """Let Sliceplane serve, with REPLICAS ready replicas, and KCM without our controllers.

        Does nothing when it is so; returns when it is.
        """

    def serve_with_kcm(self) -> None:
        """Let KCM serve with all of its controllers, and nothing of Sliceplane run. Raises Unavailable."""

    def kill_leader(self) -> None:
        """Take the life of the replica that leads, with no chance to give its Lease up. Raises Unavailable."""

    def look_up(self, name: str, record: str) -> list[str]:
        """The addresses that the cluster's DNS has for a name, sorted; `record` is "A" or "AAAA".

        Raises LookupError when it does not answer, Unavailable when there is none.
        """


def chosen() -> str:
    """What `E2E_CLUSTER` says: LOCAL, KIND, or the path of a kubeconfig. Raises ValueError when it is none of these."""
    wanted = os.environ.get(VARIABLE) or LOCAL
    if wanted in (LOCAL, KIND):
        return wanted
    path = Path(wanted).expanduser().absolute()
    if not path.is_file():
        raise ValueError(f"{VARIABLE}={wanted}: neither {LOCAL!r} nor {KIND!r} nor the path of a kubeconfig")
    return str(path)


def holder(api: Api) -> str:
    """The identity of the replica that leads. Raises ApiError while there is no Lease, LookupError while none does."""
    spec: Object = api.read("Lease", LEASE, NAMESPACE)["spec"]
    identity = spec.get("holderIdentity")
    if not identity:
        raise LookupError("no replica leads")
    return str(identity)
