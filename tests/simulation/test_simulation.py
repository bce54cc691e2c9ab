"""Random lives of the whole product, in virtual time, against an API server that loses, refuses and delays.

`SIMULATION_SEEDS=6000:600` in the environment runs seeds 6000 … 6599 in place of the default ones.
"""

import asyncio
import logging
import os
import random
from collections.abc import Iterator

import pytest

from tests.runtime.clocks import virtually
from tests.simulation.api import Server
from tests.simulation.laws import TOUCHED, UNTOUCHED, Law, Rest, breaches
from tests.simulation.process import Process
from tests.simulation.world import World

DEFAULT = "0:60"


def chosen(text: str) -> range:
    """`first:number`, or one seed."""
    first, _, number = text.partition(":")
    return range(int(first), int(first) + int(number or 1))


class Simulation:
    """One life: a world that changes, faults, processes whose terms end and begin; then rest, and the laws."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.server = Server(seed)
        self.world = World(self.server, self.random)
        self.processes: list[Process] = []

    async def live(self) -> list[str]:
        """Returns the breaches of the laws."""
        try:
            await self._begin()
            for _ in range(self.random.randint(50, 300)):
                await self._step()
            return await self._rest()
        finally:
            for process in self.processes:
                await process.close()

    async def _begin(self) -> None:
        choice = self.random.choice
        self.world.populate()
        number, batch, grace = choice((1, 1, 2)), choice((0.0, 0.0, 0.5)), choice((0.0, 5.0))
        self.processes += [Process(self.server, each, number, batch, grace) for each in range(number)]
        self.server.faults, self.server.slowest = choice((0.0, 0.02, 0.1, 0.3)), choice((0.1, 1.0, 10.0))
        for process in self.processes:
            await process.begin_term()

    async def _step(self) -> None:
        self.world.act()
        if self.random.random() < 0.6:
            await self._pass((0, 0.001, 0.01, 0.05, 0.2, 1.5))
        if self.random.random() < 0.02:
            self.world.disturb()
        if self.random.random() < 0.02:
            await self._new_term(self.random.choice(self.processes))

    async def _new_term(self, process: Process) -> None:
        await process.end_term(lost=self.random.random() < 0.6)
        for _ in range(self.random.randint(0, 10)):
            self.world.act()
            await self._pass((0, 0.01, 0.5))
        await process.begin_term()

    async def _pass(self, seconds: tuple[float, ...]) -> None:
        await asyncio.sleep(self.random.choice(seconds))

    async def _rest(self) -> list[str]:
        self.world.settle()
        found = await self._checked(UNTOUCHED)
        if found:
            return found
        self.world.touch_services()
        await asyncio.sleep(150)
        self.world.forget()
        return [f"after a touch, {each}" for each in await self._checked(TOUCHED)]

    async def _checked(self, laws: tuple[Law, ...]) -> list[str]:
        for _ in range(2):
            # The longest back-off is a minute.
            await asyncio.sleep(150)
            self.server.collect_garbage()
        await asyncio.sleep(150)
        writes = self.server.writes
        await asyncio.sleep(400)
        restless = self.server.writes - writes
        found = breaches(Rest(self.server, self.processes), laws)
        return [*found, *([f"comes_to_rest: {restless} writes though nothing changes"] if restless else [])]


def lived(seed: int) -> list[str]:
    """One seed's breaches."""
    # Reflectors draw their delays from the module's generator.
    random.seed(seed)
    return virtually(Simulation(seed).live())


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Faults are logged, and here they are the rule; the generator of all is left as it was."""
    state = random.getstate()
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
    random.setstate(state)


@pytest.mark.parametrize("seed", chosen(os.environ.get("SIMULATION_SEEDS", DEFAULT)))
def test_the_product_comes_to_rest_as_the_laws_say(seed: int) -> None:
    again = f"seed {seed}; alone: SIMULATION_SEEDS={seed}:1 python -m pytest tests/simulation/test_simulation.py"
    try:
        found = lived(seed)
    except Exception as error:
        error.add_note(again)
        raise
    if found:
        pytest.fail("\n".join([again, *found]), pytrace=False)
