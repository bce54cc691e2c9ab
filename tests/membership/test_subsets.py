"""Subsets in canonical form: golden vectors, tables, laws; and fingerprints of subsets (EP-36 ... EP-41)."""

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from api.names import ENDPOINTS_MANAGED_BY_LABEL
from controllers.membership.ports import fnv1a_128
from controllers.membership.subsets import (
    _address_text,
    fingerprint,
    fingerprints,
    port_hash,
    remembered,
    repack,
    subset_hash,
)
from controllers.model.objects import EndpointAddress, EndpointSubset, SubsetPort, TargetRef
from controllers.model.wire import WireEndpoints, endpoints_from_wire
from tests.builders import existing_endpoints, pod, subset

H2C = "kubernetes.io/h2c"
P111, P222, P333 = (SubsetPort(port=number) for number in (111, 222, 333))


def ip(text: str, uid: str | None = None, **target: str) -> EndpointAddress:
    return EndpointAddress(ip=text, target_ref=None if uid is None else TargetRef(uid=uid, **target))


A4, A5, A6 = ip("1.2.3.4"), ip("1.2.3.5"), ip("1.2.3.6")
NOTHING = EndpointSubset()


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        (SubsetPort("", 8080, "TCP"), "b09ff368df0fc81442c7b7a3ab2dbca5"),
        (SubsetPort("", 8080, "UDP"), "59aa40b466adb81c6e00232f1f0ba361"),
        (SubsetPort("http", 80, "TCP"), "754b003f50f133a539c60d18cfb30a55"),
        (SubsetPort("https", 443, "TCP"), "a1d3cd184f85589179025a8360efcc75"),
        (SubsetPort("port0", 8080, "TCP"), "862194fe8857a76cf7d019569a3274e8"),
        (SubsetPort("port1", 8088, "TCP"), "78f99ce39195061215b01ce0b96f98b5"),
        (SubsetPort("web", 8080, "TCP", H2C), "6ce3b0cde5c8140af5d6d0e8025395f2"),
        (P111, "043501a17d568eb5bb2b9ac8b3953b2d"),
        (P222, "5af2526ca9ba75d6ba771b164cc66ddc"),
        (P333, "f26257f7f492d21e7c46f9786c6296af"),
    ],
    ids=str,
)
def test_port_hash_ep_38(port: SubsetPort, expected: str) -> None:
    assert port_hash(port) == expected


def test_address_hash_ep_38() -> None:
    assert fnv1a_128(f"(v1.EndpointAddress){_address_text(A4)}") == "90e05510708489dd5c40290713918e83"
    assert " NodeName:(*string) TargetRef:" in _address_text(replace(A4, node_name=""))


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (EndpointSubset((A4,), (), (P111,)), "0237c533f55a155477c022a0d520b958"),
        (EndpointSubset((), (A4,), (P222,)), "4f856b89ebd844d996ba7d33984c9ccd"),
        (EndpointSubset((ip("5.6.7.8"),), (), (P222,)), "675404f2094c9e8de1cc10e45dbacec1"),
        (EndpointSubset((A4,)), "d847665f363d652e8eefb5704ac6c6d5"),
        (
            EndpointSubset(
                (
                    EndpointAddress(
                        ip="1.2.3.4",
                        hostname="h",
                        node_name="node-1",
                        target_ref=TargetRef(kind="Pod", namespace="ns", name="pod0", uid="uid-0"),
                    ),
                ),
                (A4,),
                (SubsetPort("http", 80, "TCP"), SubsetPort("https", 443, "TCP")),
            ),
            "e6e8f3b306f670e5ed980c203764e9bb",
        ),
    ],
    ids=["ready", "not-ready", "other-address", "no-ports", "everything"],
)
def test_subset_hash_ep_38(of: EndpointSubset, expected: str) -> None:
    assert subset_hash(of) == expected


