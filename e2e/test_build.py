"""Where the peers' binaries come from."""

from pathlib import Path

import pytest

from e2e.cluster import build
from e2e.cluster.toolchain import BuildError

HELLO = 'package main\n\nfunc main() { println("hello") }\n'


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("SLICEPLANE_CACHE", str(folder))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    return folder


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "hello"
    folder.mkdir()
    (folder / "go.mod").write_text("module hello\n\ngo 1.26.0\n")
    (folder / "main.go").write_text(HELLO)
    return folder


def test_given_folder_comes_first(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    etcd = tmp_path / "etcd"
    etcd.touch(mode=0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    assert build.binaries(["etcd"]) == {"etcd": etcd}


def test_given_folder_must_be_one(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "nowhere"))
    with pytest.raises(BuildError, match="nowhere is no folder"):
        build.binaries(["etcd"])


def test_unknown_peer_is_refused() -> None:
    with pytest.raises(BuildError, match="no such peer: kubelet"):
        build.binaries(["kubelet"])


@pytest.mark.server
def test_module_is_built_once_for_each_state_of_its_files(
    cache: Path, module: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    first = build.build_module("hello", module)
    assert first.is_relative_to(cache)
    assert "hello: built in" in capfd.readouterr().err

    assert build.build_module("hello", module) == first
    assert capfd.readouterr().err == ""

    (module / "main.go").write_text(HELLO.replace("hello", "goodbye"))
    assert build.build_module("hello", module) != first


@pytest.mark.server
def test_failed_build_shows_what_go_said(cache: Path, module: Path) -> None:
    (module / "main.go").write_text(HELLO.replace("println", "printline"))
    with pytest.raises(BuildError, match="undefined: printline"):
        build.build_module("hello", module)
    assert [path for path in cache.rglob("hello")] == []
