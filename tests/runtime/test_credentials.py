"""Where the API server is and who we are: what can be used, and what is said when nothing can."""

import asyncio
import base64
import datetime
import errno
import json
import ssl
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import pytest
from aiohttp import web
from kubernetes.aio import config as kube
from kubernetes.aio.config import incluster_config

from controllers.runtime.api_client import ApiClient
from controllers.runtime.credentials import Credentials, CredentialsError
from controllers.runtime.errors import Unreachable, Untrusted
from e2e.cluster.certs import Authority, Pair
from tests.runtime.api_server import ApiServer, Object, say, write_kubeconfig
from tests.runtime.clocks import FakeClock

URL = "http://127.0.0.1:6443"
Mount = Callable[[str | None], None]
Files = Callable[[], list[Path]]
EXEC_API = "client.authentication.k8s.io/v1"


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


async def test_certificate_and_key_of_two_pairs(tmp_path: Path, authority: Authority) -> None:
    one, other = authority.client("one"), authority.client("other")
    user = {"client-certificate": str(one.cert), "client-key": str(other.key)}
    with pytest.raises(CredentialsError, match=r"config: the client-certificate and the client-key do not belong"):
        await loaded(str(write_kubeconfig(tmp_path / "config", "https://127.0.0.1:1", user=user)))


async def test_folder_that_may_not_be_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even for what is wrong in it."""

    def forbidden(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", forbidden)
    with pytest.raises(CredentialsError, match=f"^cannot use kubeconfig {tmp_path}/config: .*Permission denied"):
        await Credentials(str(tmp_path / "config")).load()


async def test_missing_kubeconfig_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match=r"nowhere.*does not exist\nGive --kubeconfig FILE"):
        await loaded(str(tmp_path / "nowhere"))


async def test_unknown_context_is_named(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match=r'it has no context "nonesuch": give --context as one of: x$'):
        await loaded(str(write_kubeconfig(tmp_path / "config", URL)), "nonesuch")


async def test_no_configuration_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    told = r"in-cluster configuration: no kubeconfig is given, and this is no Pod: .*\nGive --kubeconfig FILE"
    with pytest.raises(CredentialsError, match=told):
        await loaded(None)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """Lists the temporary files that there are."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return lambda: list(folder.iterdir())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


@pytest.fixture
def mount(tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Mount:
    """The files and variables that a Pod finds; replaces the token `first`, or takes it away."""
    token = tmp_path / "token"
    token.write_text("first\n")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(authority.ca_file))

    def put(text: str | None) -> None:
        token.unlink(missing_ok=True)
        if text is not None:
            token.write_text(text)

    return put


