"""A synthetic API server: a Kubernetes cluster far larger than a machine can hold, as one controller sees it."""
