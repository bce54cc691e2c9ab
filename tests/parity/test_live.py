"""A few histories against the real KCM; `make parity SEEDS=200` plays more."""

import pytest

from tests.parity import live
from tests.parity.outcome import Rules
from tests.parity.planes import two_planes

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]


@pytest.mark.parametrize(
    ("rules", "seeds"),
    [
        pytest.param(Rules(), 12, id="packing"),
        pytest.param(Rules(topology=True), 8, id="hints"),
        pytest.param(Rules("mirroring"), 8, id="mirroring"),
    ],
)
def test_live_parity(rules: Rules, seeds: int) -> None:
    with two_planes() as (ours, theirs):
        assert live.run(ours, theirs, [f"s{number}" for number in range(seeds)], 12, rules) == {}
