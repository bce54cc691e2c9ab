"""How runs of Kubernetes' own tests are read, counted and judged; without a server."""

from pathlib import Path

import pytest

from e2e.cluster.build import kubernetes_version
from e2e.upstream.catalogue import Catalogue
from e2e.upstream.results import Outcome, Result, judge, read_report

REPORT = """\
<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="5">
  <testsuite name="Kubernetes e2e suite" tests="5">
    <testcase name="[SynchronizedBeforeSuite]" status="passed" time="0.02"></testcase>
    <testcase name="[It] [sig-network] A should work" status="passed" time="1.5"></testcase>
    <testcase name="[It] [sig-network] B should work" status="failed" time="2.5">
      <failure message="" type="failed">[FAILED] no slices&#10;In [It] at: b.go:1</failure>
    </testcase>
    <testcase name="[It] [sig-network] C should work" status="timedout" time="9">
      <failure type="timedout">too late</failure>
    </testcase>
    <testcase name="[It] [sig-network] D should work" status="skipped" time="0">
      <skipped message="skipped - one node"></skipped>
    </testcase>
  </testsuite>
</testsuites>
"""

PASSED, FAILED, SKIPPED = Result(Outcome.PASSED), Result(Outcome.FAILED), Result(Outcome.SKIPPED)


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "junit_01.xml"
    path.write_text(REPORT)
    return path


def test_report_is_read_for_the_tests_that_are_asked_for(report: Path) -> None:
    names = [f"[sig-network] {letter} should work" for letter in "ABCDE"]
    assert list(read_report(report, names).values()) == [
        Result(Outcome.PASSED, 1.5),
        Result(Outcome.FAILED, 2.5, "[FAILED] no slices"),
        Result(Outcome.FAILED, 9.0, "too late"),
        Result(Outcome.SKIPPED, 0.0, "skipped - one node"),
        Result(Outcome.MISSING),
    ]


def test_report_that_was_never_written_has_no_results(tmp_path: Path) -> None:
    assert read_report(tmp_path / "none.xml", ["A"]) == {"A": Result(Outcome.MISSING)}


@pytest.mark.parametrize(
    ("kcm", "ours", "counts", "lost", "good"),
    [
        pytest.param([PASSED, PASSED], [PASSED, PASSED], (2, 2), (), True, id="equal"),
        pytest.param([PASSED, FAILED], [PASSED, FAILED], (1, 1), (), True, id="fails-with-both"),
        pytest.param([PASSED, FAILED], [PASSED, PASSED], (1, 2), (), True, id="passes-with-ours-only"),
        pytest.param([PASSED, PASSED], [PASSED, FAILED], (2, 1), ("B",), False, id="fails-with-ours-only"),
        pytest.param([PASSED, PASSED], [PASSED, SKIPPED], (2, 1), ("B",), False, id="skipped-has-not-passed"),
        pytest.param([PASSED, SKIPPED], [PASSED, SKIPPED], (1, 1), (), True, id="skipped-with-both"),
        pytest.param(
            [PASSED, FAILED], [FAILED, PASSED], (1, 1), ("A",), False, id="another-one-does-not-make-up-for-it"
        ),
        pytest.param([FAILED, SKIPPED], [PASSED, PASSED], (0, 2), (), False, id="nothing-passes-with-kcm"),
    ],
)
def test_verdict(
    kcm: list[Result], ours: list[Result], counts: tuple[int, int], lost: tuple[str, ...], good: bool
) -> None:
    verdict = judge(dict(zip("AB", kcm, strict=True)), dict(zip("AB", ours, strict=True)))
    assert (verdict.kcm, verdict.sliceplane) == counts
    assert verdict.lost == lost
    assert verdict.good is good


def test_test_that_sliceplanes_report_lacks_is_lost() -> None:
    assert judge({"A": PASSED, "B": PASSED}, {"A": PASSED}).lost == ("B",)


def test_list_names_sig_network_tests_and_what_each_needs() -> None:
    catalogue = Catalogue.load()
    assert all(name.startswith("[sig-network] ") and needs for name, needs in catalogue.needs.items())
    assert all(catalogue.left_out.values())
    # Only the binary knows what the left out ones' names are.
    assert [each for each in catalogue.unaccounted(catalogue.names) if not each.startswith("matches no test")] == []


def test_list_must_account_for_every_test_that_exists() -> None:
    run = {"[sig-network] A should work": "nothing", "[sig-network] B should work": "nothing"}
    catalogue = Catalogue(run, {"B|F": "a cloud", "C": "a kernel"})
    existing = [f"[sig-network] {letter} should work" for letter in "BDF"]
    assert catalogue.unaccounted([*existing, "[sig-apps] E should work"]) == [
        "does not exist: [sig-network] A should work",
        "run and left out: [sig-network] B should work",
        "neither run nor left out: [sig-network] D should work",
        "matches no test: C",
    ]


def test_list_does_not_name_a_test_twice(tmp_path: Path) -> None:
    path = tmp_path / "tests.yaml"
    path.write_text("run: [{needs: a, tests: [T]}, {needs: b, tests: [T]}]\nleft_out: []\n")
    with pytest.raises(ValueError, match="twice: T"):
        Catalogue.load(path)


def test_focus_is_exact() -> None:
    [focus] = Catalogue({"[sig-network] A (b)": "nothing"}, {}).focus()
    assert focus == r"^Kubernetes\ e2e\ suite \[sig\-network\]\ A\ \(b\)$"


def test_tests_are_of_the_peers_version() -> None:
    pins = (Path(__file__).parent / "upstream" / "peers" / "go.mod").read_text()
    assert f"k8s.io/kubernetes {kubernetes_version()} " in pins