UID1, UID2 = ip("1.2.3.4", "uid-1"), ip("1.2.3.4", "uid-2")
FIRST, SECOND = ip("1.2.3.4", "uid", name="first"), ip("1.2.3.4", "uid", name="second")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(
            [EndpointSubset((FIRST,), (SECOND,), (P111,))], [EndpointSubset((), (FIRST,), (P111,))], id="EP-T43"
        ),
        pytest.param(
            [EndpointSubset((), (FIRST,), (P111,)), EndpointSubset((SECOND,), (), (P111,))],
            [EndpointSubset((), (FIRST,), (P111,))],
            id="EP-T43-in-two-subsets",
        ),
        pytest.param(
            [EndpointSubset((FIRST,), (), (P111,)), EndpointSubset((SECOND,), (), (P222,))],
            [EndpointSubset((FIRST,), (), (P111, P222))],
            id="EP-37-first-object-on-every-port",
        ),
        pytest.param(
            [EndpointSubset((), (A4,), (P222,)), EndpointSubset((A4,), (), (P111,))],
            [EndpointSubset((A4,), (), (P111,)), EndpointSubset((), (A4,), (P222,))],
            id="EP-T44",
        ),
        pytest.param(
            [EndpointSubset((UID2, A4, UID1), (), (P111,))],
            [EndpointSubset((A4, UID1, UID2), (), (P111,))],
            id="EP-T45",
        ),
        pytest.param([EndpointSubset((), (), (P111,)), NOTHING], [], id="EP-T46"),
        pytest.param(
            [
                EndpointSubset((A4,), (), (P111,)),
                EndpointSubset((A5,), (), (P222,)),
                EndpointSubset((A6,), (), (P111,)),
                EndpointSubset((A5,), (), (P333,)),
            ],
            # The hash of the second is the smaller one.
            [EndpointSubset((A5,), (), (P222, P333)), EndpointSubset((A4, A6), (), (P111,))],
            id="EP-T47",
        ),
        pytest.param(
            [EndpointSubset((ip("10.0.0.9"), ip("10.0.0.10")), (ip("9.0.0.9"), ip("9.0.0.10")), (P111,))],
            [EndpointSubset((ip("10.0.0.10"), ip("10.0.0.9")), (ip("9.0.0.10"), ip("9.0.0.9")), (P111,))],
            id="EP-38-as-strings",
        ),
        pytest.param(
            [EndpointSubset((A4,), (), (SubsetPort("port0", 8080, "TCP"), SubsetPort("port1", 8088, "TCP")))],
            [EndpointSubset((A4,), (), (SubsetPort("port1", 8088, "TCP"), SubsetPort("port0", 8080, "TCP")))],
            id="EP-38-ports-by-hash",
        ),
        pytest.param([EndpointSubset((A5,), (A4,))], [EndpointSubset((A5,), (A4,))], id="EP-36-sentinel"),
        pytest.param(
            [EndpointSubset((A4,)), EndpointSubset((), (A4,))], [EndpointSubset((), (A4,))], id="EP-36-one-sentinel"
        ),
        pytest.param(
            [EndpointSubset((A4,)), EndpointSubset((A4,), (), (P111,))],
            [EndpointSubset((A4,), (), (P111,))],
            id="EP-38-sentinel-leaves-no-port",
        ),
        pytest.param(
            [EndpointSubset((A4,), (), (SubsetPort(port=0),))], [EndpointSubset((A4,))], id="EP-38-no-port-number"
        ),
    ],
)
def test_repack(given: list[EndpointSubset], expected: list[EndpointSubset]) -> None:
    for from_api in (False, True):
        assert repack(given, from_api=from_api) == tuple(expected)


GRPC = SubsetPort("web", 111, "TCP", H2C)


@pytest.mark.parametrize(
    ("given", "inside", "read"),
    [
        pytest.param(
            [EndpointSubset((A4,), (), (GRPC,)), EndpointSubset((), (A4, A5), (GRPC,))],
            [EndpointSubset((), (A4, A5), (GRPC,))],
            [EndpointSubset((), (A4, A5), (GRPC,)), EndpointSubset((A4,), (), (GRPC,))],
            id="two-subsets",
        ),
        pytest.param(
            [EndpointSubset((A4,), (), (GRPC, GRPC))],
            [EndpointSubset((A4,), (), (GRPC,))],
            [EndpointSubset((A4,), (), (GRPC, GRPC))],
            id="one-subset",
        ),
    ],
)
def test_equal_ports_with_app_protocol_are_two_where_they_were_read_ep_36(
    given: list[EndpointSubset], inside: list[EndpointSubset], read: list[EndpointSubset]
) -> None:
    assert repack(given, from_api=False) == tuple(inside)
    assert set(repack(given, from_api=True)) == set(read)
    assert len(repack(given, from_api=True)) == len(read)


