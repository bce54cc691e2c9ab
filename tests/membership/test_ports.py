"""Ports of an endpoint and their order: the golden vectors of section 15, and target resolution (ES-47 ... ES-51)."""

import pytest

from controllers.membership.ports import Resolver, fnv1a_128, group_key, port_hash
from controllers.model.objects import ContainerPort, EndpointPort, ServicePort
from tests.builders import pod, service

H2C = "kubernetes.io/h2c"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "6c62272e07bb014262b821756295c58d"),
        ("a", "d228cb696f1a8caf78912b704e4a8964"),
        ("foobar", "343e1662793c64bf6f0d3597ba446f18"),
    ],
)
def test_fnv_es_138(text: str, expected: str) -> None:
    assert fnv1a_128(text) == expected


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        (EndpointPort("http", "TCP", 80), "b6c4d325122a5ba6f795b0bbffcebb6f"),
        (EndpointPort("https", "TCP", 443), "50852f610b5fbbf5129025d35e502185"),
        (EndpointPort("", "TCP", 8080), "3b28a02dcead55ad0b93f0014e194ac7"),
        (EndpointPort("dns", "UDP", 53), "1caf216365b57b5d2659d4ba9f662580"),
        (EndpointPort("dns-tcp", "TCP", 53), "8fa5f9e263f7f66112d31fc2ebea1e2a"),
        (EndpointPort("metrics", "TCP", 9153), "f17bf63bdbb003d0f2f8e0b73efa3324"),
        (EndpointPort("web", "TCP", 8080, H2C), "f71798ee49019071bf586bede189da8c"),
        (EndpointPort(None, None, 80, None), "863fb5d1e1567ec59035b2ed998046d8"),
    ],
    ids=lambda value: value.name or "no-name" if isinstance(value, EndpointPort) else "",
)
def test_port_hash_es_139(port: EndpointPort, expected: str) -> None:
    assert port_hash(port) == expected


def _list_key(ports: tuple[EndpointPort, ...]) -> str:
    """The list key of ES-140, which only pins the order here: the core compares the ports themselves."""

    def text(value: object) -> str:
        return "<nil>" if value is None else str(value)

    dump = " ".join(
        f"{{Name:(*string){text(port.name)} Protocol:(*v1.Protocol){text(port.protocol)} "
        f"Port:(*int32){text(port.port)} AppProtocol:(*string){text(port.app_protocol)}}}"
        for port in ports
    )
    return fnv1a_128(f"([]v1.EndpointPort)[{dump}]")


@pytest.mark.parametrize(
    ("ports", "written", "list_key"),
    [
        pytest.param([], [], "b823fa277840572f948b7ebdb09f7a1d", id="none"),
        pytest.param(
            [EndpointPort("http", "TCP", 80), EndpointPort("https", "TCP", 443)],
            ["https", "http"],
            "c82e3286db58c28adf997223e60089d3",
            id="ES-T53-http-https",
        ),
        pytest.param(
            [EndpointPort("dns", "UDP", 53), EndpointPort("dns-tcp", "TCP", 53), EndpointPort("metrics", "TCP", 9153)],
            ["dns", "dns-tcp", "metrics"],
            "e231369104e18d8f83e2a3cdd1bb108a",
            id="dns",
        ),
        pytest.param(
            [
                EndpointPort("tcp-example", "TCP", 80),
                EndpointPort("udp-example", "UDP", 161),
                EndpointPort("sctp-example", "SCTP", 3456),
            ],
            ["udp-example", "tcp-example", "sctp-example"],
            "f5ebada0ff5e4e36605c05e8976a5343",
            id="three-protocols",
        ),
        pytest.param(
            [EndpointPort("a", "TCP", 1), EndpointPort("b", "TCP", 1), EndpointPort("web", "TCP", 8080, H2C)],
            ["b", "a", "web"],
            "4bce1f7df0a1a419a75a536ba64115c9",
            id="app-protocol",
        ),
        pytest.param(
            [EndpointPort("grpc", "TCP", 9000, "grpc"), EndpointPort("http", "TCP", 8080, "http")],
            ["http", "grpc"],
            "2d31d13c15864cc36b5a5d875692a528",
            id="grpc",
        ),
        pytest.param(
            [EndpointPort("http", "TCP", 8080), EndpointPort("metrics", "TCP", 9090)],
            ["http", "metrics"],
            "a0eae60c0fe06aff32022a071c309340",
            id="http-metrics",
        ),
    ],
)
def test_written_order_es_141(ports: list[EndpointPort], written: list[str], list_key: str) -> None:
    key = group_key(ports)
    assert [port.name for port in key] == written
    assert group_key(reversed(ports)) == key
    assert _list_key(key) == list_key


WEB = ServicePort("", "TCP", "web")
NUMBERS = ServicePort("n", "TCP", 9000, "grpc")


@pytest.mark.parametrize(
    ("wanted", "has", "expected"),
    [
        pytest.param((), (), (), id="ES-48-no-ports"),
        pytest.param((NUMBERS,), (), (EndpointPort("n", "TCP", 9000, "grpc"),), id="ES-49-number-unverified"),
        pytest.param((WEB,), (ContainerPort("web", "TCP", 81),), (EndpointPort("", "TCP", 81),), id="ES-47-no-name"),
        pytest.param(
            (WEB,),
            (ContainerPort("web", "TCP", 81), ContainerPort("web", "TCP", 82)),
            (EndpointPort("", "TCP", 81),),
            id="ES-T49-first-wins",
        ),
        pytest.param((WEB,), (ContainerPort("web", "UDP", 81),), (), id="ES-T50-other-protocol"),
        pytest.param(
            (WEB,),
            (ContainerPort("web", "UDP", 81), ContainerPort("web", "TCP", 82)),
            (EndpointPort("", "TCP", 82),),
            id="ES-49-protocol-decides",
        ),
        pytest.param((WEB,), (ContainerPort("WEB", "TCP", 81),), (), id="ES-T47-not-there"),
        pytest.param((WEB, NUMBERS), (), (EndpointPort("n", "TCP", 9000, "grpc"),), id="ES-47-one-dropped"),
        pytest.param((ServicePort("", "TCP", "8080"),), (), (), id="ES-49-digits-are-a-name"),
    ],
)
def test_resolution(
    wanted: tuple[ServicePort, ...], has: tuple[ContainerPort, ...], expected: tuple[EndpointPort, ...]
) -> None:
    assert Resolver(service(ports=wanted)).group(pod(ports=has)) == expected


def test_one_resolver_answers_for_different_pods() -> None:
    resolver = Resolver(service(ports=(WEB,)))
    numbers = [81, 82, 81]
    groups = [resolver.group(pod(ports=(ContainerPort("web", "TCP", number),))) for number in numbers]
    assert groups == [(EndpointPort("", "TCP", number),) for number in numbers]
