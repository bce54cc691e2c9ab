"""What a run of e2e.test reported, test by test, and what two runs say about each other."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

# Ginkgo puts the kind of node in front of a test's name.
_PREFIX = "[It] "
_SUMMARY = 200


class Outcome(enum.Enum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    # Interrupted before its turn, or the report has never been written.
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Result:
    """`message` is the first line of what a test that did not pass said."""

    outcome: Outcome
    seconds: float = 0.0
    message: str = ""


Results = Mapping[str, Result]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How many tests passed on each side, and those that pass with KCM and not with Sliceplane."""

    kcm: int
    sliceplane: int
    lost: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether Sliceplane did as well; nothing is proven when nothing passes."""
        return not self.lost and self.sliceplane >= self.kcm > 0


def read_report(report: Path, names: Sequence[str]) -> dict[str, Result]:
    """The results of these tests in a JUnit report of e2e.test, which holds all tests, most of them as skipped."""
    found = {}
    if report.is_file():
        for case in ElementTree.parse(report).iter("testcase"):
            found[case.get("name", "").removeprefix(_PREFIX)] = _result(case)
    return {name: found.get(name, Result(Outcome.MISSING)) for name in names}


def judge(kcm: Results, sliceplane: Results) -> Verdict:
    """Only a test that passed counts: one that was skipped has shown nothing."""
    passed = [{name for name, each in side.items() if each.outcome is Outcome.PASSED} for side in (kcm, sliceplane)]
    lost = tuple(name for name in kcm if name in passed[0] and name not in passed[1])
    return Verdict(len(passed[0]), len(passed[1]), lost)


def _result(case: ElementTree.Element) -> Result:
    status, seconds = case.get("status", ""), float(case.get("time", "0"))
    if status == "passed":
        return Result(Outcome.PASSED, seconds)
    outcome = Outcome.SKIPPED if status in ("skipped", "pending") else Outcome.FAILED
    for kind in ("failure", "error", "skipped"):
        if (child := case.find(kind)) is not None:
            lines = (child.get("message") or child.text or "").strip().splitlines()
            return Result(outcome, seconds, lines[0][:_SUMMARY] if lines else "")
    return Result(outcome, seconds)
