"""`sliceplane ipam run` where it cannot begin: without its kinds, without an API server, with wrong files and ports."""

import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster.certs import Authority, Pair
from e2e.cluster.fixtures import plane_of
from e2e.cluster.ipam import crds
from e2e.cluster.local import ControlPlane
from e2e.cluster.process import Process, free_port
from tests.runtime.api_server import write_kubeconfig
from tests.shell.waiting import eventually

ROOT = Path(__file__).parents[2]
HOST = "sliceplane-ipam.kube-system.svc"
NOT_SERVED = "apply config/crd first, such as by kubectl apply -k config/crd"


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    with plane_of() as made:
        yield made


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.fixture
def pair(authority: Authority) -> Pair:
    return authority.serving([HOST])


def command(kubeconfig: Path, pair: Pair, ca: Path, metrics: int) -> list[str]:
    return [
        *(sys.executable, "-m", "controllers", "ipam", "run", f"--kubeconfig={kubeconfig}"),
        *(f"--metrics-bind-address=127.0.0.1:{metrics}", f"--webhook-bind-address=127.0.0.1:{free_port()}"),
        *(f"--webhook-cert-file={pair.cert}", f"--webhook-key-file={pair.key}", f"--webhook-ca-file={ca}"),
    ]


def ready(port: int) -> tuple[int, str]:
    """What /readyz says; 0 before it is served."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


@pytest.mark.server
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_without_its_kinds(plane: ControlPlane, authority: Authority, pair: Pair, number: signal.Signals) -> None:
    """Told once for each kind, in the log and at /readyz; it begins by itself when they come, and ends well anyhow."""
    port = free_port()
    argv = command(plane.kubeconfig(), pair, authority.ca_file, port)

    def start() -> Process:
        return plane.spawn(plane.fresh_name("early"), argv, {"PYTHONPATH": str(ROOT)})

    def lacking() -> None:
        code, text = ready(port)
        assert (code, text.count(NOT_SERVED)) == (503, 3), text

    process = start()
    eventually(lacking)
    process.send(number)
    assert process.wait(60) == 0
    log = process.log.read_text()
    assert log.count(NOT_SERVED) == 3
    assert "page not found" not in log
    assert '"stopped"' in log

    process = start()
    eventually(lacking)
    plane.client().apply(crds())

    def begun() -> None:
        assert ready(port) == (200, "ok")

    eventually(begun)
    process.send(number)
    assert process.wait(60) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_well_without_an_api_server(
    tmp_path: Path, authority: Authority, pair: Pair, number: signal.Signals
) -> None:
    port = free_port()
    kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", f"http://127.0.0.1:{free_port()}")
    argv = command(kubeconfig, pair, authority.ca_file, port)
    process = Process("alone", argv, tmp_path / "log", env={"PYTHONPATH": str(ROOT)})
    try:

        def waiting() -> None:
            code, text = ready(port)
            assert (code, text.partition(":")[0]) == (503, "caches have not synced yet")

        eventually(waiting)
        process.send(number)
        assert process.wait(60) == 0
    finally:
        process.kill()


def refused(argv: list[str]) -> str:
    """What a process says that does not begin: one line."""
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_key_as_ca(tmp_path: Path, pair: Pair) -> None:
    kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", f"http://127.0.0.1:{free_port()}")
    said = refused(command(kubeconfig, pair, pair.key, free_port()))
    assert said.startswith(f"sliceplane: --webhook-ca-file={pair.key}: there is a private key in it")


def test_certificate_for_another_name(tmp_path: Path, authority: Authority) -> None:
    kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", f"http://127.0.0.1:{free_port()}")
    pair = authority.serving(["elsewhere"])
    said = refused(command(kubeconfig, pair, authority.ca_file, free_port()))
    assert said.startswith(f"sliceplane: --webhook-cert-file={pair.cert}: the certificate is not for {HOST}, by which")


def test_port_that_is_taken(tmp_path: Path, authority: Authority, pair: Pair) -> None:
    kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", f"http://127.0.0.1:{free_port()}")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        taken.listen()
        flag = f"--webhook-bind-address=127.0.0.1:{taken.getsockname()[1]}"
        said = refused([*command(kubeconfig, pair, authority.ca_file, free_port()), flag])
    assert said.startswith(f"sliceplane: {flag}: another program has this port: ")
