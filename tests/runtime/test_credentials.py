"""Where the API server is: what can be used, and what is said when nothing can."""

from pathlib import Path

import pytest

from controllers.runtime.credentials import Credentials, CredentialsError
from tests.runtime.api_server import write_kubeconfig

URL = "http://127.0.0.1:6443"


async def loaded(kubeconfig: str | None, context: str | None = None) -> Credentials:
    credentials = Credentials(kubeconfig, context)
    await credentials.load()
    await credentials.close()
    return credentials


async def test_kubeconfig(tmp_path: Path) -> None:
    credentials = await loaded(str(write_kubeconfig(tmp_path / "config", URL)))
    assert (credentials.server, credentials.tls, credentials.proxy) == (URL, None, None)
    assert await credentials.headers() == {"Authorization": "Bearer secret"}


async def test_kubeconfig_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "config", URL)))
    assert (await loaded(None)).server == URL


async def test_flag_wins_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    assert (await loaded(str(write_kubeconfig(tmp_path / "config", URL)))).server == URL


async def test_token_may_end_in_a_newline(tmp_path: Path) -> None:
    credentials = await loaded(str(write_kubeconfig(tmp_path / "config", URL, "secret\n")))
    assert await credentials.headers() == {"Authorization": "Bearer secret"}


BROKEN = {
    "empty": "",
    "no-yaml": "clusters: [",
    "a-list": "- a\n- b\n",
    "a-word": "hello",
    "no-contexts": "apiVersion: v1\nkind: Config\n",
    "unknown-context": "apiVersion: v1\nkind: Config\ncurrent-context: x\ncontexts: []\nclusters: []\nusers: []\n",
    "null-lists": "apiVersion: v1\nkind: Config\ncurrent-context: x\ncontexts: null\nclusters: null\nusers: null\n",
    "bad-base64": """\
current-context: x
contexts: [{name: x, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1", certificate-authority-data: "%%%"}}]
users: [{name: u, user: {token: t}}]
""",
    "bad-authority": """\
current-context: x
contexts: [{name: x, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1", certificate-authority-data: "aGVsbG8="}}]
users: [{name: u, user: {token: t}}]
""",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
async def test_useless_kubeconfig_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(CredentialsError, match=str(path)):
        await loaded(str(path))


async def test_missing_kubeconfig_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match=r"nowhere.*does not exist\nGive --kubeconfig FILE"):
        await loaded(str(tmp_path / "nowhere"))


async def test_unknown_context_is_named(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="nonesuch"):
        await loaded(str(write_kubeconfig(tmp_path / "config", URL)), "nonesuch")


async def test_no_configuration_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(CredentialsError, match=r"in-cluster configuration.*\nGive --kubeconfig FILE"):
        await loaded(None)
