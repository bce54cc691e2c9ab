"""Owner, labels and names of slices (ES-55, ES-69, ES-79 ... ES-86, D-3; ES-T39 ... ES-T44)."""

import re
from collections.abc import Container

import pytest

from api.names import ENDPOINTSLICE_MANAGED_BY, HEADLESS_LABEL, MANAGED_BY_LABEL, SERVICE_NAME_LABEL
from controllers.endpointslice.slices import (
    labels_changed,
    labels_for,
    new_slice,
    owned,
    placeholder_equal,
    with_trigger_time,
)
from controllers.membership import slice_names
from controllers.model.objects import EndpointPort, EndpointSlice, Labels, OwnerReference, Service
from tests.builders import (
    HEADLESS,
    HTTP,
    apply,
    counts,
    created,
    existing,
    labelled,
    owner,
    placeholder,
    planned,
    pod,
    pods,
    service,
    updated,
)

RESERVED = {SERVICE_NAME_LABEL: "x", MANAGED_BY_LABEL: "x", HEADLESS_LABEL: "x"}


@pytest.mark.parametrize(
    ("labels", "cluster_ip", "expected"),
    [
        pytest.param({}, "10.96.0.10", labelled(), id="ES-83-bare"),
        pytest.param({"team": "a"}, "10.96.0.10", labelled(team="a"), id="ES-83-copied"),
        pytest.param({}, "None", {**labelled(), HEADLESS_LABEL: ""}, id="ES-83-headless"),
        pytest.param({}, "", {**labelled(), HEADLESS_LABEL: ""}, id="ES-83-no-cluster-ip"),
        pytest.param({**RESERVED, "team": "a"}, "fd00::1", labelled(team="a"), id="ES-T41-reserved-are-ignored"),
        pytest.param(RESERVED, "None", {**labelled(), HEADLESS_LABEL: ""}, id="ES-T41-reserved-and-headless"),
    ],
)
def test_labels_es_83(labels: dict[str, str], cluster_ip: str, expected: dict[str, str]) -> None:
    of = service(labels=Labels(labels), cluster_ip=cluster_ip)
    assert labels_for(of) == expected
    assert [each.labels for each in created(planned(of, [pod()]))] == [expected]


@pytest.mark.parametrize(
    ("on_slice", "on_service", "expected"),
    [
        pytest.param(labelled(), {}, False, id="equal"),
        pytest.param(None, {}, False, id="ES-85-nil-is-empty"),
        pytest.param(labelled(a="1"), {"a": "1"}, False, id="mirrored"),
        pytest.param(labelled(), {"foo": "bar"}, True, id="ES-T39-added"),
        pytest.param(labelled(a="1"), {"a": "2"}, True, id="ES-85-changed"),
        pytest.param(labelled(a="1"), {}, True, id="ES-84-only-on-the-slice"),
        pytest.param(labelled(), RESERVED, False, id="ES-T40-reserved-on-the-service"),
        pytest.param({**labelled(), HEADLESS_LABEL: ""}, {}, False, id="ES-T42-headless-on-the-slice"),
        pytest.param({}, {}, False, id="ES-85-reserved-missing-on-the-slice"),
        pytest.param(labelled(), {"a": ""}, True, id="ES-85-empty-value-is-not-absent"),
    ],
)
def test_labels_changed_es_85(on_slice: dict[str, str] | None, on_service: dict[str, str], expected: bool) -> None:
    found = existing("s-a", pods(2), labels=on_slice)
    of = service(labels=Labels(on_service))
    assert labels_changed(found, of) is expected
    assert counts(planned(of, pods(2), [found])) == (0, int(expected), 0)


def test_every_slice_gets_a_new_label_es_t39() -> None:
    found = [existing(f"s-{index}", pods(100, 100 * index)) for index in range(3)]
    of = service(labels=Labels(foo="bar"))
    plan = planned(of, pods(300), found)
    assert counts(plan) == (0, 3, 0)
    assert all(each.labels == labelled(foo="bar") for each in apply(plan, found))


def test_reserved_drift_is_corrected_by_the_next_write_es_t42() -> None:
    found = existing("s-a", pods(2), labels={**labelled(), HEADLESS_LABEL: "", MANAGED_BY_LABEL: "x"})
    assert [each.labels for each in updated(planned(pods=pods(1), slices=[found]))] == [labelled()]


@pytest.mark.parametrize(
    ("owners", "expected"),
    [
        pytest.param((owner(),), True, id="ours"),
        pytest.param((owner("other"), owner(controller=None)), True, id="ES-55-some-owner"),
        pytest.param((owner(name="renamed"),), True, id="ES-55-name-does-not-count"),
        pytest.param((owner("previous"),), False, id="ES-T43-previous-uid"),
        pytest.param((owner(kind="Pod"),), False, id="ES-55-kind"),
        pytest.param((owner(api_version="v2"),), False, id="ES-55-api-version"),
        pytest.param((), False, id="ES-55-nobody"),
        pytest.param(None, False, id="ES-55-null"),
    ],
)
def test_owned_es_55(owners: tuple[OwnerReference, ...] | None, expected: bool) -> None:
    assert owned(existing("s-a", owner_references=owners), service()) is expected


