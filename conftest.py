"""Makes the control plane's fixtures known to every test."""

pytest_plugins = ["e2e.cluster.fixtures"]
