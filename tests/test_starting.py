"""What a process reads before it begins: no more than it needs, nothing stays changed by that, and it can be ended."""

import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from e2e.cluster.process import free_port
from tests.runtime.api_server import write_kubeconfig

ROOT = Path(__file__).parents[1]


def said(program: str, **env: str) -> str:
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


@pytest.mark.parametrize("file", ["", "/etc/own.pem"])
def test_aiohttp_is_imported_without_certificates_and_all_is_as_before(file: str) -> None:
    program = """
import gc, os
from controllers.starting import importing
with importing():
    from aiohttp import connector
found = connector._SSL_CONTEXT_VERIFIED.cert_store_stats()["x509_ca"]
print(found, gc.isenabled(), os.environ.get("SSL_CERT_FILE", ""))
"""
    assert said(program, **({"SSL_CERT_FILE": file} if file else {})) == f"0 True {file}".strip()


def test_failed_import_leaves_nothing_changed() -> None:
    program = """
import gc, os
from controllers.starting import importing
try:
    with importing():
        raise ImportError
except ImportError:
    print(gc.isenabled(), "SSL_CERT_FILE" in os.environ)
"""
    assert said(program) == "True False"


def test_command_line_imports_only_what_its_flags_need() -> None:
    program = """
import sys
import controllers.cli
print(*sorted({".".join(each.split(".")[:2]) for each in sys.modules if each.startswith("controllers.")}))
print(*(each for each in ("aiohttp", "kopf", "kubernetes", "rich") if each in sys.modules))
"""
    ours = "controllers.cli controllers.ipam_tools controllers.planning controllers.starting"
    assert said(program) == ours


# Sends a signal when a module is looked for; or when the configuration is put together, between two imports.
INTERRUPTED = """
import os, signal, sys

# As in the foreground, wherever the tests run.
signal.signal(signal.SIGINT, signal.default_int_handler)

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {when!r}:
            os.kill(os.getpid(), {number})

sys.meta_path.insert(0, Interrupting())
sys.argv[1:] = {given!r}
if {when!r} == "between":
    from api import config_file
    config_file.configured = config_file.configured_by_flags = lambda *_: os.kill(os.getpid(), {number})
from controllers.__main__ import main
main()
"""
RUN, IPAM_RUN, CONFIG = ["run"], ["ipam", "run"], ["config", "--print-default"]


@pytest.mark.parametrize(
    ("given", "when", "number", "status"),
    [
        *((RUN, when, number, 0) for when in ("click", "yaml", "uvloop", "between") for number in (2, 15)),
        *((IPAM_RUN, when, number, 0) for when in ("pydantic", "kopf", "between") for number in (2, 15)),
        *((CONFIG, when, signal.SIGINT, 130) for when in ("click", "yaml")),
        *((CONFIG, when, signal.SIGTERM, -signal.SIGTERM) for when in ("click", "yaml")),
    ],
)
def test_signal_at_the_start_ends_it_quietly(given: list[str], when: str, number: int, status: int) -> None:
    program = INTERRUPTED.format(given=given, when=when, number=int(number))
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, "", "")


def test_signal_while_a_tool_waits_for_the_server_ends_it_quietly(tmp_path: Path) -> None:
    program = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv[1:] = ["ipam", "show", "--kubeconfig=" + sys.argv[1]]
from controllers.__main__ import main
main()
"""
    with socket.create_server(("127.0.0.1", free_port())) as server:
        host, port = server.getsockname()
        kubeconfig = write_kubeconfig(tmp_path / "config", f"http://{host}:{port}")
        command = [sys.executable, "-c", program, str(kubeconfig)]
        server.settimeout(60)
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as asking:
            try:
                with server.accept()[0] as connection:
                    assert connection.recv(4) == b"GET "
                    asking.send_signal(signal.SIGINT)
                    out, err = asking.communicate(timeout=60)
            finally:
                asking.kill()
    assert (asking.returncode, out, err) == (130, "", "")


def test_signal_that_is_ignored_stays_so() -> None:
    """As a shell's background jobs have SIGINT."""
    program = """
import signal
from controllers.starting import ends_quietly
signal.signal(signal.SIGINT, signal.SIG_IGN)
ends_quietly(until_stopped=False)
print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)
"""
    assert said(program) == "True"


def test_installed_command_starts_as_the_module_does() -> None:
    """Not with `controllers.cli`, whose imports would be under way before signals are heard."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"sliceplane": "controllers.__main__:main"}


def test_module_is_the_command() -> None:
    for flags in (["--version"], ["version"]):
        command = [sys.executable, "-m", "controllers", *flags]
        answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
        assert (answer.stdout, answer.stderr) == ("sliceplane 0.1.0\n", "")
