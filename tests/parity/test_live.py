"""A few histories against the real KCM; `make parity SEEDS=200` plays more."""

import pytest

from tests.parity import live
from tests.parity.planes import two_planes

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]


@pytest.mark.parametrize(("topology", "seeds"), [(False, 24), (True, 12)], ids=["packing", "hints"])
def test_live_parity(topology: bool, seeds: int) -> None:
    with two_planes() as (ours, theirs):
        names = [f"t{number}" for number in range(seeds)]
        assert live.run(ours, theirs, names, at_once=12, topology=topology) == {}
