"""Which labels a Service selects (ES-27, ES-35)."""

import pytest

from controllers.model.objects import Labels
from controllers.model.selectors import matches


@pytest.mark.parametrize(
    ("selector", "labels", "expected"),
    [
        pytest.param({"a": "1"}, {"a": "1"}, True, id="equal"),
        pytest.param({"a": "1"}, {"a": "1", "b": "2"}, True, id="more-labels"),
        pytest.param({"a": "1", "b": "2"}, {"a": "1"}, False, id="pair-missing"),
        pytest.param({"a": "1"}, {"a": "2"}, False, id="other-value"),
        pytest.param({"a": ""}, {}, False, id="empty-value-is-not-absent"),
        pytest.param(None, {"a": "1"}, False, id="ES-35-no-selector"),
    ],
)
def test_matches(selector: dict[str, str] | None, labels: dict[str, str], expected: bool) -> None:
    assert matches(None if selector is None else Labels(selector), Labels(labels)) is expected


def test_labels_are_hashed_by_content_not_by_order() -> None:
    assert hash(Labels(a="1", b="2")) == hash(Labels(b="2", a="1"))
    assert Labels(a="1", b="2") == Labels(b="2", a="1")
    assert hash(Labels(a="1")) != hash(Labels(a="2"))
