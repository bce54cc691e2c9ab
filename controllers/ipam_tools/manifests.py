"""Manifests from files, each with the lines that its fields are on; documents are read as by `sliceplane plan`."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import yaml

from controllers.ipam_tools.findings import ERROR, Finding
from controllers.planning.files import EXTENSIONS, called, files
from controllers.planning.reading import Problem, read

try:
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # PyYAML was built without libyaml
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

PathStep = str | int

# Kustomize's own files may go without apiVersion and kind; they are no objects.
_NO_OBJECTS: Final = frozenset({"kustomization.yaml", "kustomization.yml"})
_DOCUMENT: Final = re.compile(r"(.*), document (\d+)")
_LINE: Final = re.compile(r"line (\d+)")


class Manifest(NamedTuple):
    """One object of a file. `node` is where the YAML parser found it, None when it cannot tell."""

    file: str
    content: dict[str, Any]
    node: yaml.Node | None = None

    @property
    def version(self) -> str:
        """apiVersion."""
        return str(self.content.get("apiVersion") or "")

    @property
    def kind(self) -> str:
        """kind."""
        return str(self.content.get("kind") or "")

    def line(self, *path: PathStep) -> int:
        """The line of a field, or of the innermost around it that is there; 0 when lines are not known."""
        node = self.node
        if node is None:
            return 0
        line: int = node.start_mark.line + 1
        for step in path:
            found = _within(node, step)
            if found is None:
                break
            node, line = found
        return line


class Manifests(NamedTuple):
    """All that was read."""

    found: list[Manifest]
    problems: list[Finding]
    files: list[str]


def load(filenames: Iterable[str]) -> Manifests:
    """The objects of files, directories with all below them, and standard input (-)."""
    into = Manifests([], [], [])
    for name in filenames:
        found = list(files(name))
        if not found:
            into.problems.append(_problem(name, 0, f"no files that end in {', '.join(EXTENSIONS)}"))
        for each in found:
            shown = called(each)
            into.files.append(shown)
            try:
                with click.open_file(each, "rb") as file:
                    data = file.read()
            except OSError as error:
                into.problems.append(_problem(shown, 0, (error.strerror or str(error)).lower()))
                continue
            parse(shown, data, into)
    return into


def parse(name: str, data: bytes, into: Manifests) -> None:
    """The objects of one file's text."""
    documents = read(name, data)
    into.problems.extend(map(_from_reader, documents.problems))
    nodes = _nodes(data)
    for place, document in enumerate(documents.found):
        _flat(name, document.content, nodes[place] if place < len(nodes) else None, {}, into)


def _from_reader(problem: Problem) -> Finding:
    document = _DOCUMENT.fullmatch(problem.where)
    line = _LINE.search(problem.message)
    message = f"document {document[2]}: {problem.message}" if document and not line else problem.message
    return _problem(document[1] if document else problem.where, int(line[1]) if line else 0, message)


def _problem(file: str, line: int, message: str) -> Finding:
    return Finding(file=file, line=line, severity=ERROR, reason="Unreadable", message=message)


def _nodes(data: bytes) -> list[yaml.Node | None]:
    """Where each document stands. JSON is YAML, but for rarities; what cannot be parsed was reported already."""
    nodes: list[yaml.Node | None] = []
    try:
        # An alias is one more reference to a node here: it cannot blow up.
        nodes.extend(yaml.compose_all(data.decode("utf-8-sig"), Loader=_SafeLoader))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError):
        return nodes
    return nodes


def _flat(file: str, content: Any, node: yaml.Node | None, inherited: dict[str, Any], into: Manifests) -> None:  # noqa: ANN401
    """The object itself, or the items of a List; an empty document is nothing."""
    if content is None:
        return
    line = node.start_mark.line + 1 if node is not None else 0
    if not isinstance(content, dict):
        into.problems.append(_problem(file, line, "expected an object with apiVersion and kind"))
        return
    content = {**inherited, **content}
    kind = content.get("kind")
    if isinstance(kind, str) and kind.endswith("List") and isinstance(content.get("items"), list):
        # Items of a ServiceList and the like carry neither kind nor apiVersion when they come from the API itself.
        own = {"apiVersion": content.get("apiVersion"), "kind": kind.removesuffix("List")} if kind != "List" else {}
        items = _within(node, "items")
        for index, item in enumerate(content["items"]):
            found = _within(items[0], index) if items is not None else None
            _flat(file, item, found[0] if found is not None else None, own, into)
        return
    missing = [key for key in ("apiVersion", "kind") if not isinstance(content.get(key), str) or not content[key]]
    if missing and Path(file).name not in _NO_OBJECTS:
        into.problems.append(_problem(file, line, f"{' and '.join(missing)} not set, or not text"))
    elif not missing:
        into.found.append(Manifest(file, content, node))


def _within(node: yaml.Node | None, step: PathStep) -> tuple[yaml.Node, int] | None:
    """The value at a key or index, and the line on which it begins: a key's own."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == step:
                return value, key.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        found: yaml.Node = node.value[step]
        return found, found.start_mark.line + 1
    return None
