"""All that the controllers know of the cluster."""

from controllers.runtime.store import NodeStore, PodStore, ServiceStore
from controllers.runtime.written_store import EndpointsStore, SliceStore


class Stores:
    """One store for each kind; those that no controller asks for stay empty."""

    def __init__(self) -> None:
        self.pods = PodStore()
        self.services = ServiceStore()
        self.nodes = NodeStore()
        self.slices = SliceStore()
        self.endpoints = EndpointsStore()

    def unsubscribe_all(self) -> None:
        """The controllers of a term have ended; what is known stays known."""
        for store in (self.pods, self.services, self.nodes, self.slices, self.endpoints):
            store.unsubscribe_all()
