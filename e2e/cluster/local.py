"""etcd and kube-apiserver on this machine, TLS verified and RBAC on, and what runs against them."""

import atexit
import base64
import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import urllib3
import yaml

from api.controllers import CONTROLLERS
from e2e.cluster import build
from e2e.cluster.certs import Authority, Pair
from e2e.cluster.process import Process, free_port, stop_all
from e2e.cluster.rest import Api, ApiError

T = TypeVar("T")

SERVICE_RANGES = "10.96.0.0/16,fd00:10:96::/112"

# Nothing inside a cluster connects to this API server. It must announce some address, not a loopback one, and the
# machine's own would make runs differ: so one that documentation is free to use.
_ANNOUNCED_ADDRESS = "192.0.2.1"

_PREFIX = "sliceplane-"
_READY_TIMEOUT = 60.0
_PROBE_TIMEOUT = 2.0
_POLL = 0.05
_PORT_ATTEMPTS = 5

# Anyone may ask whether the server is up, as load balancers and probes do; nothing else without a certificate.
_AUTHENTICATION = """\
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
anonymous:
  enabled: true
  conditions:
  - path: /livez
  - path: /readyz
  - path: /healthz
"""


class StartError(Exception):
    """A server did not come up; the message ends with the end of its log."""


class ControlPlane:
    """One etcd with one kube-apiserver, as a context manager.

    `folder` holds everything: certificates, etcd's data, kubeconfigs, logs (`logs/<name>.log`); `stop` removes it.
    `url` and `ca_file` are how to reach the API server; they stay the same while it is stopped and started again.
    Nothing that is started here outlives this Python process, however that ends.
    """

    def __init__(self, *, extra_apiserver_args: Sequence[str] = ()) -> None:
        """`extra_apiserver_args` come last on kube-apiserver's command line, so they win over ours."""
        self._extra = tuple(extra_apiserver_args)
        self._lock: int | None = None
        self._processes: dict[str, Process] = {}
        self._clients: dict[tuple[str, tuple[str, ...]], Api] = {}
        self._port = 0
        self.url = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def serving(self) -> Pair:
        """A certificate of our authority for servers on this machine."""
        return self._serving

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name, of what was started here and still runs."""
        return {name: process.pid for name, process in self._processes.items() if process.poll() is None}

    def start(self) -> None:
        """Start etcd and the API server, and return when it is ready. Builds them first when they are not there yet.

        Raises build.BuildError when they cannot be had, StartError when one does not come up.
        """
        self._binaries = build.binaries(("etcd", "kube-apiserver"))
        try:
            self._prepare()
            self._start_etcd()
            self._on_free_port(self._start_apiserver_on)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything that was started here and remove the folder. Does nothing when it is stopped."""
        servers = ("kube-apiserver", "etcd")
        stop_all([process for name, process in self._processes.items() if name not in servers])
        for name in servers:
            # Their data goes with them, so there is nothing to finish.
            if name in self._processes:
                self._processes[name].kill()
        self._processes.clear()
        self._close_clients()
        if self._lock is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            os.close(self._lock)
            self._lock = None
        atexit.unregister(self.stop)

    def start_apiserver(self) -> None:
        """Start the API server again, on its port and with its data, and return when it is ready. Raises StartError."""
        serving, keys = self._serving, self._keys
        argv = [
            str(self._binaries["kube-apiserver"]),
            f"--etcd-servers=unix://{self.folder}/etcd.sock",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._port}",
            f"--advertise-address={_ANNOUNCED_ADDRESS}",
            f"--tls-cert-file={serving.cert}",
            f"--tls-private-key-file={serving.key}",
            f"--client-ca-file={self.ca_file}",
            f"--authentication-config={self.folder}/authentication.yaml",
            "--authorization-mode=RBAC",
            f"--service-cluster-ip-range={SERVICE_RANGES}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={keys.cert}",
            f"--service-account-signing-key-file={keys.key}",
            # It would hold back every Pod until a controller has made its namespace's default ServiceAccount.
            "--disable-admission-plugins=ServiceAccount",
            "--allow-privileged=true",
            # Without it a stop waits until every client has closed its watches.
            "--shutdown-watch-termination-grace-period=1s",
            *self._extra,
        ]
        process = self.spawn("kube-apiserver", argv)
        process.url = self.url
        self._await_ready(process, "/readyz")

    def stop_apiserver(self, *, kill: bool = False) -> None:
        """Stop the API server alone, gracefully unless `kill`; etcd keeps the objects."""
        process = self._processes["kube-apiserver"]
        if kill:
            process.kill()
        else:
            process.stop()

    def start_kcm(self, *flags: str, controllers: Sequence[str] = tuple(CONTROLLERS)) -> Process:
        """Start the real kube-controller-manager with `controllers` (those that we replace), until it is healthy.

        `flags` come last on its command line. Its `url` serves /healthz and, to whom RBAC lets, /metrics. It acts as
        one identity that may do everything. Raises StartError, build.BuildError.
        """
        return self._on_free_port(lambda port: self._start_kcm_on(port, flags, controllers))

    def _start_kcm_on(self, port: int, flags: Sequence[str], controllers: Sequence[str]) -> Process:
        program = build.binaries(("kube-controller-manager",))["kube-controller-manager"]
        kubeconfig = self.kubeconfig("system:kube-controller-manager", ("system:masters",))
        argv = [
            str(program),
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            f"--client-ca-file={self.ca_file}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            f"--tls-cert-file={self._serving.cert}",
            f"--tls-private-key-file={self._serving.key}",
            f"--controllers={','.join(controllers)}",
            "--leader-elect=false",
            "--use-service-account-credentials=false",
            f"--service-account-private-key-file={self._keys.key}",
            f"--root-ca-file={self.ca_file}",
            *flags,
        ]
        process = self.spawn(self.fresh_name("kube-controller-manager"), argv)
        process.url = f"https://127.0.0.1:{port}"
        self._await_ready(process, "/healthz")
        return process

    def spawn(self, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> Process:
        """Start any program beside the servers, to be stopped with them; `env` adds to ours.

        Its output goes to `logs/<name>.log`, appended to. Raises OSError when it cannot be run, ValueError when one of
        this name runs already.
        """
        running = self._processes.get(name)
        if running is not None:
            if running.poll() is None:
                raise ValueError(f"{name} is running already")
            running.kill()
        folder = self.folder if name == "etcd" else None
        process = Process(name, argv, self.folder / "logs" / f"{name}.log", env=env, folder=folder)
        self._processes[name] = process
        return process

    def client(self, user: str = "admin", groups: Sequence[str] = ()) -> Api:
        """A client with `user`'s certificate; the same when asked again. Closed by `stop`."""
        wanted = (user, _groups(user, groups))
        if wanted not in self._clients:
            self._clients[wanted] = Api(self.url, self.ca_file, self._authority.client(*wanted))
        return self._clients[wanted]

    def kubeconfig(self, user: str = "admin", groups: Sequence[str] = ()) -> Path:
        """A kubeconfig, complete in itself, for `user` in `groups`. "admin" may do all, others what RBAC grants."""
        pair = self._authority.client(user, _groups(user, groups))
        path = self.folder / f"{pair.cert.stem}.kubeconfig"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "local", "cluster": {"server": self.url, "certificate-authority-data": _base64(self.ca_file)}}
            ],
            "users": [
                {
                    "name": user,
                    "user": {
                        "client-certificate-data": _base64(pair.cert),
                        "client-key-data": _base64(pair.key),
                    },
                }
            ],
            "contexts": [{"name": "local", "context": {"cluster": "local", "user": user}}],
            "current-context": "local",
        }
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        return path

    def _prepare(self) -> None:
        _remove_abandoned()
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock = _claim(self.folder)
        atexit.register(self.stop)
        if len(str(self.folder)) > 80:
            raise StartError(f"{self.folder} is too long for a unix socket in it: set TMPDIR to a shorter path")
        (self.folder / "logs").mkdir()
        (self.folder / "authentication.yaml").write_text(_AUTHENTICATION)
        self._authority = Authority(self.folder / "pki")
        self._serving = self._authority.serving()
        self._keys = self._authority.service_account_keys()
        self.admin: Pair = self._authority.client("admin", _groups("admin", ()))
        self.ca_file = self._authority.ca_file

    def _start_etcd(self) -> None:
        # A socket in a folder that only we can enter: no port to race for, and no other etcd can be behind it.
        clients, peers = f"unix://{self.folder}/etcd.sock", "unix://peer.sock"
        name = self.folder.name
        argv = [
            str(self._binaries["etcd"]),
            f"--name={name}",
            f"--data-dir={self.folder}/etcd",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster={name}={peers}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]
        self.spawn("etcd", argv)

    def _start_apiserver_on(self, port: int) -> None:
        self._port = port
        self.url = f"https://127.0.0.1:{port}"
        self.start_apiserver()

    def _on_free_port(self, start: Callable[[int], T]) -> T:
        for _ in range(_PORT_ATTEMPTS - 1):
            try:
                return start(free_port())
            except StartError as error:
                if "address already in use" not in str(error):
                    raise
        return start(free_port())

    def _close_clients(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def _await_ready(self, process: Process, path: str) -> None:
        until = time.monotonic() + _READY_TIMEOUT
        answer = "no answer yet"
        url = process.url or ""
        # No other server can pass for ours, whatever listens on the port: only ours has a certificate of our authority.
        with contextlib.closing(Api(url, self.ca_file, self.admin, timeout=_PROBE_TIMEOUT)) as probe:
            while time.monotonic() < until:
                for needed in (process, self._processes["etcd"]):
                    if (code := needed.poll()) is not None:
                        raise StartError(f"{needed.name} ended with exit code {code}:\n{needed.tail()}")
                try:
                    probe.text(path)
                    return
                except (urllib3.exceptions.HTTPError, ApiError) as error:
                    answer = str(error)
                time.sleep(_POLL)
        tail = process.tail()
        process.kill()
        raise StartError(f"{process.name} is not ready after {_READY_TIMEOUT:.0f} s ({answer}):\n{tail}")

    def fresh_name(self, stem: str) -> str:
        taken = self.pids
        return next(name for n in range(1, len(taken) + 2) if (name := stem if n == 1 else f"{stem}-{n}") not in taken)


def _groups(user: str, groups: Sequence[str]) -> tuple[str, ...]:
    return ("system:masters",) if user == "admin" and not groups else tuple(groups)


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _claim(folder: Path) -> int:
    """Lock the folder for as long as this Python lives; the descriptor to close at the end."""
    unlocked = folder / "lock.new"
    descriptor = os.open(unlocked, os.O_WRONLY | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    unlocked.rename(folder / "lock")
    return descriptor


def _remove_abandoned() -> None:
    """Remove the folders of earlier control planes whose Python was killed: those that nobody has locked any more."""
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/lock"):
        with contextlib.suppress(OSError), lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)
