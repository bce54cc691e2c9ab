"""Plays scenarios: for each a fresh API server, on which the contenders have their turns, round by round."""

from collections.abc import Callable, Sequence

from e2e.bench.contenders import Contender
from e2e.bench.figures import Outcome, Section
from e2e.bench.scenarios.scenario import Scenario
from e2e.bench.stage import opened
from e2e.cluster.local import ControlPlane


def playing(scenario: Scenario, contenders: Sequence[Contender]) -> list[Contender]:
    """Those of the contenders that the scenario has a part for."""
    return [each for each in contenders if each.floor in ("", scenario.floor)]


def turns(contenders: Sequence[Contender], rounds: int, *, once: bool = False) -> list[tuple[int, Contender]]:
    """Whose turn it is, with the round's number.

    The order changes with each round: whoever comes second finds a warmer server. Who has one round at most has the
    first; with `once`, that is everybody.
    """
    played: list[tuple[int, Contender]] = []
    for number in range(1 if once else rounds):
        order = contenders if number % 2 == 0 else contenders[::-1]
        played += [(number, each) for each in order if number == 0 or not each.once]
    return played


async def play(
    scenario: Scenario,
    plane: ControlPlane,
    contenders: Sequence[Contender],
    rounds: int,
    *,
    settle_seconds: float = 5.0,
    say: Callable[[str], None] = lambda text: None,
) -> Section:
    """One scenario on an API server that nothing was loaded on; `say` is told what happens.

    Sliceplane's rights must be there. Raises StageError, LoadError, ApiError, EtcdError.
    """
    who = playing(scenario, contenders)
    results: dict[str, list[Outcome]] = {each.name: [] for each in who}
    order = turns(who, rounds, once=scenario.once)
    say(f"{scenario.name}: loading")
    opening = opened(plane, scenario.size, hinted_every=scenario.hinted_every, settle_seconds=settle_seconds)
    async with opening as stage:
        for number, contender in order:
            say(f"{scenario.name}: {contender.name}, round {number + 1}")
            results[contender.name].append(await scenario.run(stage, contender, seed=number))
    return Section(scenario.name, scenario.title, scenario.rows, results)
