"""The peers' binaries: found, taken from the cache, or built with plain `go build` from pinned modules.

`python -m e2e.cluster.build [name…]` makes sure that they are there and prints where; without names, those of PEERS.
"""

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.toolchain import BuildError, Toolchain, find_toolchain, report, run_go


@dataclass(frozen=True, slots=True)
class _Source:
    """What a binary is built from: a main package, or the tests of a package, as pinned by the module in a folder."""

    module: Path
    package: str
    tests: bool = False

    @property
    def command(self) -> tuple[str, ...]:
        return ("test", "-c") if self.tests else ("build", "-v")


PEERS = ("etcd", "kube-apiserver", "kube-controller-manager")
PEERS_MODULE = Path(__file__).parent / "peers"
# Modules of their own, although one could pin all: what changes in a module builds everything in it again.
_E2E_MODULE = Path(__file__).parents[1] / "upstream" / "peers"
_KWOK_MODULE = Path(__file__).parent / "kwok"
_SOURCES = {
    "etcd": _Source(PEERS_MODULE, "go.etcd.io/etcd/server/v3"),
    "kube-apiserver": _Source(PEERS_MODULE, "k8s.io/kubernetes/cmd/kube-apiserver"),
    "kube-controller-manager": _Source(PEERS_MODULE, "k8s.io/kubernetes/cmd/kube-controller-manager"),
    "kube-scheduler": _Source(PEERS_MODULE, "k8s.io/kubernetes/cmd/kube-scheduler"),
    "e2e.test": _Source(_E2E_MODULE, "k8s.io/kubernetes/test/e2e", tests=True),
    "kwok": _Source(_KWOK_MODULE, "sigs.k8s.io/kwok/cmd/kwok"),
}

_GOARCH = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_LOCK_POLL = 0.2


def binaries(names: Sequence[str] = PEERS) -> dict[str, Path]:
    """Where the binaries of these peers are, by name: in `$KUBEBUILDER_ASSETS`, else in the cache, else built into it.

    A build reports its progress on stderr; another process that wants the same one waits for it. Raises BuildError.
    """
    if unknown := set(names) - set(_SOURCES):
        raise BuildError(f"no such peer: {', '.join(sorted(unknown))} (there are {', '.join(_SOURCES)})")
    return {name: _given(name) or _peer(name) for name in names}


def build_module(name: str, folder: Path, package: str = ".") -> Path:
    """The binary `name` of a main package in another module's folder, built again when one of its Go files changes.

    The module may not `replace` anything by a folder outside its own: such files do not count as changes. Raises
    BuildError.
    """
    sources = sorted([*folder.rglob("*.go"), folder / "go.mod", folder / "go.sum"])
    flags = ("-ldflags", "-s -w")
    target = _cache() / "modules" / f"{name}-{_digest(sources, flags, folder)}" / name
    return _build_once(target, _Source(folder, package), flags)


def kubernetes_version() -> str:
    """The version of Kubernetes that the peers are, such as "v1.37.2"."""
    match = re.search(r"^\s*k8s\.io/kubernetes (v\S+)", (PEERS_MODULE / "go.mod").read_text(), re.MULTILINE)
    if match is None:
        raise BuildError(f"{PEERS_MODULE / 'go.mod'} does not require k8s.io/kubernetes")
    return match[1]


def _given(name: str) -> Path | None:
    folder = os.environ.get("KUBEBUILDER_ASSETS")
    if not folder:
        return None
    if not Path(folder).is_dir():
        raise BuildError(f"KUBEBUILDER_ASSETS={folder} is no folder: unset it, and the servers are built")
    path = Path(folder).absolute() / name
    return path if os.access(path, os.X_OK) and path.is_file() else None


def _peer(name: str) -> Path:
    version = kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".", 2)
    stamps = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    # What `go build` does not know by itself: without it the API server calls itself v0.0.0 and KCM refuses it.
    settings = [
        f"-X k8s.io/{package}.{variable}={value}"
        for package in ("component-base/version", "client-go/pkg/version")
        for variable, value in stamps.items()
    ]
    flags = ("-ldflags", " ".join(["-s -w", *settings]))
    source = _SOURCES[name]
    pins = [source.module / "go.mod", source.module / "go.sum"]
    target = _cache() / "peers" / _digest(pins, flags, source.module) / name
    return _build_once(target, source, flags)


def _cache() -> Path:
    if own := os.environ.get("SLICEPLANE_CACHE"):
        return Path(own).absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache").absolute() / "sliceplane"


def _digest(files: Sequence[Path], flags: Sequence[str], root: Path) -> str:
    machine = platform.machine().lower()
    digest = hashlib.sha256(repr((flags, sys.platform, _GOARCH.get(machine, machine))).encode())
    for file in files:
        if file.is_file():
            digest.update(f"\0{file.relative_to(root)}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _build_once(target: Path, source: _Source, flags: Sequence[str]) -> Path:
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target.with_name(f".{target.name}.lock"), target.name):
        if not target.is_file():
            _build(target, source, flags)
    return target


def _build(target: Path, source: _Source, flags: Sequence[str]) -> None:
    with _locked(_cache() / ".go.lock", "the Go toolchain"):
        go = find_toolchain(source.module / "go.mod")
    started = time.monotonic()
    report(
        f"{target.name}: building from {source.package} with {go.version}, once; the result is kept in {target.parent}"
    )
    total = _count_packages(go, target.name, source)
    partial = target.with_name(f".{target.name}.partial")
    compiled = 0

    def progress(line: str) -> str:
        nonlocal compiled
        compiled += _is_package(line)
        # `go test` does not tell what it compiles.
        if source.tests:
            return f"at most {total} packages to compile"
        return f"{compiled} of at most {total} packages compiled"

    arguments = [*source.command, "-trimpath", "-buildvcs=false", *flags, "-o", str(partial), source.package]
    run_go(go, arguments, source.module, target.name, progress)
    partial.replace(target)
    size = target.stat().st_size / 1e6
    report(f"{target.name}: built in {time.monotonic() - started:.0f} s, {size:.0f} MB")


def _count_packages(go: Toolchain, name: str, source: _Source) -> int:
    """How many packages a build with a cold cache would compile. Fetches the modules, which takes a while at first."""
    fetched = 0

    def progress(line: str) -> str:
        nonlocal fetched
        fetched += line.startswith("go: downloading ")
        return f"{fetched} modules downloaded"

    tests = ["-test"] if source.tests else []
    lines = run_go(go, ["list", "-deps", *tests, source.package], source.module, name, progress)
    return sum(map(_is_package, lines))


def _is_package(line: str) -> bool:
    return bool(line) and " " not in line and not line.startswith("#")


@contextlib.contextmanager
def _locked(path: Path, what: str) -> Iterator[None]:
    """Hold a lock between processes; given back by the system should we be killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    report(f"{what}: waiting for another process that is at it")
                told = True
                time.sleep(_LOCK_POLL)
        yield


def main(arguments: Sequence[str]) -> int:
    try:
        for name, path in binaries(arguments or PEERS).items():
            print(f"{name}\t{path}")
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
