"""The synthetic API server in the place of the real one, for everything that starts and stops processes."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import urllib3

from e2e.bench.synthetic.population import Scale
from e2e.cluster.local import ControlPlane, StartError
from e2e.cluster.process import Process, free_port
from e2e.cluster.rest import ApiError

_ROOT: Final = Path(__file__).parents[3]
# A million names are sorted before it serves.
_READY_TIMEOUT: Final = 120.0
_POLL: Final = 0.05


class SyntheticPlane(ControlPlane):
    """A `ControlPlane` without etcd: one process, with as many addresses as there are shards."""

    def __init__(self, scale: Scale, shards: int = 1) -> None:
        super().__init__()
        self.scale, self.shards = scale, shards
        self.urls: list[str] = []

    def start(self) -> None:
        """Starts the server and returns when it answers. Raises StartError."""
        try:
            self._prepare()
            self.start_apiserver()
        except BaseException:
            self.stop()
            raise

    def start_apiserver(self) -> None:
        """Starts the server on ports of its own; what it held before is forgotten."""
        ports = [free_port() for _ in range(self.shards)]
        self.urls = [f"https://127.0.0.1:{port}" for port in ports]
        self.url = self.urls[0]
        scale = self.scale
        argv = [
            *(sys.executable, "-m", "e2e.bench.synthetic.server"),
            *(f"--port={port}" for port in ports),
            *(f"--cert={self._serving.cert}", f"--key={self._serving.key}", f"--client-ca={self.ca_file}"),
            *(f"--pods={scale.pods}", f"--services={scale.services}", f"--nodes={scale.nodes}"),
            *(f"--namespaces={scale.namespaces}", "--dual" if scale.dual else "--single"),
        ]
        process = self.spawn("kube-apiserver", argv, {"PYTHONPATH": str(_ROOT)})
        process.url = self.url
        self._await_answer(process)

    @contextmanager
    def at(self, shard: int) -> Iterator[None]:
        """Within it, kubeconfigs are written for this shard's address."""
        before, self.url = self.url, self.urls[shard]
        try:
            yield
        finally:
            self.url = before

    def kubeconfig(self, user: str = "admin", groups: Sequence[str] = ()) -> Path:
        """As the real one's, in a file of its own for each shard: a process reads it when it has come up."""
        path = super().kubeconfig(user, groups)
        return path.replace(path.with_name(f"{self.urls.index(self.url)}-{path.name}"))

    def _await_answer(self, process: Process) -> None:
        until = time.monotonic() + _READY_TIMEOUT
        while time.monotonic() < until:
            if (code := process.poll()) is not None:
                raise StartError(f"the synthetic API server ended with exit code {code}:\n{process.tail()}")
            try:
                self.client().text("/readyz")
            except (urllib3.exceptions.HTTPError, ApiError):
                time.sleep(_POLL)
            else:
                return
        raise StartError(f"the synthetic API server does not answer:\n{process.tail()}")
