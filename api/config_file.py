"""The configuration file: read, put together with flags, and written out with its defaults. Text in, text out."""

import difflib
import json
import textwrap
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, TypeVar

import yaml

from api.config import Common, Configuration
from api.settings import SETTINGS, Broken, Setting, check, settings_of

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML was built without libyaml
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

M = TypeVar("M", bound=Common)

API_VERSION: Final = "config.sliceplane.dev/v1alpha1"
KIND: Final = "SliceplaneConfiguration"

_HEADER: Final = {"apiVersion": API_VERSION, "kind": KIND}
_BY_PATH: Final = {setting.path: setting for setting in SETTINGS.values()}
_SECTIONS: Final = tuple(dict.fromkeys(path[:-1] for path in _BY_PATH if len(path) > 1))
# Scalars that are no text; whatever else a scalar is tagged as, it is read as the text that it is.
_TYPED: Final = {f"tag:yaml.org,2002:{name}" for name in ("bool", "float", "int", "null")}
_NULL: Final = "tag:yaml.org,2002:null"
_LONGEST: Final = 60


class Problem(NamedTuple):
    """Something wrong with a file; line 0 is the file as a whole."""

    line: int
    text: str


class Entry(NamedTuple):
    """Where a value was found, and how it was written there."""

    line: int
    written: str


class File(NamedTuple):
    """What a file says, by field, and what is wrong with it beyond what the model has to say."""

    name: str
    values: dict[str, object]
    entries: dict[str, Entry]
    problems: list[Problem]


class ConfigurationError(ValueError):
    """All that is wrong, one a line: the items of `told`. `of_flags` is whether any of it is about the command line."""

    def __init__(self, told: list[str], *, of_flags: bool) -> None:
        super().__init__("\n".join(told))
        self.told, self.of_flags = told, of_flags


def configured(flags: Mapping[str, str], file: File | None = None) -> Configuration:
    """Flags, texts by field, over the file over the defaults.

    A value of the file must be right even where a flag takes its place. Raises ConfigurationError with every problem.
    """
    return _configured(flags, file or File("", {}, {}, []), Configuration)


def configured_by_flags(flags: Mapping[str, str], model: type[M]) -> M:
    """The configuration of a command that has no file: flags, texts by field. Raises ConfigurationError."""
    return _configured(flags, File("", {}, {}, []), model)


def _configured(flags: Mapping[str, str], file: File, model: type[M]) -> M:
    settings = settings_of(model)
    parsed = {field: settings[field].kind.parse(text) for field, text in flags.items()}
    found = check(file.values | parsed, model)
    problems = list(file.problems)
    for field, message in check(file.values, model).wrong.items():
        entry = file.entries[field]
        problems.append(Problem(entry.line, f"{SETTINGS[field].key}: {entry.written}: {message}"))
    told = [_in_file(file.name, each) for each in sorted(problems)]
    told += [
        f"--{settings[field].flag}={_short(flags[field])}: {message}"
        for field, message in found.wrong.items()
        if field in flags
    ]
    told += [_rule(broken, flags, file) for broken in found.broken] + found.advice
    if told or found.configuration is None:
        concerned = found.wrong.keys() | {field for each in found.broken for field in (each.rule.more, each.rule.less)}
        raise ConfigurationError(told, of_flags=not file.name or bool(concerned & flags.keys()))
    return found.configuration


def _in_file(name: str, problem: Problem) -> str:
    return f"{name}:{problem.line}: {problem.text}" if problem.line else f"{name}: {problem.text}"


def _rule(broken: Broken, flags: Mapping[str, str], file: File) -> str:
    """A broken rule, in the words in which the values were given; a default has those of the file, if there is one."""
    rule = broken.rule

    def name(field: str) -> str:
        return SETTINGS[field].key if file.name and field not in flags else f"--{SETTINGS[field].flag}"

    def value(field: str, shown: str) -> str:
        return shown if field in flags or field in file.entries else f"{shown} (the default)"

    values = f"{value(rule.more, broken.more)} and {value(rule.less, broken.less)}"
    text = f"{rule.told(name(rule.more), name(rule.less))}: they are {values}"
    lines = [file.entries[field].line for field in (rule.more, rule.less) if field in file.entries.keys() - flags]
    return _in_file(file.name, Problem(lines[0], text)) if lines else text


def read(name: str, data: bytes) -> File:
    """What the bytes of a file say. Never raises: `configured` tells the problems, with those of the values."""
    file = File(name, {}, {}, [])
    try:
        node = yaml.compose(data.decode("utf-8-sig"), Loader=_Loader)
    except UnicodeDecodeError as error:
        file.problems.append(Problem(0, f"not UTF-8 text (byte {error.start})"))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        reason = ", ".join(filter(None, (error.context, error.problem))) or "syntax error"
        file.problems.append(Problem(line, f"not valid YAML: {reason}"))
    except yaml.YAMLError as error:
        file.problems.append(Problem(0, f"not valid YAML: {' '.join(str(error).split())}"))
    except RecursionError:
        file.problems.append(Problem(0, "nested too deeply"))
    else:
        if node is None or isinstance(node, yaml.MappingNode):
            _read_document(node, file)
        else:
            line = node.start_mark.line + 1
            file.problems.append(Problem(line, f"must be a mapping of keys to values, not {_shape(node)}"))
    return file


