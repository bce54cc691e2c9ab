"""A local control plane, three zones of nodes, Services under change, and Sliceplane at work on them."""
