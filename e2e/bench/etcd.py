"""The API server's store itself, through etcd's JSON gateway: for what would take an API server minutes to be told."""

import asyncio
import base64
from collections.abc import AsyncGenerator, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

_AT_ONCE: Final = 16
_PAGE: Final = 5_000


class EtcdError(Exception):
    """etcd did not do what it was asked for; the message has its answer."""


class Etcd:
    """Reads and writes raw keys, as an async context manager. What is written reaches API servers as any other write.

    One key at a time and no transactions: the keys of one share a revision, which the API server itself never lets
    happen. Loaded so, it did not find addresses that were there.
    """

    def __init__(self, socket: Path) -> None:
        """`socket` is etcd's unix socket for clients."""
        self._socket = socket
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Etcd":
        self._session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self._socket)))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, key: str) -> bytes:
        """The value of one key. Raises EtcdError when it is not there."""
        answer = await self._ask("range", {"key": _encoded(key.encode())})
        if not answer.get("kvs"):
            raise EtcdError(f"etcd has no {key}")
        return base64.b64decode(answer["kvs"][0]["value"])

    async def count(self, prefix: str) -> int:
        """How many keys begin so."""
        answer = await self._ask("range", {**_prefixed(prefix), "count_only": True})
        return int(answer.get("count", 0))

    async def put_all(self, pairs: Iterable[tuple[str, bytes]]) -> int:
        """Writes every key and value, and returns how many there were. Raises EtcdError."""

        async def put(rest: Iterator[tuple[str, bytes]]) -> int:
            written = 0
            for key, value in rest:
                await self._ask("put", {"key": _encoded(key.encode()), "value": _encoded(value)})
                written += 1
            return written

        # All take from the same iterator, so that no more objects exist than are on their way.
        shared = iter(pairs)
        return sum(await asyncio.gather(*(put(shared) for _ in range(_AT_ONCE))))

    async def delete_prefix(self, prefix: str) -> int:
        """Deletes what begins so, and returns how many there were. Raises EtcdError."""
        deleted = 0
        async for keys in self._keys(prefix):

            async def delete(rest: Iterator[str]) -> None:
                for key in rest:
                    await self._ask("deleterange", {"key": key})

            shared = iter(keys)
            await asyncio.gather(*(delete(shared) for _ in range(_AT_ONCE)))
            deleted += len(keys)
        return deleted

    async def _keys(self, prefix: str) -> AsyncGenerator[list[str]]:
        """Pages of keys, still in base64, until there are none left."""
        while True:
            answer = await self._ask("range", {**_prefixed(prefix), "keys_only": True, "limit": _PAGE})
            found = [each["key"] for each in answer.get("kvs", ())]
            if not found:
                return
            yield found

    async def _ask(self, call: str, body: dict[str, Any]) -> dict[str, Any]:
        if self._session is None:
            raise RuntimeError("the Etcd is not open: use it as an async context manager")
        async with self._session.post(f"http://etcd/v3/kv/{call}", data=msgspec.json.encode(body)) as response:
            text = await response.read()
            if response.status != 200:
                raise EtcdError(f"etcd answered {response.status} to {call}: {text[:500].decode(errors='replace')}")
            answer: dict[str, Any] = msgspec.json.decode(text)
            return answer


def _encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _prefixed(prefix: str) -> dict[str, str]:
    raw = prefix.encode()
    return {"key": _encoded(raw), "range_end": _encoded(raw[:-1] + bytes([raw[-1] + 1]))}