# One address object for each key, so that which one was seen first does not show (EP-37).
_ADDRESSES = [ip(text, uid) for text in ("10.0.0.9", "10.0.0.10", "fd00::1") for uid in (None, "uid-1", "uid-2")]
_PORTS = [P111, P222, SubsetPort("web", 111, "TCP"), GRPC]
_addresses = st.lists(st.sampled_from(_ADDRESSES), max_size=4).map(tuple)
_subsets = st.lists(
    st.builds(EndpointSubset, _addresses, _addresses, st.lists(st.sampled_from(_PORTS), max_size=3).map(tuple)),
    max_size=4,
)
law = settings(max_examples=150, deadline=None, database=None, print_blob=True)


def offers(subsets: Iterable[EndpointSubset]) -> dict[tuple[SubsetPort | None, str, str], bool]:
    """Who is offered on which port, and whether ready: what is not ready anywhere is not ready (EP-36, EP-37)."""
    found: dict[tuple[SubsetPort | None, str, str], bool] = {}
    for each in subsets:
        for port in each.ports or (None,):
            for ready, some in ((True, each.addresses), (False, each.not_ready_addresses)):
                for one in some:
                    key = (port, one.ip, one.target_ref.uid if one.target_ref else "")
                    found[key] = ready and found.get(key, True)
    return found


def without_sentinel(found: dict[tuple[SubsetPort | None, str, str], bool]) -> dict[Any, bool]:
    """Addresses without a port that others offer on a port, too, may be in that port's subset (EP-38)."""
    return {key: ready for key, ready in found.items() if key[0] is not None}


@given(_subsets)
@law
def test_nobody_is_lost_and_nobody_invented(given: list[EndpointSubset]) -> None:
    packed = repack(given, from_api=False)
    assert without_sentinel(offers(packed)) == without_sentinel(offers(given))
    assert {key[1:] for key in offers(packed)} == {key[1:] for key in offers(given)}


@given(_subsets, st.booleans())
@law
def test_canonical_form_ep_38(given: list[EndpointSubset], from_api: bool) -> None:
    packed = repack(given, from_api=from_api)
    assert len({(each.addresses, each.not_ready_addresses) for each in packed}) == len(packed)
    assert [subset_hash(each) for each in packed] == sorted(map(subset_hash, packed))
    for each in packed:
        assert each.addresses or each.not_ready_addresses
        assert [port_hash(port) for port in each.ports] == sorted(map(port_hash, each.ports))
        for some in (each.addresses, each.not_ready_addresses):
            order = [(one.ip, one.target_ref.uid if one.target_ref else "") for one in some]
            assert order == sorted(set(order))
    ports = [port for each in packed for port in each.ports if port != GRPC or not from_api]
    assert len(ports) == len(set(ports))


@given(_subsets, st.booleans())
@law
def test_repacking_again_changes_nothing(given: list[EndpointSubset], from_api: bool) -> None:
    packed = repack(given, from_api=from_api)
    assert repack(packed, from_api=from_api) == packed


