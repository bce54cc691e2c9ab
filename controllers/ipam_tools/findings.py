"""What `sliceplane ipam check` has to say, and how."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from controllers.ipam_tools.tables import counted

ERROR: Final = "error"
WARNING: Final = "warning"
INFO: Final = "info"


class Finding(Struct, frozen=True, kw_only=True):
    """One thing to say of an object. `reason` is a CamelCase word for programs; `line` counts from 1, 0 is unknown.

    Of an `info` nothing is wrong: it tells what would be chosen.
    """

    file: str
    line: int
    severity: str
    reason: str
    message: str
    kind: str = ""
    namespace: str = ""
    name: str = ""

    @property
    def about(self) -> str:
        """`Service shop/web`; "" when it is about a file."""
        name = f"{self.namespace}/{self.name}".removeprefix("/")
        return f"{self.kind} {name}".strip()

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return printable(": ".join(part for part in (place, self.about, self.severity, self.message) if part))


def printable(text: str) -> str:
    """One line without control characters, whatever somebody has put into a name."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


class Outcome(Struct, frozen=True):
    """The findings in the order of the manifests, and what there was: objects by kind, those that are not looked at."""

    findings: tuple[Finding, ...]
    looked_at: Counter[str]
    ignored: Counter[str]
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether anything is an error."""
        return any(each.severity == ERROR for each in self.findings)


def as_text(findings: Iterable[Finding], *, quiet: bool) -> str:
    """A line for each finding."""
    return "".join(f"{each}\n" for each in findings if not (quiet and each.severity == INFO))


def as_json(outcome: Outcome) -> str:
    """Everything, for programs."""
    counts = Counter(each.severity for each in outcome.findings)
    content: dict[str, Any] = {
        "findings": [msgspec.to_builtins(each) for each in outcome.findings],
        "summary": {
            "errors": counts[ERROR],
            "warnings": counts[WARNING],
            "lookedAt": dict(sorted(outcome.looked_at.items())),
            "ignored": dict(sorted(outcome.ignored.items())),
        },
        "notes": list(outcome.notes),
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=2).decode() + "\n"


def summary(outcome: Outcome) -> str:
    """One line: what was looked at, and what is wrong with it."""
    counts = Counter(each.severity for each in outcome.findings)
    objects = ", ".join(counted(count, kind) for kind, count in sorted(outcome.looked_at.items()))
    return f"{objects or 'nothing to check'}: {counted(counts[ERROR], 'error')}, {counted(counts[WARNING], 'warning')}"


def in_order(findings: Iterable[Finding], files: Sequence[str]) -> tuple[Finding, ...]:
    """By file, as they were given, then by line; what is said of one line stays in its order."""
    places = {name: place for place, name in enumerate(files)}
    return tuple(sorted(findings, key=lambda each: (places.get(each.file, len(places)), each.line)))
