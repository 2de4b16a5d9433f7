"""Where submitted tasks run: ``@flow(task_runner=…)`` takes one of these, or a word for one.

| word | runner | where |
|---|---|---|
| ``"threads"`` | ``ThreadPoolTaskRunner`` | in threads, the default; coroutines of async flows on their loop |
| ``"inline"`` | ``InlineTaskRunner`` | at once, one after the other |
| ``"processes"`` | ``ProcessPoolTaskRunner`` | in processes of this machine |
| ``"dask"`` | ``DaskTaskRunner`` | on the workers of a Dask cluster |
| ``"ray"`` | ``RayTaskRunner`` | on a Ray cluster |
"""

from otelflow.runners._dask import DaskTaskRunner
from otelflow.runners._local import InlineTaskRunner, ThreadPoolTaskRunner
from otelflow.runners._processes import ProcessPoolTaskRunner
from otelflow.runners._ray import RayTaskRunner

__all__ = ["DaskTaskRunner", "InlineTaskRunner", "ProcessPoolTaskRunner", "RayTaskRunner", "ThreadPoolTaskRunner"]
