"""`python -m e2e.demo`: see Sliceplane at work on this machine, in about a minute.

`DEMO_STAY=1` keeps everything running at the end, until Ctrl-C.
"""

import os
import re
import sys
import threading
from contextlib import ExitStack, suppress

import psutil
import urllib3
from rich.text import Text

from e2e.cluster.build import PEERS, binaries, kubernetes_version
from e2e.cluster.kubelets import Kubelets
from e2e.cluster.local import ControlPlane, StartError
from e2e.cluster.nodes import ZONES, in_zones
from e2e.cluster.process import Process, end_on_sigterm, interruptible
from e2e.cluster.product import start_sliceplane
from e2e.cluster.rest import Api
from e2e.cluster.toolchain import BuildError
from e2e.demo.demands import Cluster, differences
from e2e.demo.latency import Latency, percentile
from e2e.demo.pools import PoolsAct
from e2e.demo.story import Story, StoryError
from e2e.demo.table import Check, Screen, milliseconds, summary
from e2e.demo.watching import View
from e2e.demo.workloads import NAMESPACE, namespace, services

# What a cluster keeps of kube-controller-manager when Sliceplane does the EndpointSlices, as far as the demo needs it.
KCM_CONTROLLERS = (
    "deployment-controller",
    "replicaset-controller",
    "statefulset-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
)

_NODES_PER_ZONE = 3
_START_DELAY = 1.0
_TERMINATION = 3.0


class Demo:
    """Everything that runs, started in order; `stack` stops it in reverse."""

    def __init__(self, stack: ExitStack, screen: Screen) -> None:
        self._screen = screen
        self._latency = Latency()
        with screen.step("etcd and kube-apiserver") as step:
            binaries(PEERS)
            self._plane = stack.enter_context(ControlPlane())
            step.result = f"Kubernetes {kubernetes_version()}, {self._plane.url}"
        self._api = self._plane.client()
        with screen.step("kube-controller-manager") as step:
            flags = ("--kube-api-qps=100", "--kube-api-burst=200")
            self._kcm = self._plane.start_kcm(*flags, controllers=KCM_CONTROLLERS)
            step.result = "without its endpoints and endpointslice controllers"
        with screen.step(f"{len(ZONES) * _NODES_PER_ZONE} simulated nodes in {len(ZONES)} zones"):
            self._kubelets = stack.enter_context(self._start_nodes())
        with screen.step("Sliceplane") as step:
            self._api.apply([namespace(), *services()])
            self._sliceplane = start_sliceplane(self._plane)
            step.result = "as a process of its own, under the rights of config/rbac"
        self._view = stack.enter_context(View(self._api, self._latency))

    def run(self) -> bool:
        """Tell the story; whether all was as it should be. Raises StoryError."""
        processes = (self._kcm, self._sliceplane)
        story = Story(self._api, self._view, self._latency, self._kubelets, self._screen, processes)
        usage = _Usage(self._sliceplane)
        with self._screen.watching(self._view.rows, usage.line):
            story.tell()
        wrong = differences(_now(self._api))
        pools = PoolsAct(self._plane, self._screen)
        pools.play()
        for line in wrong:
            self._screen.say(Text(line, style="red"))
        pending, overtaken = self._latency.pending, self._latency.overtaken
        changes = f"{len(self._latency.samples)} shown, {overtaken} overtaken by the next, {pending} not shown"
        checks = [
            Check("every Service's slices are what its Pods demand", f"{len(wrong)} differences", not wrong),
            Check("every change of a Pod shows in each family", changes, not pending),
            *story.checks,
            *pools.checks,
        ]
        self._screen.say(summary(checks, [*self._latencies(), *usage.figures()]))
        return all(check.good for check in checks)

    def stay(self) -> None:
        """Keep it all running until Ctrl-C."""
        command = f"kubectl --kubeconfig {self._plane.kubeconfig()} get endpointslices -n {NAMESPACE}"
        self._screen.say(Text(f"\nLook around, and end it with Ctrl-C:\n  {command}"))
        with suppress(KeyboardInterrupt):
            threading.Event().wait()

    def _start_nodes(self) -> Kubelets:
        return Kubelets(
            self._plane.client("kubelets", ("system:masters",)),
            in_zones(_NODES_PER_ZONE),
            start_delay=_START_DELAY,
            termination=_TERMINATION,
            told=self._latency.changed,
        )

    def _latencies(self) -> list[tuple[str, str]]:
        samples = self._latency.samples
        shares = [f"p{share * 100:.0f} {milliseconds(percentile(samples, share))}" for share in (0.5, 0.9, 0.99)]
        text = f"{', '.join(shares)}, longest {milliseconds(max(samples, default=0.0))}"
        return [("Pod status change answered → slice event", f"{text} ({len(samples)} changes)")]


class _Usage:
    """What Sliceplane has used and written so far."""

    def __init__(self, process: Process) -> None:
        self._process = psutil.Process(process.pid)
        self._url = process.url

    def line(self) -> str:
        try:
            cpu = self._process.cpu_times()
            resident = self._process.memory_info().rss
        except psutil.Error:
            return "Sliceplane has ended"
        return f"Sliceplane: {resident / 1e6:.0f} MB resident, {cpu.user + cpu.system:.1f} s of CPU"

    def figures(self) -> list[tuple[str, str]]:
        with urllib3.PoolManager(retries=False, timeout=5.0) as http:
            page = http.request("GET", f"{self._url}/metrics").data.decode()
        verbs = ("create", "update", "delete")
        counts = [int(_value(page, f'endpoint_slice_controller_changes{{operation="{each}"}}')) for each in verbs]
        text = ", ".join(f"{count} {each}d" for count, each in zip(counts, verbs, strict=True))
        waited = sum(
            _value(page, f'sliceplane_write_seconds_sum{{kind="EndpointSlice",verb="{each}"}}') for each in verbs
        )
        answered = f"the API server took {milliseconds(waited / max(1, sum(counts)))} for one on average"
        name, _, used = self.line().partition(": ")
        return [("slices written", f"{text}; {answered}"), (name, used)]


def _value(page: str, metric: str) -> float:
    """A metric's value; 0 while it has none."""
    found = re.search(rf"^{re.escape(metric)} (\S+)$", page, re.MULTILINE)
    return float(found[1]) if found else 0.0


def _now(api: Api) -> Cluster:
    """Asked anew, so that neither watch nor cache can be wrong."""
    return Cluster(
        services=api.list("Service", NAMESPACE),
        pods=api.list("Pod", NAMESPACE),
        nodes=api.list("Node"),
        slices=api.list("EndpointSlice", NAMESPACE),
    )


def main() -> int:
    end_on_sigterm()
    screen = Screen()
    try:
        with ExitStack() as stack, interruptible():
            demo = Demo(stack, screen)
            good = demo.run()
            if os.environ.get("DEMO_STAY"):
                demo.stay()
    except KeyboardInterrupt:
        return 130
    except (BuildError, StartError, StoryError) as error:
        screen.say(Text(str(error), style="red"))
        return 1
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
