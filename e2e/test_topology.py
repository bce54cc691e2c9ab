"""The simulation behind docs/topology.md: what must hold between the kinds of hints, over a few dozen Services."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from e2e.topology import __main__ as report
from e2e.topology.simulation import Outcome, run

SLACK = 1e-6


@pytest.fixture(scope="module")
def results() -> dict[str, list[Outcome]]:
    return run(60, seed=7)


def test_adaptive_overloads_nobody_and_always_gives_hints(results: dict[str, list[Outcome]]) -> None:
    assert max(each.overload for each in results["Adaptive"]) <= report.LIMIT + SLACK
    assert all(each.hinted for each in results["Adaptive"])
    assert not all(each.hinted for each in results["Auto"])


def test_traffic_between_zones_is_between_that_of_none_and_of_same_zone(results: dict[str, list[Outcome]]) -> None:
    rows = zip(results["no hints"], results["Adaptive"], results["PreferSameZone"], strict=True)
    for none, adaptive, same in rows:
        assert same.crossing - SLACK <= adaptive.crossing <= none.crossing + SLACK


def test_adaptive_is_no_worse_than_auto_where_auto_overloads_nobody(results: dict[str, list[Outcome]]) -> None:
    for auto, adaptive in zip(results["Auto"], results["Adaptive"], strict=True):
        if auto.overload <= report.LIMIT:
            assert adaptive.crossing <= auto.crossing + 0.02


def test_fewer_hints_change_than_with_auto(results: dict[str, list[Outcome]]) -> None:
    assert sum(each.changed for each in results["Adaptive"]) < sum(each.changed for each in results["Auto"])


def test_report_is_the_same_for_the_same_seed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(report, "_OUT", tmp_path)
    for _ in range(2):
        result = CliRunner().invoke(report.main, ["--cases", "12"], catch_exceptions=False)
        assert result.exit_code == 0
    first = (tmp_path / "topology.txt").read_text()
    assert "12 random Services" in first
    assert result.output.startswith(first)
    assert (tmp_path / "topology.png").read_bytes().startswith(b"\x89PNG")
