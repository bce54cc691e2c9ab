"""The same small conversation with either API server, and what can be compared of the answers."""

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from controllers.runtime.api_client import METADATA_ONLY, ApiClient
from controllers.runtime.errors import ApiError
from controllers.runtime.watch import Lines
from e2e.bench.load import NAMESPACE, READY_SINCE, STRATEGIC

Object = dict[str, Any]

SLICES: Final = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
PODS: Final = f"/api/v1/namespaces/{NAMESPACE}/pods"
_VARIES: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\b\d+\b")


def shape(value: object) -> object:
    """Which fields there are, in their order, and of which type: what is in them differs."""
    if isinstance(value, dict):
        return [(_VARIES.sub("…", key), shape(each)) for key, each in value.items()]
    return [shape(each) for each in value] if isinstance(value, list) else type(value).__name__


def new_slice(**metadata: str) -> Object:
    """A slice of one endpoint, as the controller writes it."""
    labels = {"kubernetes.io/service-name": "svc-0", "endpointslice.kubernetes.io/managed-by": "test"}
    return {
        "metadata": {"name": "one", "namespace": NAMESPACE, "generateName": "o", "labels": labels, **metadata},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}, "nodeName": "node-0"}],
        "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
    }


class Conversation:
    """Asks one server, and notes the answers by what was asked."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self.notes: dict[str, object] = {}

    async def ask(self, note: str, method: str, path: str, body: Object | None = None, **options: Any) -> Object:
        """Notes the shape of the answer, or the code and words of the refusal."""
        try:
            encoded = msgspec.json.encode(body) if body is not None else None
            answer = await self._client.request(method, path, body=encoded, **options)
        except ApiError as error:
            status = error.status
            self.notes[note] = (type(error).__name__, status.code, status.reason, _VARIES.sub("…", status.message))
            return {}
        found: Object = msgspec.json.decode(answer)
        self.notes[note] = shape(found)
        return found

    async def events(self, path: str, query: dict[str, str], enough: Callable[[list[Object]], bool]) -> list[Object]:
        """The events of a watch, until there are enough."""
        found: list[Object] = []
        lines = Lines()
        async with self._client.stream(path, {"watch": "true", **query}, idle_seconds=20.0) as stream:
            async for chunk in stream.iter_any():
                found += map(msgspec.json.decode, lines.feed(chunk))
                if enough(found):
                    break
        return found

    async def writes(self) -> None:
        """Creates, updates and deletes a slice, rightly and wrongly; then reads it all from the watch."""
        since = (await self.ask("empty list", "GET", SLICES))["metadata"]["resourceVersion"]
        one = f"{SLICES}/one"
        made = (await self.ask("create", "POST", SLICES, new_slice(), accept=METADATA_ONLY))["metadata"]
        await self.ask("create again", "POST", SLICES, new_slice(), accept=METADATA_ONLY)
        await self.ask("get", "GET", one)
        changed = new_slice(uid=made["uid"], resourceVersion=made["resourceVersion"])
        changed["endpoints"][0]["conditions"]["ready"] = False
        written = (await self.ask("update", "PUT", one, changed, accept=METADATA_ONLY))["metadata"]
        await self.ask("update of what has changed", "PUT", one, changed)
        changed["metadata"]["resourceVersion"] = written["resourceVersion"]
        same = (await self.ask("update to the same", "PUT", one, changed))["metadata"]
        self.notes["generations"] = [each.get("generation") for each in (made, written, same)]
        self.notes["versions"] = [
            made["resourceVersion"] == written["resourceVersion"],
            written["resourceVersion"] == same["resourceVersion"],
        ]
        changed["metadata"].update(uid="5eed5eed-0000-4000-8000-000000000000", resourceVersion="")
        await self.ask("update of another uid", "PUT", one, changed)
        await self.ask("update of none", "PUT", f"{SLICES}/two", new_slice(name="two"))
        await self.ask("delete another version", "DELETE", one, _delete(resourceVersion=made["resourceVersion"]))
        await self.ask("delete another uid", "DELETE", one, _delete(uid="5eed5eed-0000-4000-8000-000000000000"))
        await self.ask("delete", "DELETE", one, _delete(uid=made["uid"], resourceVersion=written["resourceVersion"]))
        await self.ask("delete again", "DELETE", one)
        await self.ask("get again", "GET", one)
        seen = await self.events(SLICES, {"resourceVersion": since}, lambda found: len(found) == 3)
        self.notes["events"] = [(each["type"], shape(each["object"])) for each in seen]
        versions = [int(each["object"]["metadata"]["resourceVersion"]) for each in seen]
        self.notes["events rise"] = versions == sorted(set(versions))

    async def reads(self) -> None:
        """Lists in pages and at once, streams, and a change of a Pod."""
        for path in ("/api/v1/pods", "/api/v1/services", "/api/v1/nodes", PODS):
            await self._pages(path)
            await self._streamed(path)
        await self.ask("bad token", "GET", PODS, query={"limit": "2", "continue": "abc"})
        self.notes["bad token"] = self.notes["bad token"][:3]  # type: ignore[index]
        await self.ask("no such Pod", "GET", f"{PODS}/pod-99")
        before = await self.ask("Pod", "GET", f"{PODS}/pod-3")
        present = (await self.ask("one Pod", "GET", PODS, query={"limit": "1"}))["metadata"]["resourceVersion"]
        condition = {"type": "Ready", "status": "False", "lastTransitionTime": READY_SINCE}
        patch: Object = {"status": {"conditions": [condition]}}
        after = await self.ask("patched Pod", "PATCH", f"{PODS}/pod-3/status", patch, content_type=STRATEGIC)
        self.notes["ready"] = [each["status"]["conditions"][3]["status"] for each in (before, after)]
        since = {"resourceVersion": present, "fieldSelector": "metadata.name=pod-3"}
        seen = await self.events("/api/v1/pods", since, lambda found: len(found) == 1)
        self.notes["Pod's event"] = [(each["type"], shape(each["object"])) for each in seen]

    async def _pages(self, path: str) -> None:
        pages: list[Object] = []
        token = ""
        while token or not pages:
            query = {"limit": "3", "continue": token} if token else {"limit": "3"}
            page = await self.ask(f"pages of {path}", "GET", path, query=query)
            token = page["metadata"].get("continue", "")
            pages.append(page)
        self.notes[f"pages of {path}"] = [
            (page["metadata"].get("remainingItemCount"), _names(page["items"]), shape(page["items"][0]))
            for page in pages
        ]
        self.notes[f"one version of {path}"] = len({page["metadata"]["resourceVersion"] for page in pages})

    async def _streamed(self, path: str) -> None:
        query = {
            "sendInitialEvents": "true",
            "resourceVersionMatch": "NotOlderThan",
            "allowWatchBookmarks": "true",
        }
        seen = await self.events(path, query, lambda found: any(each["type"] == "BOOKMARK" for each in found))
        self.notes[f"stream of {path}"] = [(each["type"], shape(each["object"])) for each in seen]
        self.notes[f"names of {path}"] = sorted(_names([each["object"] for each in seen[:-1]]))


def _names(objects: list[Object]) -> list[str]:
    return [each["metadata"]["name"] for each in objects]


def _delete(**preconditions: str) -> Object:
    return {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": preconditions}
