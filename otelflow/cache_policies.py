"""What a cached task goes by: ``@task(cache_policy=INPUTS + TASK_SOURCE)``; see docs/how-to/cache.md.

``INPUTS``: its arguments, without those that are injected. ``TASK_SOURCE``: the compiled code of its function.
``FLOW_PARAMETERS``: the arguments of the flow around it; outside of a flow nothing is cached. ``RUN_ID``: the run of
the flow around it, so that a value is not taken in another one. ``NO_CACHE``: nothing is cached, as by default.
They are combined by ``+``; ``INPUTS - "name"`` leaves an argument out. A task never gets the value of another one.
"""

from otelflow._core.policies.cache_keys import FLOW_PARAMETERS, INPUTS, NO_CACHE, RUN_ID, TASK_SOURCE, CachePolicy

__all__ = ["FLOW_PARAMETERS", "INPUTS", "NO_CACHE", "RUN_ID", "TASK_SOURCE", "CachePolicy"]
