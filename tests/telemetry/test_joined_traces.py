"""Our traces go on in the real API server: its span of a write is a child of ours, or linked to ours."""

import contextlib
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from e2e.cluster.fixtures import unavailable
from e2e.cluster.local import ControlPlane
from e2e.cluster.otlp import GrpcReceiver, HttpReceiver, ReceivedSpan
from e2e.cluster.product import USER, grant
from e2e.cluster.toolchain import BuildError
from tests.shell.sliceplane import GROUPS, running
from tests.shell.waiting import eventually
from tests.shell.world import ZONES, World, node

pytestmark = pytest.mark.server

# The groups whose traces the API server goes on with are this one and system:masters.
TRUSTED = "system:monitoring"
SLICE_WRITES = ("create EndpointSlice", "update EndpointSlice")


class Traced:
    """A control plane that traces, and where its spans and ours arrive."""

    def __init__(self, plane: ControlPlane, theirs: GrpcReceiver, ours: HttpReceiver) -> None:
        self.plane, self._theirs, self._ours = plane, theirs, ours

    def publish(self, *groups: str) -> str:
        """Sliceplane, as a member of `groups`, publishes one Pod of one Service; their namespace."""
        namespace = f"test-{uuid.uuid4().hex[:10]}"
        self.plane.client().create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        world = World(self.plane, namespace)
        every = f"--tracing-endpoint={self._ours.endpoint}", "--tracing-sampling-rate-per-million=1000000"

        def published() -> None:
            assert [world.numbers(family=family) for family in ("IPv4", "IPv6")] == [{0}, {0}]

        with running(self.plane, *every, kubeconfig=self.plane.kubeconfig(USER, (*GROUPS, *groups))):
            world.service()
            world.pod(0)
            eventually(published)
        return namespace

    def trace_of(self, namespace: str) -> list[ReceivedSpan]:
        """All our spans of the syncs of a namespace's slices."""
        syncs = {
            span.context.trace
            for span in self._ours.spans
            if span.attributes.get("sliceplane.namespace") == namespace
            and span.attributes["sliceplane.controller"] == "endpointslice-controller"
        }
        return [span for span in self._ours.spans if span.context.trace in syncs]

    def served(self, namespace: str) -> list[ReceivedSpan]:
        """The API server's spans of requests that write slices of a namespace."""
        path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        return [
            span
            for span in self._theirs.spans
            if span.attributes.get("url.path", "").startswith(path)
            and span.attributes.get("http.request.method") in ("POST", "PUT")
            and span.attributes.get("user_agent.original", "").startswith("sliceplane/")
        ]


@contextlib.contextmanager
def tracing(per_million: int, folder: Path) -> Iterator[Traced]:
    """A control plane whose API server begins so many traces of a million requests by itself."""
    configuration = folder / "tracing.yaml"
    with GrpcReceiver() as theirs, HttpReceiver() as ours:
        content = {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "TracingConfiguration",
            "endpoint": theirs.endpoint,
            "samplingRatePerMillion": per_million,
        }
        configuration.write_text(yaml.safe_dump(content))
        plane = ControlPlane(extra_apiserver_args=[f"--tracing-config-file={configuration}"])
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(plane)
            except BuildError as error:
                unavailable(error)
            grant(plane)
            plane.client().apply([node(zone) for zone in ZONES])
            yield Traced(plane, theirs, ours)


def writes(trace: Sequence[ReceivedSpan]) -> list[ReceivedSpan]:
    return [span for span in trace if span.name in SLICE_WRITES]


def check_is_one_tree(trace: Sequence[ReceivedSpan]) -> None:
    """Every span but the root of a sync is a part of that root, and no write is without a wait and a plan."""
    roots = {span.context.trace: span for span in trace if span.name == "sync"}
    for span in trace:
        root = roots[span.context.trace]
        assert span.parent == ("" if span is root else root.context.span), span
    for write in writes(trace):
        assert roots[write.context.trace].attributes["sliceplane.cause_object"]
        parts = {span.name for span in trace if span.context.trace == write.context.trace}
        assert {"sync", "queue", "reconcile"} <= parts


def test_span_of_the_api_server_is_a_child_of_our_write(tmp_path: Path) -> None:
    """Though the API server itself samples nothing, it goes on with what is sampled, for those it trusts, as we say."""
    with tracing(0, tmp_path) as traced:
        stranger = traced.publish()
        namespace = traced.publish(TRUSTED)
        ours = traced.trace_of(namespace)
        check_is_one_tree(ours)
        # One for each family at least.
        assert len(writes(ours)) >= 2

        def joined() -> None:
            served = {(span.context.trace, span.parent) for span in traced.served(namespace)}
            assert served == {(span.context.trace, span.context.span) for span in writes(ours)}

        eventually(joined)
        # What came before has been exported before.
        assert traced.served(stranger) == []


def test_span_of_the_api_server_is_linked_to_our_write_without_the_right_group(tmp_path: Path) -> None:
    """Everybody else, as every ServiceAccount, gets a trace of the API server's own, if it samples the request."""
    with tracing(1_000_000, tmp_path) as traced:
        namespace = traced.publish()
        ours = writes(traced.trace_of(namespace))
        assert len(ours) >= 2

        def linked() -> None:
            served = traced.served(namespace)
            assert {link for span in served for link in span.links} == {span.context for span in ours}

        eventually(linked)
        served = traced.served(namespace)
        assert {span.parent for span in served} == {""}
        assert {span.context.trace for span in served}.isdisjoint(span.context.trace for span in ours)