def _read_document(node: yaml.MappingNode | None, file: File) -> None:
    pairs = reversed(node.value if node else [])
    given = {key.value: value for key, value in pairs if isinstance(key, yaml.ScalarNode)}
    for key, wanted in _HEADER.items():
        if key not in given:
            file.problems.append(Problem(0, f"{key}: missing, must be {wanted}"))
        elif _scalar(given[key]) != wanted:
            line = given[key].start_mark.line + 1
            file.problems.append(Problem(line, f"{key}: {_written(given[key])}: must be {wanted}"))
    # The keys of something else are no mistakes in this.
    if node and ("kind" not in given or _scalar(given["kind"]) == KIND):
        _read_mapping(node, (), file)


def _read_mapping(node: yaml.MappingNode, section: tuple[str, ...], file: File) -> None:
    seen: dict[str, int] = {}
    for key, value in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else _shape(key)
        path, line = (*section, name), key.start_mark.line + 1
        shown = ".".join(each if each.isprintable() else json.dumps(each) for each in path)
        if name in seen:
            file.problems.append(Problem(line, f"{shown}: given twice, first in line {seen[name]}"))
        elif path in _BY_PATH:
            field = _BY_PATH[path].field
            file.values[field] = _value(_BY_PATH[path], value)
            file.entries[field] = Entry(line, _written(value))
        elif path in _SECTIONS and isinstance(value, yaml.MappingNode):
            _read_mapping(value, path, file)
        elif path in _SECTIONS:
            # A section whose keys are all commented out is null.
            if value.tag != _NULL:
                file.problems.append(Problem(line, f"{shown}: must be a mapping, not {_shape(value)}"))
        elif section or name not in _HEADER:
            file.problems.append(Problem(line, f"{_short(shown)}: unknown key{_suggestion(section, name)}"))
        seen.setdefault(name, line)


def _suggestion(section: tuple[str, ...], name: str) -> str:
    """The key that was probably meant: of this section rather than of another, and flags count as keys."""
    known = {_folded(setting.flag): setting.key for setting in SETTINGS.values()}
    known |= {_folded(path[-1]): ".".join(path) for path in (*_BY_PATH, *_SECTIONS)}
    known |= {_folded(key): key for key in _HEADER}
    here = {_folded(path[-1]): ".".join(path) for path in (*_BY_PATH, *_SECTIONS) if path[:-1] == section}
    for candidates, likeness in ((here, 1.0), (known, 1.0), (here, 0.75), (known, 0.75)):
        close = difflib.get_close_matches(_folded(name[:_LONGEST]), candidates, n=1, cutoff=likeness)
        if close:
            return f"; did you mean {candidates[close[0]]}?"
    return ""


def _folded(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()


def _value(setting: Setting, node: yaml.Node) -> object:
    """What the model is given; where that is not a value of its type, the model refuses it."""
    if isinstance(node, yaml.SequenceNode):
        return [_scalar(each) for each in node.value]
    if setting.kind.plain and isinstance(node, yaml.ScalarNode) and node.tag != _NULL:
        return node.value
    return _scalar(node)


def _scalar(node: yaml.Node) -> object:
    """The value of a scalar; None, which no setting accepts, for other nodes."""
    if not isinstance(node, yaml.ScalarNode):
        return None
    if node.tag in _TYPED:
        try:
            return yaml.constructor.SafeConstructor().construct_object(node)
        except Exception:
            # PyYAML lets through whatever an ill-tagged scalar (`!!int x`) makes it raise.
            return node.value
    return node.value


def _written(node: yaml.Node) -> str:
    """A value as messages show it."""
    if isinstance(node, yaml.ScalarNode):
        if node.tag == _NULL:
            return "null"
        return _short(node.value if node.tag in _TYPED else json.dumps(node.value, ensure_ascii=False))
    return _short(f"[{', '.join(map(_shape, node.value))}]") if isinstance(node, yaml.SequenceNode) else "a mapping"


def _shape(node: yaml.Node) -> str:
    return "a list" if isinstance(node, yaml.SequenceNode) else _written(node)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def default_text() -> str:
    """The whole default configuration as a file, every key with its help and what it accepts."""
    lines = _comment(
        "The configuration of `sliceplane run --config=FILE`. These are the defaults: a file needs only what it "
        "changes, and apiVersion and kind. A flag on the command line wins over its key here.",
        "",
    )
    lines += [f"{key}: {value}" for key, value in _HEADER.items()]
    for section in ((), *_SECTIONS):
        lines += ["", f"{'.'.join(section)}:"] if section else []
        settings = [setting for setting in SETTINGS.values() if setting.path[:-1] == section]
        lines += _keys(settings, indent="  " * len(section))
    return "\n".join(lines) + "\n"


def _keys(settings: Iterable[Setting], indent: str) -> list[str]:
    lines: list[str] = []
    for setting in settings:
        kind, default = setting.kind, setting.default
        shown = kind.show(default)
        lines += [] if indent else [""]
        lines += _comment(setting.text, indent)
        lines += _comment(f"--{setting.flag}: {setting.accepted}", indent)
        lines.append(
            f"{indent}{setting.path[-1]}: {json.dumps(shown) if isinstance(default, str) or kind.plain else shown}"
        )
    return lines


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, 100, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ", break_on_hyphens=False
    )
