"""How a replica takes numbers, request by request; test_claimer_law.py has many of them at odds with the network."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from controllers.ipam.admission import Ask, Draw
from controllers.ipam.claims import FRESH_SECONDS, RESPECT_SECONDS
from controllers.ipam.pools import Reservation
from controllers.ipam.ranges import IPV4, Span, Spans, text_of
from controllers.ipam_operator.claimer import BATCH, ClaimError
from tests.ipam.snapshots import address
from tests.ipam_operator.replicas import Replica, Server, owner, pool_of
from tests.runtime.clocks import virtually

FIRST = 0x0A600020


def play(scenario: Coroutine[Any, Any, None]) -> None:
    virtually(scenario)


def test_claims_by_the_batch_and_takes_without_a_write() -> None:
    async def scenario() -> None:
        server = Server()
        a, ask = Replica(server, "a"), pool_of(200)
        taken = [await a.take(f"b/s{at}#", ask) for at in range(10)]
        assert len(set(taken)) == 10
        assert server.asked == ["GET", "POST"]
        [section] = server.book().values()
        assert (section["sequence"], len(section["numbers"])) == (1, 200 // 8)
        assert set(taken) <= set(section["numbers"])
        [lease] = server.leases.values()
        assert lease["metadata"]["labels"]

    play(scenario())


def test_batch_is_bounded_and_a_share_of_what_is_left() -> None:
    async def scenario() -> None:
        for size, batch in ((1000, BATCH), (80, 10), (7, 1)):
            server = Server()
            spans = Spans([Span(FIRST, FIRST + size - 1)])
            await Replica(server, "a").take("b/s#", Ask(IPV4, draws=(Draw((spans,)),)))
            assert len(server.book()["a"]["numbers"]) == batch

    play(scenario())


def test_sequential_takes_the_lowest() -> None:
    async def scenario() -> None:
        a, ask = Replica(Server(), "a"), pool_of(40, "Sequential")
        assert [await a.take(f"b/s{at}#", ask) for at in range(9)] == [FIRST + at for at in range(9)]

    play(scenario())


def test_many_who_wait_are_served_by_one_claim() -> None:
    async def scenario() -> None:
        server = Server()
        a, ask = Replica(server, "a"), pool_of(20)
        taken = await asyncio.gather(*(a.take(f"b/s{at}#", ask) for at in range(20)))
        assert len(set(taken)) == 20
        assert len(server.asked) <= 4

    play(scenario())


def test_never_what_another_has_claimed() -> None:
    async def scenario() -> None:
        server, ask = Server(), pool_of(12)
        replicas = [Replica(server, name) for name in "abc"]
        taken = [await replicas[at % 3].take(f"b/s{at}#", ask) for at in range(12)]
        assert len({each for each in taken if each is not None}) == sum(each is not None for each in taken)
        assert sum(each is not None for each in taken) >= 10

    play(scenario())


def test_repeated_call_is_given_the_same() -> None:
    """IP-74, whatever has become free meanwhile, in whichever draw."""

    async def scenario() -> None:
        a = Replica(Server(), "a")
        one, rest = Spans([Span(FIRST, FIRST)]), Spans([Span(FIRST + 1, FIRST + 2)])
        for ask in (Ask(IPV4, draws=(Draw((one,)), Draw((rest,)))), Ask(IPV4, draws=(Draw((one, rest)),))):
            holder = owner("b/holder", FIRST)
            a.sees(None, holder)
            first = await a.take("b/web", ask)
            second = await a.take("b/web", ask, {first or 0})
            assert {first, second} == {FIRST + 1, FIRST + 2}
            a.sees(holder, None)
            assert await a.take("b/web", ask) == first
            assert await a.take("b/web", ask, {first or 0}) == second
            assert await a.take("b/other", ask) == FIRST
            await asyncio.sleep(60)

    play(scenario())


def test_given_number_that_somebody_has_by_now_is_not_given_again() -> None:
    async def scenario() -> None:
        a, ask = Replica(Server(), "a"), pool_of(20)
        first = await a.take("b/web", ask)
        assert first is not None
        a.sees(None, owner("c/thief", first))
        assert await a.take("b/web", ask) not in (first, None)

    play(scenario())


def test_fresh_number_that_somebody_names_is_not_given() -> None:
    async def scenario() -> None:
        server = Server()
        a, ask = Replica(server, "a"), pool_of(80)
        await a.take("b/web#", ask)
        for number in server.book()["a"]["numbers"]:
            a.sees(None, owner(f"c/s{number}", number))
        taken = [await a.take(f"b/s{at}#", ask) for at in range(5)]
        assert not any(each in a.world.ledger.ipv4 for each in taken if each is not None)
        assert None not in taken

    play(scenario())


def test_old_claims_are_not_handed_out() -> None:
    async def scenario() -> None:
        server = Server()
        a, ask = Replica(server, "a"), pool_of(80)
        await a.take("b/one#", ask)
        await asyncio.sleep(FRESH_SECONDS)
        await a.take("b/two#", ask)
        assert server.asked == ["GET", "POST", "PUT"]

    play(scenario())


@pytest.mark.parametrize("besides", [True, False])
def test_number_that_the_request_has_otherwise_is_no_candidate(besides: bool) -> None:
    """Of two numbers one is reserved for this very Service, for another of its ports."""

    async def scenario() -> None:
        a, ask = Replica(Server(), "a"), pool_of(2, "Sequential")
        mine = Reservation(namespace="b", name="r", service_name="web", addresses=(text_of(IPV4, FIRST),))
        a.world.reservation_changed(None, mine)
        assert await a.take("b/web#", ask, {FIRST} if besides else set()) == FIRST + besides
        assert await a.take("c/other#", ask) == (None if besides else FIRST + 1)

    play(scenario())


def test_reserved_for_others_and_cooling_down_is_kept() -> None:
    async def scenario() -> None:
        a, ask = Replica(Server(), "a", origin=-1e5), pool_of(3, cooldown=60.0)
        theirs = Reservation(namespace="b", name="r", service_name="web", addresses=(text_of(IPV4, FIRST),))
        a.world.reservation_changed(None, theirs)
        gone = owner("c/gone", FIRST + 1)
        a.sees(None, gone)
        a.sees(gone, None)
        assert await a.take("c/one#", ask) == FIRST + 2
        assert await a.take("c/two#", ask) is None
        await asyncio.sleep(60)
        assert await a.take("c/two#", ask) == FIRST + 1

    play(scenario())


def test_parts_in_turn() -> None:
    """IP-15: the band when nothing else is left, and nothing once that has gone, too."""

    async def scenario() -> None:
        a = Replica(Server(), "a")
        band, upper = Spans([Span(FIRST, FIRST + 1)]), Spans([Span(FIRST + 2, FIRST + 4)])
        ask = Ask(IPV4, draws=(Draw((upper, band)),))
        taken = [await a.take(f"b/s{at}#", ask) for at in range(6)]
        assert (set(taken[:3]), set(taken[3:5]), taken[5]) == (set(upper), set(band), None)

    play(scenario())


def test_full_pool_asks_nobody() -> None:
    async def scenario() -> None:
        server = Server()
        a, ask = Replica(server, "a"), pool_of(2)
        a.sees(None, owner("b/one", FIRST))
        a.world.ledger.address_changed(None, address(text_of(IPV4, FIRST + 1)), 0.0)
        assert await a.take("b/web#", ask) is None
        assert "PUT" not in server.asked
        assert "POST" not in server.asked

    play(scenario())


def test_nobody_is_refused_for_old_news() -> None:
    """What another had claimed when we last looked it has given up."""

    async def scenario() -> None:
        server, ask = Server(), pool_of(1)
        a, b = Replica(server, "a"), Replica(server, "b")
        assert await a.take("b/one#", ask) == FIRST
        assert await b.take("b/two#", ask) is None
        server.annotate('{"a": {"sequence": 2, "numbers": []}}')
        assert await b.take("b/two#", ask) == FIRST

    play(scenario())


def test_dead_replica_is_forgotten_at_last() -> None:
    async def scenario() -> None:
        server, ask = Server(), pool_of(1)
        assert await Replica(server, "dead").take("b/one#", ask) == FIRST
        b = Replica(server, "b", origin=5e4)
        assert await b.take("b/two#", ask) is None
        await asyncio.sleep(RESPECT_SECONDS - 5)
        assert await b.take("b/two#", ask) is None
        await asyncio.sleep(5)
        assert await b.take("b/two#", ask) == FIRST
        assert set(server.book()) == {"b"}

    play(scenario())


@pytest.mark.parametrize("spoilt", ["", "{", "[]", "{}"])
def test_spoilt_book_makes_nobody_forget(spoilt: str) -> None:
    """What one has read of others' claims."""

    async def scenario() -> None:
        server, ask = Server(), pool_of(2)
        a, b = Replica(server, "a"), Replica(server, "b")
        assert await a.take("b/one#", ask) is not None
        assert await b.take("b/two#", ask) is not None
        assert await a.take("b/three#", ask) is None
        server.annotate(spoilt)
        assert [await each.take("b/three#", ask) for each in (a, b)] == [None, None]

    play(scenario())


