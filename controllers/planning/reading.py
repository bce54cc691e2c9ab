"""From the text of a file to documents: YAML or JSON as kubectl reads them, and never an exception."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import msgspec
import yaml

try:
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # PyYAML was built without libyaml
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]


class Document(NamedTuple):
    """One document, and where it was found ("shop.yaml, document 2")."""

    where: str
    content: Any


class Problem(NamedTuple):
    """Something that is wrong with the input; `about` is "Kind namespace/name" or ""."""

    where: str
    about: str
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in self if part)


class Documents(NamedTuple):
    found: list[Document]
    problems: list[Problem]


class _Loader(_SafeLoader):
    """YAML as kubectl takes it: a timestamp without quotes is a string."""


_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
    for first, resolvers in _SafeLoader.yaml_implicit_resolvers.items()
}


class _Refused(Exception):
    pass


@contextmanager
def uncollected() -> Iterator[None]:
    """While it lasts, no garbage is looked for: there is none among a file's values, and they are a million.

    A large file is read in a third of the time.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def read(name: str, data: bytes) -> Documents:
    """The documents of one file; what was read before an error in it is kept, so that all errors show at once."""
    documents = Documents([], [])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        documents.problems.append(Problem(name, "", f"not UTF-8 text (byte {error.start})"))
        return documents
    if text.lstrip().startswith("{") or name.endswith(".json"):
        try:
            documents.found.append(Document(f"{name}, document 1", msgspec.json.decode(text)))
            return documents
        except (msgspec.DecodeError, RecursionError) as error:
            if name.endswith(".json"):
                documents.problems.append(Problem(name, "", f"not valid JSON: {error}"))
                return documents
    with uncollected():
        _read_yaml(name, text, documents)
    return documents


def _read_yaml(name: str, text: str, documents: Documents) -> None:
    # Without aliases no value has more nodes than its text has characters.
    plain = _Plain(limit=10 * len(text) + 10_000)
    number = 1
    try:
        for content in yaml.load_all(text, Loader=_Loader):
            documents.found.append(Document(f"{name}, document {number}", plain(content)))
            number += 1
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        reason = error.problem or error.context or "syntax error"
        documents.problems.append(Problem(name, "", f"not valid YAML: {place}{reason}"))
    except RecursionError:
        documents.problems.append(Problem(f"{name}, document {number}", "", "nested too deeply"))
    except _Refused as error:
        documents.problems.append(Problem(f"{name}, document {number}", "", str(error)))
    except Exception as error:
        # PyYAML's constructors let through whatever an ill-tagged scalar makes them raise (KeyError, ValueError, ...).
        documents.problems.append(Problem(f"{name}, document {number}", "", f"not valid YAML: {_one_line(error)}"))


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


class _Plain:
    """Copies what YAML can express down to what JSON can: text keys, no sets and dates, no bomb of aliases."""

    def __init__(self, limit: int) -> None:
        self._left = limit

    def __call__(self, value: object) -> object:
        self._left -= 1
        if self._left < 0:
            raise _Refused("its aliases (*name) blow it up to many times its size")
        if value is None or isinstance(value, str | bool | float):
            return value
        if isinstance(value, int):
            if not -(1 << 63) <= value < 1 << 63:
                raise _Refused("holds a number of more than 64 bits")
            return value
        if isinstance(value, list):
            return [self(each) for each in value]
        if isinstance(value, dict):
            return {_key(key): self(each) for key, each in value.items()}
        raise _Refused(f"holds a value that JSON does not know ({type(value).__name__})")


def _key(key: object) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bool):
        return str(key).lower()
    if isinstance(key, int | float):
        return str(key)
    raise _Refused(f"holds a key that is no text ({key!r})")
