"""A kubeconfig that cannot be used: which file, what is wrong with it, and what to do."""

import base64
from pathlib import Path

import pytest

from controllers.runtime.credentials import Credentials, CredentialsError
from tests.runtime.api_server import write_kubeconfig


def refused(cluster: str = "", user: str = "{token: t}", context: str = "{cluster: c, user: u}") -> str:
    """A kubeconfig of which one part is as it must not be."""
    return f"""\
current-context: x
contexts: [{{name: x, context: {context}}}]
clusters: [{{name: c, cluster: {cluster or '{server: "https://127.0.0.1:1"}'}}}]
users: [{{name: u, user: {user}}}]
"""


def server_with(more: str) -> str:
    return f'{{server: "https://127.0.0.1:1", {more}}}'


PEM = "it must be in PEM, beginning with -----BEGIN CERTIFICATE-----"
HELLO = base64.b64encode(b"hello").decode()
BROKEN: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "it is empty: write the kubeconfig into it, or give another file"),
    "comment": ("# nothing\n", "it is empty: write the kubeconfig into it, or give another file"),
    "no-yaml": ("a: 1\nclusters: [", "it is not valid YAML: line 2: expected the node content, but found"),
    "control": ("\x01", "it is no kubeconfig: not valid YAML: unacceptable character"),
    "binary": (b"\x7fELF\xff\xfe", "it is no kubeconfig: not UTF-8 text (byte 4)"),
    "deep": ("[" * 100_000, "it is no kubeconfig: not valid YAML: "),
    "a-list": ("- a\n- b\n", "it is no kubeconfig: it lacks clusters, contexts, users; give another file"),
    "a-word": ("hello", "it is no kubeconfig: it lacks clusters, contexts, users; give another file"),
    "another-kind": (
        "apiVersion: v1\nkind: Service\n",
        "it is no kubeconfig: it lacks clusters, contexts, users, but is a Service; give another file",
    ),
    "no-contexts": (
        "apiVersion: v1\nkind: Config\n",
        "it is no kubeconfig: it lacks clusters, contexts, users; give another file",
    ),
    "no-list": ("clusters: 5\n", "clusters must be a list"),
    "no-names": ("clusters: [5]\n", "clusters: each item must have a name"),
    "no-current": (
        "contexts: [{name: a}, {name: b}]",
        "it has no current-context: give --context as one of: a, b",
    ),
    "unknown-context": (
        "current-context: x\ncontexts: []\nclusters: []\nusers: []\n",
        'it has no context "x": it has no contexts at all; give another file',
    ),
    "null-lists": (
        "current-context: x\ncontexts: null\nclusters: null\nusers: null\n",
        'it has no context "x": it has no contexts at all; give another file',
    ),
    "null-context": (refused(context="null"), 'its context "x" names no cluster: add one, or give another --context'),
    "no-user": (refused(context="{cluster: c}"), 'its context "x" names no user: add one, or give another --context'),
    "unknown-cluster": (
        refused(context="{cluster: d, user: u}"),
        'it has no cluster "d", which its context "x" names: add it to clusters',
    ),
    "unknown-user": (
        refused(context="{cluster: c, user: v}"),
        'it has no user "v", which its context "x" names: add it to users',
    ),
    "null-user": (refused(user="null"), 'its user "u" is null: give it credentials, such as a token'),
    "null-cluster": (refused("null"), 'its cluster "c" is null: give it its server'),
    "no-server": (refused("{}"), 'its cluster "c" has no server: give it the URL of the API server'),
    "odd-server": (refused("{server: 5}"), 'its cluster "c" has no server: give it the URL of the API server'),
    "bad-base64": (
        refused(server_with('certificate-authority-data: "%%%"')),
        'its cluster "c" has a certificate-authority-data that is not base64',
    ),
    "bad-authority": (
        refused(server_with(f"certificate-authority-data: {HELLO}")),
        f'its cluster "c" has a certificate-authority-data that is no certificate: {PEM}',
    ),
    "no-authority": (
        refused(server_with("certificate-authority: nowhere.crt")),
        'its cluster "c" has a certificate-authority that cannot be read: '
        "FOLDER/nowhere.crt: no such file or directory",
    ),
    "authority-is-folder": (
        refused(server_with("certificate-authority: .")),
        'its cluster "c" has a certificate-authority that cannot be read: FOLDER: is a directory',
    ),
    "bad-certificate": (
        refused(user=f"{{client-certificate-data: {HELLO}, client-key-data: {HELLO}}}"),
        f'its user "u" has a client-certificate-data that is no certificate: {PEM}',
    ),
    "no-key-file": (
        refused(user="{client-certificate: config, client-key: /nowhere.key}"),
        'its user "u" has a client-key that cannot be read: /nowhere.key: no such file or directory',
    ),
    "no-token-file": (
        refused(user="{tokenFile: token}"),
        'its user "u" has a tokenFile that cannot be read: FOLDER/token: no such file or directory',
    ),
}


@pytest.mark.parametrize(("content", "told"), BROKEN.values(), ids=BROKEN.keys())
async def test_useless_kubeconfig_is_named_with_what_is_wrong(tmp_path: Path, content: str | bytes, told: str) -> None:
    """And not with how to give one: that has been done."""
    path = tmp_path / "config"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CredentialsError) as caught:
        await Credentials(str(path)).load()
    assert str(caught.value).startswith(f"cannot use kubeconfig {path}: {told.replace('FOLDER', str(tmp_path))}")
    assert "Give --kubeconfig" not in str(caught.value)


async def test_folder_is_no_kubeconfig(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError) as caught:
        await Credentials(str(tmp_path)).load()
    assert str(caught.value) == f"cannot use kubeconfig {tmp_path}: it is a directory: give a file in it"


async def test_the_broken_one_of_several_kubeconfigs_is_named(tmp_path: Path) -> None:
    good, bad = write_kubeconfig(tmp_path / "good", "http://127.0.0.1:6443"), tmp_path / "bad"
    bad.write_text("users: 5")
    with pytest.raises(CredentialsError) as caught:
        await Credentials(f"{good}:{tmp_path / 'nowhere'}:{bad}").load()
    assert str(caught.value) == f"cannot use kubeconfig {bad}: users must be a list"
