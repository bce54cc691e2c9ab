"""Instead of running: what would be run."""

import pytest

from api.config import Configuration
from controllers import app


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Configuration]:
    """What would be run."""
    found: list[Configuration] = []
    monkeypatch.setattr(app, "run", found.append)
    monkeypatch.setattr("controllers.telemetry.logs.configure", lambda **_: None)
    return found
