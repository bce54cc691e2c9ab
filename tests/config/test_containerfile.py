"""What can be said of the image without building it."""

import re
from importlib.metadata import distribution
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.config.overlay import ROOT

_CONTAINERFILE = (ROOT / "Containerfile").read_text()


class Instruction(NamedTuple):
    name: str
    text: str


def stages() -> list[list[Instruction]]:
    """The instructions of each stage; what comes before the first is left out."""
    lines = re.sub(r"^#.*\n", "", _CONTAINERFILE, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    found: list[list[Instruction]] = []
    for name, _, text in (line.partition(" ") for line in lines if line):
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append(Instruction(name, text.strip()))
    return found


def test_final_stage_builds_nothing_and_is_nobody() -> None:
    _, final = stages()
    assert [text for name, text in final if name == "RUN" and " uninstall " not in text] == []
    (user,) = (text for name, text in final if name == "USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    # Not root and not in /etc/passwd: without a HOME, `import kubernetes.aio` raises.
    assert [name for name, text in final if " HOME=" in text] == ["ENV"]
    assert [text for name, text in final if name == "ENTRYPOINT"] == ['["sliceplane"]']
    assert [text for name, text in final if name == "COPY"] == ["--from=builder /opt/sliceplane /opt/sliceplane"]


def test_base_is_pinned_and_the_same_for_both_stages() -> None:
    """The environment's interpreter is a link to the base's."""
    (base,) = re.findall(r"^ARG PYTHON=(\S+)$", _CONTAINERFILE, re.MULTILINE)
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm", base)
    assert [stage[0].text for stage in stages()] == ["${PYTHON} AS builder", "${PYTHON}"]


def test_all_that_is_copied_is_there_and_not_ignored() -> None:
    builder, _ = stages()
    sources = [source for name, text in builder if name == "COPY" for source in text.split()[:-1]]
    kept = re.findall(r"^!(.+)$", (ROOT / ".containerignore").read_text(), re.MULTILINE)
    assert sorted(sources) == sorted(kept)
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_lock_pins_all_that_is_installed() -> None:
    """It is only a constraint: what it lacks would come in whichever version is the newest on the day."""
    locked = dict(line.split("==") for line in (ROOT / "requirements.lock").read_text().splitlines())
    needed = {name: distribution(name).version for name in closure("sliceplane")}
    assert len(needed) > 30
    assert {name: version for name, version in needed.items() if locked.get(name) != version} == {}


def closure(root: str) -> set[str]:
    """All that a distribution needs to run, by way of others too."""
    found: set[str] = set()
    waiting = [(root, "")]
    while waiting:
        name, extra = waiting.pop()
        for requirement in map(Requirement, distribution(name).requires or ()):
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            needed = canonicalize_name(requirement.name)
            if needed not in found:
                found.add(needed)
                waiting += [(needed, each) for each in ("", *requirement.extras)]
    return found
