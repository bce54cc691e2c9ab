"""tests.yaml: the tests that are run, with what each needs, and the others, with what they need that is not here."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Self

import yaml

_FILE: Final = Path(__file__).parent / "tests.yaml"
_SIG: Final = "[sig-network] "
# Ginkgo matches a focus against the suite's name and the test's, with a space between.
_SUITE: Final = "Kubernetes e2e suite"


@dataclass(frozen=True)
class Catalogue:
    """`needs` by the name of a test that is run; `left_out`: reasons by a regular expression for others' names."""

    needs: dict[str, str]
    left_out: dict[str, str]

    @classmethod
    def load(cls, path: Path = _FILE) -> Self:
        """Raises ValueError when a test or an expression is there twice."""
        content = yaml.safe_load(path.read_text())
        return cls(_by_test(content["run"], "needs"), _by_test(content["left_out"], "because"))

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(self.needs)

    def select(self, pattern: str) -> Self:
        """Of the tests that are run only those whose name this regular expression finds."""
        return type(self)({name: why for name, why in self.needs.items() if re.search(pattern, name)}, self.left_out)

    def focus(self) -> list[str]:
        """What Ginkgo is to be told for exactly these tests to be run; Go takes Python's escapes."""
        return [f"^{re.escape(_SUITE)} {re.escape(name)}$" for name in self.needs]

    def unaccounted(self, existing: Iterable[str]) -> list[str]:
        """What is wrong with the lists, given all tests that exist: one line each."""
        names = [name for name in existing if name.startswith(_SIG)]
        others = [name for name in names if name not in self.needs]
        patterns = {pattern: re.compile(f"{re.escape(_SIG)}(?:{pattern})") for pattern in self.left_out}
        excused = {name for name in (*names, *self.needs) if any(each.match(name) for each in patterns.values())}
        return [
            *(f"does not exist: {name}" for name in self.needs if name not in set(names)),
            *(f"run and left out: {name}" for name in self.needs if name in excused),
            *(f"neither run nor left out: {name}" for name in others if name not in excused),
            *(f"matches no test: {text}" for text, each in patterns.items() if not any(map(each.match, others))),
        ]


def _by_test(groups: list[dict[str, str | list[str]]], key: str) -> dict[str, str]:
    result: dict[str, str] = {}
    for group in groups:
        for test in group["tests"]:
            if test in result:
                raise ValueError(f"tests.yaml has it twice: {test}")
            result[test] = str(group[key])
    return result
