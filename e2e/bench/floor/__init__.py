"""The least that a Python process can do: no controller with this HTTP client takes less CPU, or starts sooner.

No selectors, no indexes, no queue, no metrics, and it gives up at the first error. What is above its CPU is the
controller; what is in it is Python's start, HTTP, TLS and JSON. Its latency is that of a full machine, as everybody's.
"""
