"""Hostile names and labels in policies: whatever they are they stay text, and the rest of an expression is the same.

The literals are read back here by the lexical rules of CEL's specification, and by no code of ours.
"""

import re
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from controllers.ipam import guard_cel as cel
from controllers.ipam.guard_rules import Facts, rules
from controllers.ipam.guards import policies
from controllers.ipam.objects import Namespace
from controllers.ipam.pools import LabelSelector, Requirement
from controllers.model.objects import Labels
from tests.ipam.test_guards import expressions, pool, port_pool, reservation

# STRING of the grammar, without raw and triple-quoted ones: no bare line end, backslash or quote of its own kind.
STRING: Final = re.compile(r"\"(?:\\.|[^\"\\\n\r])*\"|'(?:\\.|[^'\\\n\r])*'")
ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
SIMPLE: Final = dict(zip("abfnrtv\\?\"'`", "\a\b\f\n\r\t\v\\?\"'`", strict=True))
# What is left of an expression has none of these: a literal that ended too early would leave them.
LEFT: Final = re.compile(r"[\w\s.()\[\]{}!=<>&|+?:,/-]*")

HOSTILE: Final = (
    *('"', "'", "\\", "`", '\\"', '" || true || "', "'] || true", '"+request.userInfo.username+"', "${x}", "{{x}}"),
    *("a\nb", "\r\n", "\t\b\f\v\a", "\0", "\x7f", "\u2028", "é", "😀", "\U0010ffff", "true", "//", "/*", "x" * 63),
    *("a.b.c", "..", "object.spec", "[0]", "%s", "#", ";", " "),
)
TEXTS: Final = st.sampled_from(HOSTILE) | st.text(max_size=80)


def value_of(literal: str) -> str:
    """What CEL reads in a string literal."""

    def plain(match: re.Match[str]) -> str:
        digits = match[1] or match[2] or match[3]
        if digits is None:
            return SIMPLE[match[4]]
        assert not 0xD800 <= int(digits, 16) < 0xE000, f"CEL refuses {match[0]}"
        return chr(int(digits, 16))

    return ESCAPE.sub(plain, literal[1:-1])


def skeleton(expression: str) -> str:
    """The expression without its texts; fails if it is no sequence of CEL's tokens."""
    left = STRING.sub("S", expression)
    assert LEFT.fullmatch(left), left
    return left


@given(TEXTS)
@example("😀")
def test_law_a_text_is_read_as_it_was_written(value: str) -> None:
    literal = cel.text(value)
    assert STRING.fullmatch(literal)
    assert value_of(literal) == value


@given(st.lists(TEXTS, max_size=5), st.dictionaries(TEXTS, TEXTS, max_size=5))
def test_law_so_are_lists_and_maps(values: list[str], entries: dict[str, str]) -> None:
    assert [value_of(each) for each in STRING.findall(cel.listed(values))] == values
    made = cel.mapping({key: cel.text(value) for key, value in entries.items()})
    read = [value_of(each) for each in STRING.findall(made)]
    assert dict(zip(read[::2], read[1::2], strict=True)) == entries
    assert skeleton(made) == "{" + ", ".join(["S: S"] * len(entries)) + "}"


def everything(name: str, key: str, value: str) -> list[dict[str, Any]]:
    """Policies of every sort, with these texts wherever a user's may come: nothing here is checked before."""
    select: dict[str, Any] = {
        "namespaces": frozenset({name}),
        "service": LabelSelector(Labels({key: value}), (Requirement(key, "NotIn", (value,)),)),
    }
    facts = Facts(
        ip_pools=(pool(name, "10.96.1.0/28", **select),),
        port_pools=(port_pool(name, 30000, 30015, **select),),
        reservations=(
            reservation(f"{name}/{value}", "10.96.3.7", node_ports=((value, 30100),), health_check_node_port=30102),
        ),
        namespaces=(Namespace(name, Labels({key: value})),),
        holders={"10.96.1.3": (f"old{name}/{key}",), "10.96.3.7": (f"{key}/{value}",)},
        user=value,
        exempt=frozenset({key}),
    )
    return policies(rules(facts))


@given(st.sampled_from(HOSTILE), st.sampled_from(HOSTILE) | st.text(min_size=1, max_size=63))
def test_law_hostile_texts_change_no_expression(name: str, other: str) -> None:
    """What is between the texts is the same as with harmless ones, so nothing of them is ever read as CEL."""
    # Namespaces have no slash, and the Service's name follows it; a Service that is exempt has no policies.
    name, key, value = name.replace("/", "|"), f"k{other}".replace("/", "|"), f"v{other}"
    made, harmless = expressions(everything(name, key, value)), expressions(everything("name", "key", "value"))
    assert [skeleton(each) for each in made] == [skeleton(each) for each in harmless]
    assert len(made) > 12
    told = {value_of(literal) for each in made for literal in STRING.findall(each)}
    assert {name, key, value, f"10.96.1.3 old{name}/{key}", f"{name}/{value}"} <= told


@pytest.mark.parametrize("name", ["a" * 253, ".".join(["b" * 62] * 4), "0-1.2-3"])
def test_long_names_are_names_of_policies_all_the_same(name: str) -> None:
    for each in everything(name, "key", "value"):
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", each["metadata"]["name"])


def test_long_names_that_begin_alike_are_two() -> None:
    two = [pool("a" * 250 + end, f"10.96.{at}.0/28", namespaces=frozenset({"x"})) for at, end in enumerate("bc")]
    made = [(each["kind"], each["metadata"]["name"]) for each in policies(rules(Facts(ip_pools=tuple(two))))]
    assert len(set(made)) == len(made) > 4