def test_deleted_lease_is_made_again() -> None:
    async def scenario() -> None:
        server, ask = Server(), pool_of(20)
        a, b = Replica(server, "a"), Replica(server, "b")
        theirs = [await a.take(f"b/a{at}#", ask) for at in range(2)]
        ours = [await b.take("b/b#", ask)]
        server.leases.clear()
        ours += [await b.take(f"b/b{at}#", ask) for at in range(20)]
        found = {*ours} - {None}
        # Two more are a's, claimed ahead of need.
        assert len(found) == 16
        assert not found & {*theirs}
        assert set(server.book()) == {"b"}

    play(scenario())


@pytest.mark.parametrize("fault", ["hang", "cut", "refuse", "lose"])
def test_without_an_answer_the_request_goes_on(fault: str) -> None:
    """And what may have been written is read first, by the next one."""

    async def scenario() -> None:
        server = Server()
        a, ask = Replica(server, "a"), pool_of(20)
        a.line.fault = fault
        with pytest.raises(ClaimError):
            await a.take("b/one#", ask)
        a.line.fault = ""
        assert await a.take("b/two#", ask) is not None
        await asyncio.sleep(40)

    play(scenario())


def test_write_of_unknown_fate_is_not_ours() -> None:
    async def scenario() -> None:
        server = Server()
        a, ask = Replica(server, "a"), pool_of(200)
        first = await a.take("b/one#", ask)
        await asyncio.sleep(FRESH_SECONDS)
        a.line.fault = "lose"
        with pytest.raises(ClaimError):
            await a.take("b/two#", ask)
        lost = set(server.book()["a"]["numbers"]) - {first}
        assert lost
        a.line.fault = ""
        assert await a.take("b/two#", ask) is not None
        # The next write of the section says what is ours.
        assert server.book()["a"]["sequence"] >= 3

    play(scenario())