@pytest.fixture
def age(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Makes what the kubernetes package has read so many seconds older."""
    passed = datetime.timedelta()

    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Self:
            return super().now(tz) + passed

    def grow(seconds: float) -> None:
        nonlocal passed
        passed += datetime.timedelta(seconds=seconds)

    shim = SimpleNamespace(datetime=Later, timedelta=datetime.timedelta)
    monkeypatch.setattr(incluster_config, "datetime", shim)
    return grow


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"bearer {token}"}


@pytest.mark.parametrize(("host", "url"), [("10.96.0.1", "10.96.0.1"), ("fd00::1", "[fd00::1]")])
async def test_in_a_pod(mount: Mount, monkeypatch: pytest.MonkeyPatch, host: str, url: str) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    credentials = await loaded(None)
    assert credentials.server == f"https://{url}:443"
    assert credentials.tls is not None
    assert (credentials.tls.verify_mode, credentials.tls.check_hostname) == (ssl.CERT_REQUIRED, True)
    (trusted,) = credentials.tls.get_ca_certs()
    assert "sliceplane-local-ca" in str(trusted["subject"]), "the mounted authority, and no other"
    assert await credentials.headers() == bearer("first")


async def test_mounted_token_is_read_again_when_it_is_a_minute_old(mount: Mount, age: Callable[[float], None]) -> None:
    credentials = await loaded(None)
    mount("second\n")
    age(50)
    assert await credentials.headers() == bearer("first")
    age(11)
    assert await credentials.headers() == bearer("second")


async def test_mounted_token_is_read_again_when_it_was_refused(mount: Mount) -> None:
    credentials = await loaded(None)
    mount("second\n")
    await credentials.load()
    assert await credentials.headers() == bearer("second")


@pytest.mark.parametrize("left", ["", None], ids=["empty", "missing"])
async def test_mounted_token_that_is_no_more(mount: Mount, age: Callable[[float], None], left: str | None) -> None:
    credentials = await loaded(None)
    mount(left)
    age(61)
    with pytest.raises(CredentialsError, match="cannot refresh"):
        await credentials.headers()
    mount("third")
    assert await credentials.headers() == bearer("third")


@pytest.mark.parametrize("lacking", ["token", "authority", "address"])
async def test_half_a_pod_is_named(mount: Mount, monkeypatch: pytest.MonkeyPatch, lacking: str) -> None:
    if lacking == "token":
        mount(None)
    elif lacking == "authority":
        monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", "/nowhere")
    else:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "")
    with pytest.raises(CredentialsError, match=r"in-cluster configuration.*\nGive --kubeconfig FILE"):
        await loaded(None)


def plugin(folder: Path, status: str, code: int = 0) -> Object:
    """A user whose credentials a program prints; `$n` in the status is how often it has run."""
    credential = f'{{"apiVersion": "{EXEC_API}", "kind": "ExecCredential", "status": {status}}}'
    script = folder / "plugin.sh"
    script.write_text(f"echo >> {folder}/runs\nn=$(wc -l < {folder}/runs)\ncat <<end\n{credential}\nend\nexit {code}\n")
    return {"exec": {"apiVersion": EXEC_API, "command": "/bin/sh", "args": [str(script)]}}


def shown(pair: Pair) -> str:
    """What a plugin says that has a certificate; the shell takes one backslash of two."""
    status = {"clientCertificateData": pair.cert.read_text(), "clientKeyData": pair.key.read_text()}
    return json.dumps(status).replace("\\", "\\\\")


async def test_token_of_a_plugin(tmp_path: Path) -> None:
    user = plugin(tmp_path, '{"token": "token-$n"}')
    credentials = Credentials(str(write_kubeconfig(tmp_path / "config", URL, user=user)))
    for number in (1, 2):
        await credentials.load()
        assert await credentials.headers() == {"Authorization": f"Bearer token-{number}"}
    await credentials.close()


async def test_token_of_a_plugin_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube, "refresh_token", partial(kube.refresh_token, interval=0.01))
    user = plugin(tmp_path, '{"token": "token-$n"}')
    credentials = Credentials(str(write_kubeconfig(tmp_path / "config", URL, user=user)))
    await credentials.load()
    for _ in range(1000):
        if await credentials.headers() != {"Authorization": "Bearer token-1"}:
            break
        await asyncio.sleep(0.01)
    await credentials.close()
    assert (await credentials.headers())["Authorization"] > "Bearer token-1"


async def test_plugin_that_fails_is_named(tmp_path: Path) -> None:
    user = plugin(tmp_path, "{}", code=3)
    with pytest.raises(CredentialsError, match="config"):
        await loaded(str(write_kubeconfig(tmp_path / "config", URL, user=user)))


async def who(request: web.Request) -> web.Response:
    """Tells the subject of the client's certificate."""
    assert request.transport is not None
    certificate = request.transport.get_extra_info("peercert") or {}
    return web.Response(text=dict(part[0] for part in certificate.get("subject", ())).get("commonName", "nobody"))


def listening(authority: Authority, *names: str) -> ssl.SSLContext:
    """A server's side of TLS: reached under these names; a client may show a certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.ca_file))
    pair = authority.serving(names)
    context.load_cert_chain(pair.cert, pair.key)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


async def answer(folder: Path, url: str, *, cluster: Object, user: Object | None = None) -> str:
    """What the server at `url` says to who asks with this kubeconfig."""
    kubeconfig = write_kubeconfig(folder / "config", url, cluster=cluster, user=user)
    async with ApiClient(Credentials(str(kubeconfig)), FakeClock(), user_agent="test") as client:
        return (await client.request("GET", "/version", attempts=1)).decode()


def data(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


@pytest.mark.parametrize("how", ["files", "data", "plugin"])
async def test_client_certificate(tmp_path: Path, authority: Authority, temporary: Files, how: str) -> None:
    """The server sees it; and no private key is left in a temporary file while it is in use."""
    pair = authority.client("sliceplane")
    cluster = {"certificate-authority-data": data(authority.ca_file)}
    user = {
        "files": {"client-certificate": str(pair.cert), "client-key": str(pair.key)},
        "data": {"client-certificate-data": data(pair.cert), "client-key-data": data(pair.key)},
        "plugin": plugin(tmp_path, shown(pair)),
    }[how]
    left: list[Path] = []

    async def look(request: web.Request) -> web.Response:
        left.extend(temporary())
        return await who(request)

    async with ApiServer().serving(listening(authority, "127.0.0.1")) as server:
        server.will("GET", look)
        assert await answer(tmp_path, server.url, cluster=cluster, user=user) == "sliceplane"
    assert left == []
    assert {pair.cert.exists(), pair.key.exists(), authority.ca_file.exists()} == {True}


async def test_server_has_another_name(tmp_path: Path, authority: Authority) -> None:
    cluster = {"certificate-authority": str(authority.ca_file)}
    async with ApiServer().serving(listening(authority, "api.example")) as server:
        server.will("GET", who)
        with pytest.raises(Untrusted) as caught:
            await answer(tmp_path, server.url, cluster=cluster)
        host = server.url.removeprefix("https://")
        assert str(caught.value) == (
            f"GET /version: the certificate of the API server at {host} is for other names "
            "(IP address mismatch, certificate is not valid for '127.0.0.1'): "
            "use one of its names as server, or as tls-server-name"
        )
        named = {**cluster, "tls-server-name": "api.example"}
        assert await answer(tmp_path, server.url, cluster=named) == "nobody"


async def test_certificate_that_nobody_vouches_for(tmp_path: Path, authority: Authority) -> None:
    async with ApiServer().serving(listening(authority, "api.example")) as server:
        server.will("GET", who)
        with pytest.raises(Untrusted, match="not signed by an authority that this system trusts, and the kubeconfig"):
            await answer(tmp_path, server.url, cluster={})
        assert await answer(tmp_path, server.url, cluster={"insecure-skip-tls-verify": True}) == "nobody"


async def test_certificate_that_another_authority_vouches_for(tmp_path: Path, authority: Authority) -> None:
    other = Authority(tmp_path / "other")
    async with ApiServer().serving(listening(authority, "127.0.0.1")) as server:
        server.will("GET", who)
        with pytest.raises(
            Untrusted, match=r"is not signed by the certificate-authority of the kubeconfig \(.+\): is th"
        ):
            await answer(tmp_path, server.url, cluster={"certificate-authority": str(other.ca_file)})


async def test_server_without_tls(tmp_path: Path, server: ApiServer) -> None:
    url = server.url.replace("http:", "https:")
    with pytest.raises(Unreachable) as caught:
        await answer(tmp_path, url, cluster={"insecure-skip-tls-verify": True})
    assert str(caught.value).startswith(f"GET /version: no TLS with {url.removeprefix('https://')}: ")
    assert not isinstance(caught.value, Untrusted)


@pytest.mark.parametrize("insecure", [False, True])
async def test_skipping_the_verification_is_a_choice(tmp_path: Path, insecure: bool) -> None:
    url, cluster = "https://127.0.0.1:6443", {"insecure-skip-tls-verify": insecure}
    tls = (await loaded(str(write_kubeconfig(tmp_path / "config", url, cluster=cluster)))).tls
    assert tls is not None
    assert (tls.verify_mode, tls.check_hostname) == (ssl.CERT_NONE if insecure else ssl.CERT_REQUIRED, not insecure)


async def test_proxy(tmp_path: Path, server: ApiServer) -> None:
    server.will("GET", say(b"through"))
    url = "http://api.invalid:6443"
    assert await answer(tmp_path, url, cluster={"proxy-url": server.url}) == "through"
    (asked,) = server.asked
    assert asked.headers["Host"] == "api.invalid:6443"


async def test_no_private_key_is_left_when_loading_fails(
    tmp_path: Path, authority: Authority, temporary: Files
) -> None:
    user = {
        "client-certificate-data": base64.b64encode(b"hello").decode(),
        "client-key-data": data(authority.client("x").key),
    }
    with pytest.raises(CredentialsError):
        await loaded(str(write_kubeconfig(tmp_path / "config", "https://127.0.0.1:1", user=user)))
    assert temporary() == []


async def test_no_private_key_is_left_when_a_plugin_is_asked_again(
    tmp_path: Path, authority: Authority, temporary: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kube, "refresh_token", partial(kube.refresh_token, interval=0.01))
    pair = authority.client("sliceplane")
    user = plugin(tmp_path, shown(pair))
    credentials = Credentials(str(write_kubeconfig(tmp_path / "config", "https://127.0.0.1:1", user=user)))
    await credentials.load()
    await asyncio.sleep(0.5)
    await credentials.close()
    assert temporary() == []
