"""Lists by the page, and what is said when there are none to be had."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from controllers.ipam_operator import kinds
from controllers.ipam_tools import reading
from controllers.ipam_tools.errors import ToolError
from controllers.ipam_tools.reading import Access, listed, said
from controllers.runtime.api_client import ApiClient
from controllers.runtime.errors import ApiError, Expired, Forbidden, NotFound, Status, Unreachable, Untrusted

ROOT = Path(__file__).parents[2]


class Pages:
    """Answers in turn, and remembers what was asked."""

    def __init__(self, *answers: Any) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self._answers = list(answers)

    async def request(self, method: str, path: str, *, query: Mapping[str, str], **_: Any) -> bytes:
        self.asked.append((path, dict(query)))
        answer = self._answers.pop(0)
        if isinstance(answer, ApiError):
            raise answer
        return msgspec.json.encode(answer)


def page(*items: Any, more: str = "") -> dict[str, Any]:
    return {"metadata": {"continue": more}, "items": list(items) or None}


def named(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": spec}


async def read(pages: Pages, kind: Any = kinds.SERVICES, **more: Any) -> reading.Listed:
    return await listed(cast("ApiClient", pages), kind, **more)


async def test_pages_follow_each_other() -> None:
    pages = Pages(page(named("a"), more="next"), page(named("b")), page())
    assert [each.key for each in (await read(pages)).found] == ["shop/a", "shop/b"]
    assert pages.asked == [
        ("/api/v1/services", {"limit": "500"}),
        ("/api/v1/services", {"limit": "500", "continue": "next"}),
    ]
    assert await read(pages) == ([], [])


async def test_of_a_namespace_by_labels() -> None:
    pages = Pages(page())
    await read(pages, namespace="shop", query={"labelSelector": "a=b"})
    assert pages.asked == [("/api/v1/namespaces/shop/services", {"labelSelector": "a=b", "limit": "500"})]


async def test_a_list_that_expires_is_read_anew() -> None:
    pages = Pages(page(named("a"), more="next"), Expired("too old"), page(named("b")))
    assert [each.name for each in (await read(pages)).found] == ["b"]
    with pytest.raises(ToolError, match="expires faster"):
        await read(Pages(Expired("too old"), Expired("too old")))


async def test_what_is_not_understood_is_left_out() -> None:
    good, wrong = named("good", ranges=[{"cidr": "10.96.0.0/24"}]), named("wrong", ranges=[])
    found = await read(Pages(page(wrong, good)), kinds.IP_POOLS)
    assert [each.name for each in found.found] == ["good"]
    (told,) = found.skipped
    assert told.startswith("ServiceIPPool shop/wrong: ")
    (told,) = (await read(Pages(page(named("odd", ports=5))))).skipped
    assert told.startswith("Service shop/odd: Expected `array | null`")


@pytest.mark.parametrize(
    ("kind", "message"),
    [(kinds.RESERVATIONS, "apply config/crd first"), (kinds.SERVICE_CIDRS, "it takes Kubernetes 1.33 or newer")],
)
async def test_what_is_not_served(kind: Any, message: str) -> None:
    with pytest.raises(ToolError, match=message):
        await read(Pages(NotFound("GET: 404")), kind)


def test_errors_in_words() -> None:
    own = Status(code=403, message='User "u" cannot list resource "services"')
    assert said(Forbidden("GET /x: 403", status=own)).startswith('User "u" cannot list resource "services": ask for')
    assert said(Untrusted("GET /x: the certificate is for other names"), "https://api") == (
        "GET /x: the certificate is for other names"
    )
    assert said(Unreachable("GET /x: refused"), "https://api") == (
        "the API server https://api does not answer: GET /x: refused"
    )
    assert said(ApiError("GET /x: 400", status=Status(code=400, message="bad selector"))) == "bad selector"


def test_kubectls_own_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    assert reading._kubeconfig_at_home() is None
    file = tmp_path / ".kube" / "config"
    file.parent.mkdir()
    file.write_text("{}")
    assert reading._kubeconfig_at_home() == str(file)
    monkeypatch.setenv("KUBECONFIG", "/elsewhere")
    assert reading._kubeconfig_at_home() is None


async def test_a_server_that_is_away(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nusers: [{name: u, user: {token: t}}]\n"
        "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}]\n"
        "contexts: [{name: c, context: {cluster: c, user: u}}]\n"
    )
    with pytest.raises(ToolError, match=r"the API server http://127\.0\.0\.1:9 does not answer"):
        async with reading.connected(Access(str(file))) as client:
            await client.request("GET", "/version", attempts=1)


def test_other_commands_pay_nothing() -> None:
    code = (
        "import sys; import controllers.ipam_tools.command; heavy = 'aiohttp kopf kubernetes msgspec pydantic yaml'\n"
        "print([each for each in heavy.split() if each in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "[]\n"
