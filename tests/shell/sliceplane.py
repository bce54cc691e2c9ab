"""The real process, as a user starts it, under the rights that config/rbac grants and no more."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import urllib3

from e2e.cluster.local import ControlPlane
from e2e.cluster.process import Process, free_port
from e2e.cluster.product import USER
from tests.shell.waiting import PATIENCE, eventually

ROOT = Path(__file__).parents[2]
GROUPS = ("system:serviceaccounts", "system:serviceaccounts:kube-system")

# Only a limit: a busy machine may stand still for some seconds.
_http = urllib3.PoolManager(retries=False, timeout=30.0)


class Sliceplane:
    """A running `sliceplane run` and its page."""

    def __init__(self, process: Process, url: str) -> None:
        self.process, self.url = process, url

    def get(self, path: str) -> tuple[int, str]:
        answer = _http.request("GET", self.url + path)
        return answer.status, answer.data.decode()

    @property
    def ready(self) -> bool:
        with suppress(urllib3.exceptions.HTTPError):
            return self.get("/readyz") == (200, "ok")
        return False

    def wait_ready(self) -> None:
        def check() -> None:
            assert self.process.poll() is None, self.process.tail()
            assert self.ready, self.process.tail()

        eventually(check)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples with these labels."""
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        samples = re.findall(rf"^{name}(?:\{{(.*)\}})? (\S+)$", self.get("/metrics")[1], re.MULTILINE)
        return sum(float(value) for found, value in samples if wanted <= set(found.split(",")))

    def failures(self, namespace: str) -> list[str]:
        """Log lines about failed syncs of a namespace's Services; those of other tests may fail for ever."""
        return [line for line in self.log().splitlines() if "sync failed" in line and f'"{namespace}/' in line]

    def log(self) -> str:
        return self.process.log.read_text()


@contextmanager
def running(
    plane: ControlPlane, *flags: str, kubeconfig: Path | None = None, wait: bool = True
) -> Iterator[Sliceplane]:
    """Starts it, ready unless `wait` is false, and stops it; that it ends well then is part of every test."""
    port = free_port()
    name = f"sliceplane-{port}"
    kubeconfig = kubeconfig or plane.kubeconfig(USER, GROUPS)
    argv = [sys.executable, "-m", "controllers", "run", f"--kubeconfig={kubeconfig}", "--leader-elect=false"]
    process = plane.spawn(name, [*argv, f"--metrics-bind-address=127.0.0.1:{port}", *flags], {"PYTHONPATH": str(ROOT)})
    try:
        made = Sliceplane(process, f"http://127.0.0.1:{port}")
        if wait:
            made.wait_ready()
        yield made
        if process.poll() is None:
            assert process.stop(PATIENCE) == 0, process.tail()
        assert "Traceback" not in made.log(), process.tail(60)
    finally:
        process.kill()
