"""End-to-end: user stories, the control plane they run on, and the benchmark."""
