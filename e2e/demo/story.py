"""What happens in the demo, step by step. Each step ends when the slices are again what the Pods demand."""

from collections.abc import Callable, Mapping, Sequence

from e2e.cluster.kubelets import Kubelets
from e2e.cluster.process import Process
from e2e.cluster.rest import Api, Objects
from e2e.demo.demands import differences
from e2e.demo.latency import Latency, percentile
from e2e.demo.table import Check, Screen, Step, milliseconds
from e2e.demo.watching import View, is_ready
from e2e.demo.workloads import NAMESPACE, ODD_ADDRESS, SHAPES, VERSION_LABEL, workloads

DRAINED = "node-b2"

_TIMEOUT = 60.0
_LOOK_EVERY = 1.0
_QUIET = 2.0
_GRACE = 30
_UNREADY = 60
_FEWER = 120


class StoryError(Exception):
    """The slices are not what they should be, or a process has ended; the message says which."""


class Story:
    """The steps, in the order in which they are to be called."""

    def __init__(
        self, api: Api, view: View, latency: Latency, kubelets: Kubelets, screen: Screen, processes: Sequence[Process]
    ) -> None:
        """`processes` must run all the time."""
        self._api = api
        self._view = view
        self._latency = latency
        self._kubelets = kubelets
        self._screen = screen
        self._processes = processes
        self.checks: list[Check] = []
        self._wanted = {shape.name: shape.pods for shape in SHAPES}

    def tell(self) -> None:
        """All steps; `checks` has what they found. Raises StoryError."""
        many = self._wanted["big"]
        steps: Mapping[str, Callable[[], str]] = {
            f"Deployments and a StatefulSet: {sum(self._wanted.values())} Pods": self._deploy,
            "Rolling update of web": self._roll,
            f"Drain of {DRAINED}": self._drain,
            f"Scale big from {many} to {_FEWER}": lambda: self._scale(_FEWER),
            f"Scale big from {_FEWER} to {many}": lambda: self._scale(many),
            f"{_UNREADY} Pods of big lose and regain readiness": self._flip,
            "A Pod of odd reports a link-local IPv4": self._misreport,
            f"Nothing changes for {_QUIET:.0f} s": self._rest,
        }
        for title, action in steps.items():
            with self._screen.step(title) as step:
                self._take(step, action)

    def _take(self, step: Step, action: Callable[[], str]) -> None:
        before = len(self._latency.samples)
        events = self._view.slice_events
        said = action()
        samples = self._latency.samples[before:]
        count = self._view.slice_events - events
        parts = [said, f"{count} slice event{'s' * (count != 1)}"]
        if samples:
            middle, slow = percentile(samples, 0.5), percentile(samples, 0.99)
            parts.append(f"p50 {milliseconds(middle)}, p99 {milliseconds(slow)}")
        step.result = ", ".join(part for part in parts if part)

    def _deploy(self) -> str:
        self._api.apply(workloads())
        self._settle(self._all_ready)
        return ""

    def _roll(self) -> str:
        template = {"spec": {"template": {"metadata": {"labels": {VERSION_LABEL: "v2"}}}}}
        self._api.patch("Deployment", "web", template, NAMESPACE)

        def updated() -> bool:
            versions = {each["metadata"]["labels"][VERSION_LABEL] for each in self._view.pods("web")}
            return versions == {"v2"} and self._all_ready()

        self._settle(updated)
        return f"{self._wanted['web']} Pods replaced"

    def _drain(self) -> str:
        self._api.patch("Node", DRAINED, {"spec": {"unschedulable": True}})
        cordoned = self._view.wait(lambda: self._cordoned(DRAINED), _TIMEOUT)
        leaving = self._pods_on(DRAINED)
        for pod in leaving:
            self._api.delete("Pod", pod["metadata"]["name"], NAMESPACE, grace=_GRACE)
        self._settle(lambda: cordoned and not self._pods_on(DRAINED) and self._all_ready())
        self._api.patch("Node", DRAINED, {"spec": {"unschedulable": False}})
        return f"{len(leaving)} Pods evicted"

    def _scale(self, replicas: int) -> str:
        self._wanted["big"] = replicas
        self._api.patch("Deployment", "big", {"spec": {"replicas": replicas}}, NAMESPACE)
        self._settle(self._all_ready)
        return ""

    def _flip(self) -> str:
        names = sorted(each["metadata"]["name"] for each in self._view.pods("big"))[:_UNREADY]
        for ready in (False, True):
            for name in names:
                self._kubelets.set_ready(NAMESPACE, name, ready)
        self._settle(self._all_ready)
        return ""

    def _misreport(self) -> str:
        name = min(each["metadata"]["name"] for each in self._view.pods("odd"))
        status = self._api.read("Pod", name, NAMESPACE)["status"]
        reported = [{"ip": ODD_ADDRESS}, status["podIPs"][1]]
        body = {"status": {"podIP": ODD_ADDRESS, "podIPs": reported}}
        self._api.patch("Pod", name, body, NAMESPACE, subresource="status")
        self._settle(lambda: self._reported(name) and bool(self._warnings("odd")))
        warning = self._warnings("odd")[0]
        found = f"{warning['reason']}: {warning['message']}"
        self.checks.append(Check("a Warning tells of the Pod whose address is refused", found, name in found))
        return f"Warning {warning['reason']}"

    def _rest(self) -> str:
        before = self._view.slice_events
        written = self._view.wait(lambda: self._view.slice_events != before, _QUIET)
        found = f"{self._view.slice_events - before} writes in {_QUIET:.0f} s"
        self.checks.append(Check("no slice is written while nothing changes", found, not written))
        return ""

    def _warnings(self, service: str) -> Objects:
        about = ("Service", service)
        return [
            each
            for each in self._view.all("Event")
            if each["type"] == "Warning" and (each["involvedObject"]["kind"], each["involvedObject"]["name"]) == about
        ]

    def _settle(self, true: Callable[[], bool]) -> None:
        """Wait until something is true, and every slice is what the Pods demand, and every change has shown."""

        def settled() -> bool:
            return true() and not differences(self._view.cluster()) and not self._latency.pending

        left = _TIMEOUT
        while not self._view.wait(settled, min(left, _LOOK_EVERY)):
            left -= _LOOK_EVERY
            for process in self._processes:
                if (code := process.poll()) is not None:
                    raise StoryError(f"{process.name} ended with exit code {code}:\n{process.tail()}")
            if left <= 0:
                wrong = differences(self._view.cluster()) or ["the Pods did not become what they should"]
                raise StoryError("\n".join([f"not so after {_TIMEOUT:.0f} s:", *wrong]))

    def _all_ready(self) -> bool:
        return all(self._complete(name, wanted) for name, wanted in self._wanted.items())

    def _complete(self, app: str, wanted: int) -> bool:
        pods = self._view.pods(app)
        return len(pods) == wanted and all(map(is_ready, pods))

    def _pods_on(self, node: str) -> Objects:
        return [each for each in self._view.all("Pod") if each["spec"].get("nodeName") == node]

    def _cordoned(self, node: str) -> bool:
        return any(
            each["metadata"]["name"] == node and each["spec"].get("unschedulable") for each in self._view.all("Node")
        )

    def _reported(self, pod: str) -> bool:
        return any(
            each["metadata"]["name"] == pod and each["status"].get("podIP") == ODD_ADDRESS
            for each in self._view.pods("odd")
        )
