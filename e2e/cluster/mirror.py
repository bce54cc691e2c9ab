"""The objects of one kind as they are now, kept up to date by a thread that lists and watches."""

import contextlib
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import urllib3

from e2e.cluster.rest import Api, ApiError, Object, Stream, path_of

ADDED, MODIFIED, DELETED = "ADDED", "MODIFIED", "DELETED"

Listener = Callable[[str, Object], None]

_RETRY = 0.5
_PAGE = 500


class Mirror:
    """A context manager around the thread. `synced` is set once everything that was there has been heard.

    `heard` is called in the thread with ADDED, MODIFIED or DELETED and the object. It survives restarts of the API
    server; what was missed meanwhile is heard then.
    """

    def __init__(self, api: Api, kind: str, heard: Listener, namespace: str | None = None) -> None:
        self._api = api
        self._kind = kind
        self._heard = heard
        self._path = path_of(kind, namespace=namespace)
        self._known: dict[str, Object] = {}
        self._stopping = threading.Event()
        self._stream: Stream | None = None
        self._thread = threading.Thread(target=self._run, name=f"mirror of {kind}", daemon=True)
        self.synced = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._stopping.set()
        if self._stream is not None:
            self._stream.close()
        self._thread.join()

    def _run(self) -> None:
        version = ""
        while not self._stopping.is_set():
            try:
                version = self._watch(version) if version else self._list()
            except ApiError:
                # Above all 410: the server no longer knows what happened since then.
                version = ""
                self._stopping.wait(_RETRY)
            except urllib3.exceptions.HTTPError:
                self._stopping.wait(_RETRY)

    def _list(self) -> str:
        found: dict[str, Object] = {}
        params = {"limit": str(_PAGE)}
        while True:
            answer = self._api.get(self._path, **params)
            found.update((each["metadata"]["uid"], each) for each in answer.get("items") or [])
            if not answer["metadata"].get("continue"):
                break
            params["continue"] = answer["metadata"]["continue"]
        for uid in [uid for uid in self._known if uid not in found]:
            self._heard(DELETED, self._known.pop(uid))
        for uid, each in found.items():
            change = MODIFIED if uid in self._known else ADDED
            self._known[uid] = each
            self._heard(change, each)
        self.synced.set()
        return str(answer["metadata"]["resourceVersion"])

    def _watch(self, version: str) -> str:
        """Follow the changes since `version` until the server ends the watch; the version of the last one."""
        self._stream = self._api.stream(self._path, watch="true", resourceVersion=version, allowWatchBookmarks="true")
        if self._stopping.is_set():
            self._stream.close()
        # A break in the middle of an answer loses nothing: what was heard is remembered in `version`.
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            for event in self._stream:
                change, each = event["type"], event["object"]
                if change == "ERROR":
                    raise ApiError(each.get("code", 500), each.get("reason", ""), each.get("message", ""))
                version = each["metadata"]["resourceVersion"]
                if change != "BOOKMARK":
                    self._hear(change, each)
        return version

    def _hear(self, change: str, each: Object) -> None:
        uid = each["metadata"]["uid"]
        if change == DELETED:
            self._known.pop(uid, None)
        else:
            self._known[uid] = each
        self._heard(change, each)