def test_dry_run_claims_nothing() -> None:
    """IP-60."""

    async def scenario() -> None:
        server = Server()
        a, ask = Replica(server, "a"), pool_of(2, "Sequential")
        assert a.claimer.peek(ask, ask.draws[0], owner("b/web"), ()) == FIRST
        assert a.claimer.peek(ask, ask.draws[0], owner("b/web"), {FIRST}) == FIRST + 1
        assert a.claimer.peek(ask, ask.draws[0], owner("b/web"), {FIRST, FIRST + 1}) is None
        assert server.asked == []

    play(scenario())


def test_in_flight_by_service() -> None:
    """A create's key names its review, too: for quotas it is the Service's."""

    async def scenario() -> None:
        a, ask = Replica(Server(), "a"), pool_of(20)
        one, two = await a.take("b/web#1234", ask), await a.take("b/other", ask)
        assert one is not None
        await a.take("c/web", ask)
        assert list(a.world.in_flight(IPV4, "b")) == [(one, "b/web"), (two, "b/other")]
        a.sees(None, owner("b/web", one))
        assert list(a.world.in_flight(IPV4, "b")) == [(two, "b/other")]

    play(scenario())


def test_what_comes_back_is_given_again_without_asking_where_little_is_left() -> None:
    """The book is what all replicas wait for: it is not written for a number that is ours anyway."""

    async def scenario() -> None:
        server, ask = Server(), pool_of(64)
        a = Replica(server, "a")
        first = await a.take("a/0#", ask)
        assert first is not None
        await asyncio.sleep(0.3)
        before, given = server.book(), [first]
        for number in range(1, 40):
            made = owner(f"a/{number}", given[-1])
            a.sees(None, made)
            a.sees(made, None)
            await asyncio.sleep(0.1)
            again = await a.take(f"a/{number}#", ask)
            assert again is not None
            given.append(again)
        assert server.book() == before
        assert set(given) <= set(before["a"]["numbers"])

    play(scenario())


def test_pool_that_is_dry_holds_up_no_other() -> None:
    async def scenario() -> None:
        server = Server()
        dry, full = pool_of(1), pool_of(64, net=1)
        a = Replica(server, "a")
        assert await a.take("a/one#", dry) == FIRST
        waiting = [asyncio.create_task(a.take(f"a/w{number}#", dry)) for number in range(10)]
        await asyncio.sleep(0.1)
        started = asyncio.get_running_loop().time()
        assert await a.take("a/two#", full) is not None
        assert asyncio.get_running_loop().time() - started < 0.04
        await asyncio.gather(*waiting)

    play(scenario())


def test_claims_are_taken_back_once_they_are_of_no_use() -> None:
    """Used and given back: another replica may have it at once, where little is left."""

    async def scenario() -> None:
        server, ask = Server(), pool_of(1)
        a, b = Replica(server, "a"), Replica(server, "b")
        assert await a.take("b/one#", ask) == FIRST
        made = owner("b/one", FIRST)
        for each in (a, b):
            each.sees(None, made)
        assert await b.take("b/two#", ask) is None
        for each in (a, b):
            each.sees(made, None)
        await asyncio.sleep(0.5)
        assert server.book()["a"]["numbers"] == []
        assert await b.take("b/two#", ask) == FIRST

    play(scenario())
