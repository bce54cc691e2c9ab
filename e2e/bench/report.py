"""The sections of a report on the screen, as JSON, as Markdown, and as pictures beside them."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.table import Table

from e2e.bench import plots
from e2e.bench.figures import Row, Section, ratio

BYTES_NOTE: Final = (
    "Slice writes are the slices' watch events, and bytes written their length as JSON, without deletions. A latency "
    "is from the answer to the status patch to the slice's watch event. Behind a name is the number of its rounds. The "
    "ratio is Sliceplane to KCM tuned, which has --kube-api-qps=5000, --kube-api-burst=10000 and 50 workers; without "
    "it, to KCM with its defaults. Floor is no controller, but a loop that does no more than list and write."
)
_VERDICTS: Final = {True: "met", False: "missed", None: "not measured"}


def table(section: Section) -> Table:
    """The medians of the rounds, for a terminal."""
    made = Table(title=section.title, title_justify="left")
    head, *rows = _cells(section)
    for number, text in enumerate(head):
        made.add_column(text, justify="left" if number == 0 else "right")
    for row in rows:
        made.add_row(*row)
    return made


def markdown(sections: Sequence[Section], title: str) -> str:
    """The same as Markdown, with the pictures that `write` puts beside it."""
    parts = [f"# {title}", BYTES_NOTE]
    for section in sections:
        head, *rows = _cells(section)
        lines = [f"## {section.title}", "", _line(head), _line(["---"] * len(head)), *(_line(row) for row in rows)]
        parts.append("\n".join(lines))
        parts.extend(f"![{name}]({path})" for name, path in _pictures(section).items())
    return "\n\n".join(parts) + "\n"


def prepare(folder: Path) -> None:
    """Makes the folder of the report: a run of an hour must not end without one. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def write(sections: Sequence[Section], title: str, folder: Path) -> list[Path]:
    """Writes bench.json, bench.md and the pictures of what there is to draw; returns their paths."""
    prepare(folder)
    data, text = folder / "bench.json", folder / "bench.md"
    record = {"title": title, "note": BYTES_NOTE, "sections": [section.record() for section in sections]}
    data.write_text(json.dumps(record) + "\n")
    text.write_text(markdown(sections, title))
    written = [data, text]
    for section in sections:
        pictures = _pictures(section)
        if "latency" in pictures:
            latencies = {name: [each.latencies for each in rounds] for name, rounds in section.results.items()}
            plots.distribution(latencies, section.title, folder / pictures["latency"])
        if "memory" in pictures:
            traces = {name: [each.memory for each in rounds] for name, rounds in section.results.items()}
            plots.memory(traces, section.title, folder / pictures["memory"])
        written += [folder / name for name in pictures.values()]
    return written


def _pictures(section: Section) -> dict[str, str]:
    """The names of the pictures, by what they show."""
    outcomes = [each for rounds in section.results.values() for each in rounds]
    there = {"latency": any(each.latencies for each in outcomes), "memory": any(each.memory for each in outcomes)}
    return {kind: f"bench-{section.name}-{kind}.png" for kind, draw in there.items() if draw}


def _cells(section: Section) -> list[list[str]]:
    counts = {name: len(rounds) for name, rounds in section.results.items() if rounds}
    head = ["median of the rounds", *(f"{name} ({count})" for name, count in counts.items()), "ratio", "goal"]
    return [head, *(_row(section, row, list(counts)) for row in section.rows)]


def _row(section: Section, row: Row, names: Sequence[str]) -> list[str]:
    values = section.medians(row)
    share = ratio(values)
    goal = "" if row.goal is None else f"{row.goal}: {_VERDICTS[row.goal.met(values)]}"
    figures = [f"{values[name]:,.{row.digits}f}" for name in names]
    return [row.text, *figures, "" if share is None else f"{share:.2f}", goal]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