@given(_subsets, st.booleans(), st.randoms(use_true_random=False))
@law
def test_order_does_not_show(given: list[EndpointSubset], from_api: bool, random: Random) -> None:
    def shuffled(some: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(random.sample(some, len(some)))

    other = [
        EndpointSubset(shuffled(each.addresses), shuffled(each.not_ready_addresses), shuffled(each.ports))
        for each in shuffled(tuple(given))
    ]
    assert repack(other, from_api=from_api) == repack(given, from_api=from_api)


def read(subsets: str) -> tuple[EndpointSubset, ...]:
    document = f'{{"metadata": {{"name": "s"}}, "subsets": {subsets}}}'
    return endpoints_from_wire(msgspec.json.decode(document, type=WireEndpoints)).subsets or ()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("null", "[]"),
        (
            '[{"addresses": [{"ip": "1.2.3.4"}], "ports": [{"port": 111}]}]',
            '[{"addresses": [{"ip": "1.2.3.4"}], "notReadyAddresses": null, "ports": [{"port": 111}]}]',
        ),
        ('[{"notReadyAddresses": [{"ip": "::1"}], "addresses": []}]', '[{"notReadyAddresses": [{"ip": "::1"}]}]'),
    ],
    ids=["subsets", "null", "empty"],
)
def test_fingerprint_takes_absent_null_and_empty_for_the_same_ep_41(one: str, other: str) -> None:
    assert fingerprint(read(one)) == fingerprint(read(other))


NODELESS = EndpointAddress(ip="1.2.3.4", target_ref=TargetRef(kind="Pod", namespace="ns", name="p", uid="u"))
CHANGES: list[Callable[[EndpointAddress], EndpointAddress]] = [
    lambda one: replace(one, ip="1.2.3.5"),
    lambda one: replace(one, hostname="h"),
    lambda one: replace(one, node_name=""),
    lambda one: replace(one, target_ref=None),
    *(
        lambda one, field=field: replace(one, target_ref=replace(one.target_ref, **{field: "x"}))
        for field in ("kind", "namespace", "name", "uid", "api_version", "field_path")
    ),
]


@pytest.mark.parametrize("ready", [True, False], ids=["ready", "not-ready"])
def test_fingerprint_tells_addresses_apart_but_not_the_version_of_their_target_ep_41(ready: bool) -> None:
    """`nodeName: ""` is not the same as none."""

    def of(one: EndpointAddress) -> bytes:
        both = (one, A5)
        return fingerprint([EndpointSubset(both, (), (P111,)) if ready else EndpointSubset((), both, (P111,))])

    versioned = replace(NODELESS.target_ref or TargetRef(), resource_version="9")
    assert of(replace(NODELESS, target_ref=versioned)) == of(NODELESS)
    assert len({of(each(NODELESS)) for each in CHANGES} | {of(NODELESS)}) == 1 + len(CHANGES)


def test_fingerprint_tells_subsets_apart_ep_41() -> None:
    different = [
        (),
        (EndpointSubset((A4, A5), (), (P111,)),),
        (EndpointSubset((A5, A4), (), (P111,)),),
        (EndpointSubset((A4,), (A5,), (P111,)),),
        (EndpointSubset((), (A4, A5), (P111,)),),
        (EndpointSubset((A4, A5)),),
        (EndpointSubset((A4, A5), (), (SubsetPort(port=111, app_protocol=""),)),),
        (EndpointSubset((A4,), (), (P111,)), EndpointSubset((A5,), (), (P111,))),
    ]
    assert len({fingerprint(each) for each in different}) == len(different)


def test_fingerprints_as_they_stand_and_in_canonical_order_ep_41() -> None:
    found = existing_endpoints(EndpointSubset((A5, A4), (), (P222, P111)))
    both = fingerprints(found)
    assert both.as_is == fingerprint(found.subsets or ())
    assert both.repacked == fingerprint([EndpointSubset((A4, A5), (), (P111, P222))]) != both.as_is


def test_subsets_of_managed_endpoints_are_remembered_as_fingerprints() -> None:
    found = existing_endpoints(subset([pod(2), pod(1)]), annotations={"theirs": "1"})
    kept = remembered(found)
    assert (kept.subsets, kept.fingerprints, kept.metadata) == (None, fingerprints(found), found.metadata)
    assert remembered(kept) == kept, "what was remembered can be written again with other metadata"


@pytest.mark.parametrize("labels", [None, {}, {ENDPOINTS_MANAGED_BY_LABEL: "me"}])
def test_endpoints_of_others_are_remembered_whole(labels: dict[str, str] | None) -> None:
    """They may be mirrored, which needs their addresses."""
    found = existing_endpoints(subset([pod(1)]), labels=labels)
    assert remembered(found) is found
