"""Tasks on the workers of a Dask cluster: one of the user's, or one of this machine for each flow run."""

import contextlib
from typing import Any, Final

from otelflow._core.process import clock
from otelflow.errors import MissingExtra
from otelflow.runners import _remote, _worker

_CURE: Final = "look whether the cluster is there: client.scheduler_info()"


class Dask:
    """Runs tasks by *client*, which is closed with *exits*."""

    def __init__(self, client: Any, exits: contextlib.ExitStack, *, is_own: bool) -> None:
        self._client = client
        self._exits = exits
        self._is_own = is_own
        try:
            threads: int = sum(client.nthreads().values())
        except Exception:  # noqa: BLE001 the cluster is gone, as the first call will find
            threads = 1
        self._window: int = max(20 * threads, 100)

    @property
    def window(self) -> int:
        """Enough that no thread of a worker waits for the next task."""
        return self._window

    def start(self, call: Any, finished: _remote.Finished) -> None:
        """Send *call* to the cluster."""
        order = _remote.order_of(call)
        if not call.claim():
            finished()
            return
        started_ns = clock.time_ns()
        try:
            answer = self._client.submit(_worker.run_order, order, pure=False)
        except Exception as error:  # noqa: BLE001 the cluster is gone
            _remote.lost(call, error, started_ns, _CURE)
            finished()
            return
        answer.add_done_callback(lambda done: self._answered(call, finished, done, started_ns))

    def _answered(self, call: Any, finished: _remote.Finished, answer: Any, started_ns: int) -> None:
        try:
            text = answer.result()
        except BaseException as error:  # noqa: BLE001 whatever it is, the worker or the cluster is lost
            _remote.lost(call, error, started_ns, _CURE)
        else:
            _remote.arrived(call, text)
        finally:
            finished()

    def close(self) -> None:
        """Let go of the client, if it is ours."""
        self._exits.close()

    def abandon(self) -> bool:
        """Let go of it, and tell whether that ends what runs."""
        self.close()
        return self._is_own


class DaskTaskRunner:
    """Runs submitted tasks on the workers of a Dask cluster; needs ``pip install 'otelflow[dask]'``.

    *address* (str): of the scheduler; without it each flow run has a cluster of its own on this machine, for which
    *cluster* (keywords of ``distributed.LocalCluster``) is, with one thread in each worker unless it says otherwise. A
    ``distributed.Client`` may stand in its place: ``@flow(task_runner=client)``.

    >>> from otelflow import flow, task
    >>> from otelflow.runners import DaskTaskRunner
    >>> @flow(task_runner=DaskTaskRunner(n_workers=2))
    ... def lengths(words):
    ...     return task(len).map(words).result()
    """

    def __init__(self, address: str | None = None, **cluster: Any) -> None:
        self.address = address
        self.cluster = cluster

    def new_runner(self) -> Dask:
        """Return what runs the tasks of one flow run; a flow calls it. Raises MissingExtra."""
        try:
            import dask.config  # noqa: PLC0415 an extra
            from distributed import Client, LocalCluster  # noqa: PLC0415
        except ImportError:
            raise MissingExtra("dask") from None
        new_client: Any = Client  # it has no types
        new_cluster: Any = LocalCluster
        exits = contextlib.ExitStack()
        if self.address is not None:
            return Dask(exits.enter_context(new_client(self.address, set_as_default=False)), exits, is_own=True)
        keywords = {"threads_per_worker": 1, "dashboard_address": None, **self.cluster}
        # Dask would run a task again whose worker was killed: who asks for that says retries=.
        with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
            cluster = exits.enter_context(new_cluster(**keywords))
        return Dask(exits.enter_context(new_client(cluster, set_as_default=False)), exits, is_own=True)


def new_runner(client: Any = None) -> Dask:
    """Return the runner that the word ``dask`` stands for, or that of *client*, which stays the user's."""
    return DaskTaskRunner().new_runner() if client is None else Dask(client, contextlib.ExitStack(), is_own=False)
