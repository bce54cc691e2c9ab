"""Pages of a list: the next ones are under way while one is read, and each is asked for as often as it must be."""

import asyncio
import json
from collections.abc import Callable

import pytest
from aiohttp import web

from controllers.runtime.api_client import ApiClient
from controllers.runtime.errors import ApiError, Expired, ServerError
from controllers.runtime.listing import AHEAD, following, listed
from tests.runtime.api_server import Answer, ApiServer, cut, refuse, say

Ready = Callable[[], bool]


def page(name: str, more: str = "") -> bytes:
    """As the API server writes it."""
    meta = {"resourceVersion": "5", **({"continue": more, "remainingItemCount": 1} if more else {})}
    return json.dumps({"kind": "PodList", "metadata": meta, "items": [{"name": name}]}, separators=(",", ":")).encode()


def halved(body: bytes, ready: Ready, *, broken: bool = False) -> Answer:
    """What stands before the objects, and the rest once it is time, unless the connection breaks instead."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        head = body.index(b'"items":[') + len(b'"items":[')
        await response.write(body[:head])
        async with asyncio.timeout(10):
            while not ready():  # noqa: ASYNC110 (whatever it is that is waited for)
                await asyncio.sleep(0.001)
        if broken:
            return await cut(request)
        await response.write(body[head:])
        return response

    return answer


def when_asked(server: ApiServer, number: int) -> Ready:
    return lambda: len(server.asked) >= number


async def names(client: ApiClient) -> list[str]:
    async with listed(client, "/pods", attempts=2) as pages:
        return [json.loads(each.body)["items"][0]["name"] async for each in pages]


def tokens(server: ApiServer) -> list[str | None]:
    return [each.query.get("continue") for each in server.asked]


async def test_the_next_page_is_asked_for_while_one_is_on_its_way(server: ApiServer, client: ApiClient) -> None:
    first, second = halved(page("a", "x"), when_asked(server, 2)), halved(page("b", "y"), when_asked(server, 3))
    server.will("LIST", first, second, say(page("c")))
    assert await names(client) == ["a", "b", "c"]
    assert tokens(server) == [None, "x", "y"]


async def test_no_more_are_under_way_than_may_be(server: ApiServer, client: ApiClient) -> None:
    """Whoever does not read has them wait, too."""
    let = asyncio.Event()
    many = AHEAD + 3
    server.will("LIST", *(halved(page(f"{at}", f"{at + 1}"), let.is_set) for at in range(many)), say(page("last")))
    async with listed(client, "/pods") as pages:
        reading = asyncio.ensure_future(anext(pages))
        await server.requests(AHEAD)
        await asyncio.sleep(0.05)
        assert len(server.asked) == AHEAD
        let.set()
        assert json.loads((await reading).body)["items"][0]["name"] == "0"
        await server.requests(AHEAD + 1)
        await asyncio.sleep(0.05)
        assert len(server.asked) == AHEAD + 1
        assert len([each async for each in pages]) == many
    assert tokens(server) == [None, *(str(at) for at in range(1, many + 1))]


async def test_a_page_that_breaks_off_is_asked_for_again_and_the_next_is_not(
    server: ApiServer, client: ApiClient
) -> None:
    broken = halved(page("b", "y"), when_asked(server, 3), broken=True)
    # Which of the two comes first, the third page or the second one again, is open.
    third = asyncio.Event()

    async def by_token(request: web.Request) -> web.StreamResponse:
        if request.query["continue"] == "y":
            third.set()
            return await say(page("c"))(request)
        await third.wait()
        return await say(page("b", "y"))(request)

    server.will("LIST", say(page("a", "x")), broken, by_token, by_token)
    assert await names(client) == ["a", "b", "c"]
    assert sorted(filter(None, tokens(server))) == ["x", "x", "y"]


async def test_a_page_that_is_another_one_the_second_time_ends_the_list(server: ApiServer, client: ApiClient) -> None:
    """Or what stood between where it said that the next begins, and where it says so now, would be missing."""
    broken = halved(page("b", "y"), when_asked(server, 3), broken=True)

    async def by_token(request: web.Request) -> web.StreamResponse:
        return await say(page("c") if request.query["continue"] == "y" else page("b", "earlier"))(request)

    server.will("LIST", say(page("a", "x")), broken, by_token, by_token)
    with pytest.raises(Expired, match="page 2 was another one"):
        await names(client)


@pytest.mark.parametrize(
    ("answers", "error", "asked"),
    [
        ([refuse(500)], ServerError, 1),
        ([say(page("a", "x")), refuse(500), refuse(500)], ServerError, 3),
        ([say(page("a", "x")), refuse(410, "Expired")], Expired, 2),
    ],
    ids=["first", "another", "expired"],
)
async def test_attempts_are_those_that_were_given(
    server: ApiServer, client: ApiClient, answers: list[Answer], error: type[ApiError], asked: int
) -> None:
    server.will("LIST", *answers)
    with pytest.raises(error):
        await names(client)
    assert len(server.asked) == asked


async def test_what_nobody_reads_is_called_off(server: ApiServer, client: ApiClient) -> None:
    server.will("LIST", halved(page("a", "x"), when_asked(server, 2)))
    async with listed(client, "/pods") as pages:
        await anext(pages)
        await asyncio.wait_for(server.finished.wait(), 10)
        assert ours() == 1
    assert ours() == 0


def ours() -> int:
    """How many pages are being asked for."""
    return sum("_Listing" in getattr(each.get_coro(), "__qualname__", "") for each in asyncio.all_tasks())


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (page("a", "x"), "x"),
        (page("a"), ""),
        (page("a", 'odd \\"},"items":['), 'odd \\"},"items":['),
        (b'{"metadata":{"resourceVersion":"5","continue":"x"},"items":[', "x"),
        (b'{"metadata":{"resourceVersion":"5","continue":"x"},"ite', ""),
        (b'{"metadata":{"resourceVersion":"5","conti', ""),
        (b'{"metadata": {"continue": "x"}, "items": [', ""),
        (b'{"items":[{"metadata":{"continue":"x"}}],"metadata":{"continue":"y"}}', ""),
        (b'{"metadata":7,"items":[', ""),
        (b"", ""),
    ],
)
def test_the_beginning_of_a_page_tells_or_not(head: bytes, expected: str) -> None:
    """What it does not tell, the page as a whole does: a token that is not the server's must never be sent."""
    assert following(head) == expected


async def test_a_page_that_is_written_otherwise_is_followed_all_the_same(server: ApiServer, client: ApiClient) -> None:
    spaced = {"items": [{"name": "a"}], "metadata": {"continue": "x"}}
    server.will("LIST", say(spaced), say(page("b")))
    assert await names(client) == ["a", "b"]
