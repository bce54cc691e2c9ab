"""A collection read page by page, where the API server makes the next pages while one is on its way.

A page begins with where the next one begins, long before its end: the server sends an object as soon as it is encoded.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from controllers.runtime.api_client import ApiClient
from controllers.runtime.errors import Expired

# 5 kB a Pod, 10 kB a Node: some megabytes at a time.
PAGE: Final = 500
# So many are asked for at a time; another one may be in the hands of the reader.
AHEAD: Final = 2
# What stands before the objects is shorter, whatever the server puts into its token.
_LONGEST_HEAD: Final = 16_384
_OBJECTS: Final = b',"items":['


class ListMeta(Struct, rename="camel"):
    """The version of a list, and where its next page begins: "" for the last one."""

    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _Headed(Struct):
    metadata: ListMeta


class Page(NamedTuple):
    """A page's metadata, and its JSON as a whole."""

    meta: ListMeta
    body: bytes


@asynccontextmanager
async def listed(
    client: ApiClient, path: str, query: Mapping[str, str] | None = None, *, first: int = 1, attempts: int = 4
) -> AsyncGenerator[AsyncGenerator[Page]]:
    """The pages of one list, in their order. What is asked for and not wanted any more is called off at the end.

    `first` and `attempts` are how often the first page and each other is asked for at most: only a list that has begun
    must be gone on with, or all be read again. Reading raises ApiError (Expired: it must be begun anew), and
    msgspec.MsgspecError for what is no list.
    """
    listing = _Listing(client, path, query or {}, first, attempts)
    try:
        yield listing.pages()
    finally:
        await listing.close()


class _Listing:
    def __init__(self, client: ApiClient, path: str, query: Mapping[str, str], first: int, attempts: int) -> None:
        self._client, self._path, self._query = client, path, {**query, "limit": str(PAGE)}
        self._first, self._attempts = first, attempts
        # Where each page that is under way begins, and its body.
        self._pages: deque[tuple[str, asyncio.Task[bytes]]] = deque()
        self._asked = 0
        # Where the page after the last one that was asked for begins, once that is known.
        self._next = ""

    async def pages(self) -> AsyncGenerator[Page]:
        self._ask("")
        number = 0
        while self._pages:
            body = await self._pages[0][1]
            self._pages.popleft()
            number += 1
            meta = msgspec.json.decode(body, type=_Headed).metadata
            if self._pages and self._pages[0][0] != meta.continue_:
                raise Expired(f"GET {self._path}: page {number} was another one when it was asked for again")
            self._told(number, meta.continue_)
            yield Page(meta, body)

    async def close(self) -> None:
        tasks = [task for _, task in self._pages]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ask(self, token: str) -> None:
        self._asked += 1
        self._pages.append((token, asyncio.create_task(self._page(self._asked, token))))

    async def _page(self, number: int, token: str) -> bytes:
        query, attempts = self._query, self._first
        if token:
            query, attempts = {**query, "continue": token}, self._attempts

        def began(head: bytes) -> bool:
            self._told(number, following(head))
            return _OBJECTS in head or len(head) > _LONGEST_HEAD

        return await self._client.request("GET", self._path, query=query, attempts=attempts, began=began)

    def _told(self, number: int, token: str) -> None:
        """Page `number` says where the next begins: for the second time, when it was cut off and is asked for again."""
        if number == self._asked:
            self._next = token
        if self._next and len(self._pages) < AHEAD:
            token, self._next = self._next, ""
            self._ask(token)


def following(head: bytes) -> str:
    """Where the next page begins, as the beginning of a page tells; "" when it does not, or when there is none."""
    before, objects, _ = head.partition(_OBJECTS)
    if not objects:
        return ""
    try:
        return msgspec.json.decode(before + b"}", type=_Headed).metadata.continue_
    except msgspec.MsgspecError:
        return ""
