"""Kubernetes' own end-to-end tests, against KCM and against Sliceplane."""
