"""The cluster of this machine: etcd, API server, KCM, CoreDNS, Sliceplane, all real; nodes and their Pods simulated."""

import re
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

import urllib3

from api.controllers import CONTROLLERS
from controllers import __version__
from e2e.cluster.clusters import REPLICAS
from e2e.cluster.dns import ask, start_coredns
from e2e.cluster.kubelets import Kubelets
from e2e.cluster.local import ControlPlane, StartError
from e2e.cluster.nodes import in_zones
from e2e.cluster.process import Process
from e2e.cluster.product import start_sliceplane
from e2e.cluster.rest import Api

# What KCM runs in any case. Not `*`: without kubelets that renew Leases, its node-lifecycle-controller would declare
# the nodes dead, and evict the Pods.
_OTHERS: Final = (
    "deployment-controller",
    "replicaset-controller",
    "disruption-controller",
    "garbage-collector-controller",
    "namespace-controller",
)
_KCM_FLAGS: Final = ("--kube-api-qps=100", "--kube-api-burst=200", "--concurrent-gc-syncs=5")
# A killed leader is followed in seconds, and a machine under load is still in time to renew.
_LEASE_FLAGS: Final = (
    "--leader-elect=true",
    "--leader-elect-lease-duration=6s",
    "--leader-elect-renew-deadline=4s",
    "--leader-elect-retry-period=1s",
)
_START_DELAY: Final = 0.2
# Long enough for an endpoint to be seen terminating although the machine stands still for some seconds; Pods with a
# shorter grace period take that.
_TERMINATION: Final = 6.0


class SimulatedCluster:
    """A `Cluster`, as a context manager: a node in each of three zones, and nobody serving yet."""

    # Nobody pulls it.
    image = f"sliceplane:{__version__}"

    def __init__(self) -> None:
        self.plane = ControlPlane()
        self._kcm: Process | None = None
        self._kcm_serves = False
        self._replicas: list[Process] = []
        self._running = ExitStack()
        self._dns_port = 0

    def __enter__(self) -> Self:
        """Raises local.StartError, build.BuildError."""
        with ExitStack() as stack:
            stack.enter_context(self.plane)
            user = self.plane.client("kubelets", ("system:masters",))
            stack.enter_context(Kubelets(user, in_zones(1), start_delay=_START_DELAY, termination=_TERMINATION))
            _, self._dns_port = start_coredns(self.plane)
            self._running = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._running.close()

    @property
    def api(self) -> Api:
        return self.plane.client()

    @property
    def dns(self) -> str:
        """Where CoreDNS answers, by UDP and TCP."""
        return f"127.0.0.1:{self._dns_port}"

    def serve_with_sliceplane(self) -> None:
        """KCM goes first, so there are never two writers. Raises StartError, and when a replica has ended by itself."""
        if self._kcm is None or self._kcm_serves:
            self._start_kcm(serve=False)
        for process in self._replicas:
            if (code := process.poll()) is not None:
                raise StartError(f"{process.name} has ended with exit code {code}:\n{process.tail()}")
        while len(self._replicas) < REPLICAS:
            self._replicas.append(start_sliceplane(self.plane, *_LEASE_FLAGS))

    def serve_with_kcm(self) -> None:
        while self._replicas:
            process = self._replicas.pop()
            if (code := process.stop()) != 0:
                raise StartError(f"{process.name} ended with exit code {code}:\n{process.tail()}")
        if not self._kcm_serves:
            self._start_kcm(serve=True)

    def kill_leader(self) -> None:
        leader = next((each for each in self._replicas if _leads(each)), None)
        if leader is None:
            raise StartError("no replica leads")
        self._replicas.remove(leader)
        leader.kill()

    def look_up(self, name: str, record: str) -> list[str]:
        return ask(self._dns_port, name, record)

    def _start_kcm(self, *, serve: bool) -> None:
        if self._kcm is not None:
            self._kcm.stop()
        controllers = (*_OTHERS, *CONTROLLERS) if serve else _OTHERS
        self._kcm = self.plane.start_kcm(*_KCM_FLAGS, controllers=controllers)
        self._kcm_serves = serve


def _leads(process: Process) -> bool:
    page = urllib3.request("GET", f"{process.url}/metrics", timeout=10.0, retries=False).data.decode()
    return re.search(r"^leader_election_master_status(\{.*\})? 1$", page, re.MULTILINE) is not None
