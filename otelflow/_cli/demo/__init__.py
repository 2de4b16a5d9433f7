"""``otelflow demo``: the flow that it runs is in ``library.py``."""
