"""What the configuration says of its fields: their flags, their keys in the file, what they accept, what is wrong."""

from collections.abc import Mapping
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar, get_args, get_origin

from pydantic import ValidationError
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from api.config import Common, Configuration, Kind, Rule, SelfExplaining

M = TypeVar("M", bound=Common)

# The texts that Go's strconv.ParseBool takes.
_BOOLEANS: Final = dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True) | dict.fromkeys(
    ("0", "f", "F", "FALSE", "false", "False"), False
)


def _integer(text: str) -> object:
    try:
        return int(text)
    except ValueError:
        return text


def _number(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text


def _boolean(text: str) -> object:
    return _BOOLEANS.get(text, text)


def _show_boolean(value: object) -> str:
    return "true" if value else "false"


def _booleans(what: str) -> Kind:
    return Kind(what, "[true|false]", parse=_boolean, show=_show_boolean, bare="true")


_BASIC: Final[dict[object, Kind]] = {
    int: Kind("a whole number", "INTEGER", parse=_integer),
    float: Kind("a number", "NUMBER", parse=_number, show="{:g}".format),
    bool: _booleans("true or false"),
    str: Kind("text", "TEXT"),
}


class Setting(NamedTuple):
    """One field: how it is called, written and limited."""

    field: str
    flag: str
    path: tuple[str, ...]
    """Its keys in the file, the section's first."""
    text: str
    kind: Kind
    limits: str
    """ "from 1 to 50", "0s or more", or ""."""
    default: Any

    @property
    def key(self) -> str:
        return ".".join(self.path)

    @property
    def accepted(self) -> str:
        """What it must be."""
        between = "" if self.limits.startswith("from") else "of "
        return f"{self.kind.what} {between}{self.limits}" if self.limits else self.kind.what


def _kind(info: FieldInfo) -> Kind:
    for mark in info.metadata:
        if isinstance(mark, Kind):
            return mark
    if get_origin(info.annotation) is not Literal:
        return _BASIC[info.annotation]
    values = get_args(info.annotation)
    if all(isinstance(value, bool) for value in values):
        return _booleans(" or ".join(map(_show_boolean, values)))
    return Kind(" or ".join(values), f"[{'|'.join(values)}]")


def _limits(info: FieldInfo, kind: Kind) -> str:
    ends = {
        end: kind.show(value)
        for mark in info.metadata
        for end in ("ge", "gt", "le")
        if (value := getattr(mark, end, None)) is not None
    }
    match ends:
        case {"ge": least, "le": most}:
            return f"from {least} to {most}"
        case {"ge": least}:
            return f"{least} or more"
        case {"gt": bound}:
            return f"more than {bound}"
        case {"le": most}:
            return f"at most {most}"
        case _:
            return ""


def describe(field: str, info: FieldInfo) -> Setting:
    """What a field that was made with `flag()` says of itself."""
    names = info.json_schema_extra
    assert isinstance(names, dict), f"{field} was not made with flag()"
    path = tuple((str(names["key"]) or to_camel(field)).split("."))
    kind = _kind(info)
    text = str(info.description)
    return Setting(field, str(names["flag"]), path, text, kind, _limits(info, kind), info.default)


def settings_of(model: type[Common]) -> dict[str, Setting]:
    """All of a command's settings, by field."""
    return {field: describe(field, info) for field, info in model.model_fields.items()}


SETTINGS: Final = settings_of(Configuration)


class Broken(NamedTuple):
    """A rule that is not kept, with the values that break it, as they are shown."""

    rule: Rule
    more: str
    less: str


class Checked(NamedTuple, Generic[M]):
    """The configuration that values make, or all that is wrong with them."""

    configuration: M | None
    wrong: dict[str, str]
    """By field: "must be …"."""
    broken: list[Broken]
    advice: list[str]
    """What else is wrong with how the values go together, in whole sentences."""


def check(values: Mapping[str, object], model: type[M]) -> Checked[M]:
    """Values by field; fields that are not there have their defaults."""
    try:
        return Checked(model.model_validate(dict(values)), {}, [], [])
    except ValidationError as error:
        found = error.errors()
    settings = settings_of(model)
    wrong = {
        str(each["loc"][0]): _message(settings[str(each["loc"][0])], each.get("ctx", {}))
        for each in found
        if each["loc"]
    }
    if wrong:
        # The rules were not looked at: they are for those fields that can be read.
        rest = check({field: value for field, value in values.items() if field not in wrong}, model).broken
        return Checked(None, wrong, [each for each in rest if not wrong.keys() & {each.rule.more, each.rule.less}], [])
    broken = [each for error in found if error["type"] == "rules" for each in _broken(error["ctx"], settings)]
    return Checked(None, {}, broken, [error["msg"] for error in found if error["type"] == "advice"])


def _message(setting: Setting, context: Mapping[str, Any]) -> str:
    reason = context.get("error")
    return str(reason) if isinstance(reason, SelfExplaining) else f"must be {setting.accepted}"


def _broken(context: Mapping[str, Any], settings: Mapping[str, Setting]) -> list[Broken]:
    shown = {field: settings[field].kind.show(value) for field, value in context["values"].items()}
    return [Broken(rule, shown[rule.more], shown[rule.less]) for rule in context["broken"]]