def test_new_slice_es_76_79_80() -> None:
    made = new_slice(service(labels=Labels(a="1")), "IPv6")
    assert (made.address_type, made.endpoints, made.ports) == ("IPv6", (), ())
    meta = made.metadata
    assert (meta.name, meta.generate_name, meta.namespace) == ("", "s-", "ns")
    assert (meta.owner_references, meta.annotations, meta.resource_version) == ((owner(),), None, "")
    assert meta.labels == labelled(a="1")


PLACEHOLDER = new_slice(HEADLESS, "IPv4")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(placeholder(labels={**labelled(), HEADLESS_LABEL: ""}), True, id="ES-68-equal"),
        pytest.param(placeholder(labels=labelled()), True, id="ES-69-missing-is-empty"),
        pytest.param(placeholder(labels={**labelled(), "more": ""}), True, id="ES-69-more-but-empty"),
        pytest.param(placeholder(labels={**labelled(), "more": "x"}), False, id="ES-68-more"),
        pytest.param(placeholder(labels={**labelled(), HEADLESS_LABEL: "x"}), False, id="ES-68-other-value"),
        pytest.param(placeholder(labels={SERVICE_NAME_LABEL: "s"}), False, id="ES-68-no-manager"),
        pytest.param(placeholder(labels=None), False, id="ES-68-no-labels"),
        pytest.param(placeholder(owner_references=(owner("previous"),)), True, id="ES-T44-owners-do-not-count"),
        pytest.param(placeholder(annotations={"a": "b"}, finalizers=("f",)), True, id="ES-68-annotations-do-not-count"),
        pytest.param(existing("s-a"), False, id="ES-68-ports"),
        pytest.param(existing("s-a", [pod()], ports=()), False, id="ES-68-endpoints"),
        pytest.param(existing("s-a", ports=(), address_type="IPv6"), False, id="ES-68-address-type"),
    ],
)
def test_placeholder_equal(found: EndpointSlice, expected: bool) -> None:
    assert placeholder_equal(found, PLACEHOLDER) is expected


@pytest.mark.parametrize(
    ("before", "time", "after"),
    [
        pytest.param(None, "T", {"endpoints.kubernetes.io/last-change-trigger-time": "T"}, id="ES-90-set"),
        pytest.param({"endpoints.kubernetes.io/last-change-trigger-time": "S"}, "", None, id="ES-90-removed"),
        pytest.param(
            {"a": "b", "endpoints.kubernetes.io/last-change-trigger-time": "S"},
            "T",
            {"a": "b", "endpoints.kubernetes.io/last-change-trigger-time": "T"},
            id="ES-90-replaced",
        ),
        pytest.param({"a": "b"}, "", {"a": "b"}, id="ES-66-others-stay"),
    ],
)
def test_with_trigger_time(before: dict[str, str] | None, time: str, after: dict[str, str] | None) -> None:
    found = existing("s-a", annotations=before)
    assert with_trigger_time(found, time).metadata.annotations == after
    assert found.metadata.annotations == before


def free_name(of: Service, family: str, ports: tuple[EndpointPort, ...], taken: Container[str]) -> str:
    return slice_names.free_name(of.name, of.uid, family, ports, taken)


ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


@pytest.mark.parametrize("name", ["s", "a" * 57, "a" * 58, "a" * 63])
def test_shape_of_a_name_es_79(name: str) -> None:
    found = free_name(service(name=name), "IPv4", (HTTP,), ())
    assert re.fullmatch(f"[{ALPHABET}]{{5}}", found[-5:])
    assert found[:-5] == f"{name}-"[:58]
    assert len(found) <= 63


def test_a_name_is_the_same_again_and_skips_what_is_taken_d_3() -> None:
    taken: list[str] = []
    for _ in range(50):
        found = free_name(service(), "IPv4", (HTTP,), taken)
        assert free_name(service(), "IPv4", (HTTP,), frozenset(taken)) == found
        assert found not in taken
        taken.append(found)
    # Whatever is freed is used again, from the first position on.
    assert free_name(service(), "IPv4", (HTTP,), taken[1:]) == taken[0]
    assert free_name(service(), "IPv4", (HTTP,), [*taken[:7], *taken[8:]]) == taken[7]


def test_a_name_depends_on_uid_family_and_ports_d_3() -> None:
    of = service()
    other = EndpointPort("http", "TCP", 8081)
    found = [
        free_name(of, "IPv4", (HTTP,), ()),
        free_name(service(uid="other"), "IPv4", (HTTP,), ()),
        free_name(of, "IPv6", (HTTP,), ()),
        free_name(of, "IPv4", (other,), ()),
        free_name(of, "IPv4", (HTTP, other), ()),
        free_name(of, "IPv4", (), ()),
    ]
    assert len(set(found)) == len(found)


def test_names_are_pinned_d_3() -> None:
    """Another release must find the slices that the previous one created: a change here is a decision."""
    assert free_name(service(), "IPv4", (HTTP,), ()) == "s-2zkfw"
    assert free_name(HEADLESS, "IPv6", (), ()) == "s-kqjn7"


def test_names_of_a_plan_are_distinct_and_free_d_3() -> None:
    first = planned(pods=pods(9), limit=3)
    names = [each.name for each in created(first)]
    assert len(set(names)) == 3
    again = planned(pods=pods(9), limit=3, taken=names[:1])
    assert set(names[1:]) < {each.name for each in created(again)}
    assert names[0] not in {each.name for each in created(again)}


def test_managed_by_is_kcms_own_es_1() -> None:
    assert ENDPOINTSLICE_MANAGED_BY == "endpointslice-controller.k8s.io"
