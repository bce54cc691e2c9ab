"""Manifests from files, each with the lines that its fields are on; documents are read as by `sliceplane plan`."""

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import PurePath
from typing import Any, Final, NamedTuple

import yaml

from controllers.ipam_tools.findings import ERROR, Finding
from controllers.planning.files import EXTENSIONS, called, data_of, files
from controllers.planning.reading import Problem, read, uncollected

try:
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # PyYAML was built without libyaml
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

PathStep = str | int
Path = tuple[PathStep, ...]

# Kustomize's own files may go without apiVersion and kind; they are no objects.
_NO_OBJECTS: Final = frozenset({"kustomization.yaml", "kustomization.yml"})
_DOCUMENT: Final = re.compile(r"(.*), document (\d+)")
_LINE: Final = re.compile(r"(not valid YAML: )line (\d+), ")


class Lines:
    """On which line each value of a file is. It is found out at the first question: most objects are never told of."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @cached_property
    def _documents(self) -> list[yaml.Node | None]:
        """Where each document stands. JSON is YAML, but for rarities; what cannot be parsed was reported already."""
        nodes: list[yaml.Node | None] = []
        try:
            with uncollected():
                # An alias is one more reference to a node here: it cannot blow up.
                nodes.extend(yaml.compose_all(self._data.decode("utf-8-sig"), Loader=_SafeLoader))
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError):
            return nodes
        return nodes

    def line(self, document: int, base: Path, path: Path = ()) -> int:
        """The line of a field of the object at `base`, or of the innermost around it that is there; 0 when unknown."""
        node = self._documents[document] if document < len(self._documents) else None
        if node is None:
            return 0
        line: int = node.start_mark.line + 1
        for depth, step in enumerate((*base, *path)):
            found = _within(node, step)
            if found is None:
                return 0 if depth < len(base) else line
            node, line = found
        return line


class Manifest(NamedTuple):
    """One object of a file: the one at `base` of a document."""

    file: str
    content: Any
    lines: Lines
    document: int
    base: Path = ()

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
        return self.lines.line(self.document, self.base, path)


class Manifests(NamedTuple):
    """All that was read; `named` is what was asked for, a directory as such."""

    found: list[Manifest]
    problems: list[Finding]
    files: list[str]
    named: tuple[str, ...] = ()


def load(filenames: Sequence[str]) -> Manifests:
    """The objects of files, directories with all below them, and standard input (-)."""
    into = Manifests([], [], [], tuple(map(called, filenames)))
    for name in filenames:
        found = list(files(name))
        if not found:
            into.problems.append(_problem(name, 0, f"no files that end in {', '.join(EXTENSIONS)}"))
        for each in found:
            shown = called(each)
            into.files.append(shown)
            try:
                data = data_of(each)
            except OSError as error:
                into.problems.append(_problem(shown, 0, (error.strerror or str(error)).lower()))
                continue
            parse(shown, data, into)
    return into


def parse(name: str, data: bytes, into: Manifests) -> None:
    """The objects of one file's text."""
    documents = read(name, data)
    into.problems.extend(map(_from_reader, documents.problems))
    lines = Lines(data)
    for number, document in enumerate(documents.found):
        _flat(Manifest(name, document.content, lines, number), into)


def _from_reader(problem: Problem) -> Finding:
    document = _DOCUMENT.fullmatch(problem.where)
    line = _LINE.match(problem.message)
    if line:
        # It stands in front already.
        message = _LINE.sub(r"\1", problem.message, count=1)
    else:
        message = f"document {document[2]}: {problem.message}" if document else problem.message
    return _problem(document[1] if document else problem.where, int(line[2]) if line else 0, message)


def _problem(file: str, line: int, message: str) -> Finding:
    return Finding(file=file, line=line, severity=ERROR, reason="Unreadable", message=message)


def _flat(found: Manifest, into: Manifests) -> None:
    """The object itself, or the items of a List; an empty document is nothing."""
    file, content = found.file, found.content
    if content is None:
        return
    if not isinstance(content, dict):
        into.problems.append(_problem(file, found.line(), "expected an object with apiVersion and kind"))
        return
    kind = content.get("kind")
    if isinstance(kind, str) and kind.endswith("List") and isinstance(content.get("items"), list):
        # Items of a ServiceList and the like carry neither kind nor apiVersion when they come from the API itself.
        own = {"apiVersion": content.get("apiVersion"), "kind": kind.removesuffix("List")} if kind != "List" else {}
        for index, item in enumerate(content["items"]):
            inner = {**own, **item} if isinstance(item, dict) else item
            _flat(found._replace(content=inner, base=(*found.base, "items", index)), into)
        return
    missing = [key for key in ("apiVersion", "kind") if not isinstance(content.get(key), str) or not content[key]]
    if missing and PurePath(file).name not in _NO_OBJECTS:
        into.problems.append(_problem(file, found.line(), f"{' and '.join(missing)} not set, or not text"))
    elif not missing:
        into.found.append(found)


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
