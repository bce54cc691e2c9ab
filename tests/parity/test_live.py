"""A few histories against the real KCM; `make parity SEEDS=200` plays more."""

import pytest

from tests.parity import live
from tests.parity.planes import two_planes

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]


def test_live_parity() -> None:
    with two_planes() as (ours, theirs):
        assert live.run(ours, theirs, [f"t{number}" for number in range(24)], at_once=12) == {}
