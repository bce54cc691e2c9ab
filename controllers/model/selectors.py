"""Label selectors of Services: every pair must be present, exactly (ES-27)."""

from controllers.model.objects import Labels


def matches(selector: Labels | None, labels: Labels) -> bool:
    """Whether a Service with this selector selects Pods with these labels; no selector selects nothing (ES-35)."""
    return selector is not None and selector.items() <= labels.items()
