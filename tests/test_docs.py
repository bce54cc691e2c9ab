"""The documents name tests as proof: each of these must exist, or a claim could outlive what shows it."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.test_operations import anchors

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted((ROOT / "docs").rglob("*.md"))
# `tests/shell/test_faults.py`, or with a function, or with the id of one of its parameters after that.
MENTION = re.compile(r"\b((?:tests|e2e)/[\w/]+\.py)(?:::(\w+))?")
DIFFERENCES = ROOT / "docs/differences.md"


def mentions(text: str) -> list[tuple[str, str]]:
    """(file, function) of each test that a text names; the function may be ""."""
    return [(match[1], match[2] or "") for match in MENTION.finditer(text)]


@cache
def defined(path: Path) -> frozenset[str]:
    """The test functions of a file."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = {node.name for node in ast.parse(path.read_text()).body if isinstance(node, kinds)}
    return frozenset(name for name in found if name.startswith("test_"))


def missing(text: str) -> list[str]:
    """What a text names and nobody has written."""
    found = []
    for file, function in mentions(text):
        path = ROOT / file
        if not path.is_file() or (function and function not in defined(path)):
            found.append(f"{file}::{function}" if function else file)
    return found


def unproven(text: str) -> list[str]:
    """The rows of a document's tables whose last cell names no test function."""
    rows = [line.strip().strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    bodies = [cells for cells in rows if cells[0].strip() and set("".join(cells)) - set("-: ")]
    return [cells[0].strip() for cells in bodies if not any(function for _, function in mentions(cells[-1]))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_test_that_a_document_names_is_there(document: Path) -> None:
    assert missing(document.read_text()) == []


def test_every_difference_names_the_test_that_shows_it() -> None:
    text = DIFFERENCES.read_text()
    assert len(mentions(text)) > 20
    assert unproven(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("`tests/test_docs.py::test_a_lie_is_noticed`, `tests/test_docs.py`", []),
        ("`tests/test_docs.py::test_a_lie_is_noticed[id-1]`", []),
        ("`tests/test_docs.py::test_nobody`", ["tests/test_docs.py::test_nobody"]),
        ("`tests/test_docs.py::mentions`", ["tests/test_docs.py::mentions"]),
        ("`tests/nowhere/test_docs.py::test_layers`", ["tests/nowhere/test_docs.py::test_layers"]),
        ("see tests/nowhere.py.", ["tests/nowhere.py"]),
    ],
)
def test_a_lie_is_noticed(text: str, expected: list[str]) -> None:
    assert missing(text) == expected


def test_a_row_without_a_test_is_noticed() -> None:
    head = "| | KCM | Test |\n|---|---|---|\n"
    assert unproven(
        f"{head}| shown | x | `tests/test_docs.py::test_a_lie_is_noticed` |\n| told | x | `tests/a.py` |"
    ) == ["told"]


# Documents for those who run it: with at least so many links, and so many files that they name.
MANUALS = {"operations.md": (31, 9), "ipam.md": (16, 6)}


@pytest.fixture(params=MANUALS)
def manual(request: pytest.FixtureRequest) -> Path:
    return ROOT / "docs" / str(request.param)


def test_every_link_leads_on(manual: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", manual.read_text())
    assert len(links) >= MANUALS[manual.name][0]
    for link in links:
        target, _, anchor = link.partition("#")
        path = (manual.parent / target).resolve() if target else manual
        assert path.exists(), link
        assert not anchor or anchor in anchors(path), link


def test_every_file_that_is_named_is_there(manual: Path) -> None:
    named = set(re.findall(r"\b((?:config|tests|controllers|api)/[\w./-]*\w)", manual.read_text()))
    assert len(named) >= MANUALS[manual.name][1]
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


YAML = {
    f"{name}-{number}": text
    for name in MANUALS
    for number, text in enumerate(
        re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs" / name).read_text(), re.MULTILINE | re.DOTALL)
    )
}


@pytest.mark.parametrize("text", YAML.values(), ids=YAML)
def test_yaml_can_be_read(text: str) -> None:
    assert yaml.safe_load(text)


def test_lines_can_be_read(manual: Path) -> None:
    """Tables cannot be broken, nor what is to be copied."""
    text = re.sub(r"^```.*?^```", "", manual.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert [line for line in text.splitlines() if len(line) > 130 and not line.startswith("|")] == []
