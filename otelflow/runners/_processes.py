"""Tasks in processes of this machine: each process has its own pool of one, so that a killed one breaks no other."""

import concurrent.futures
import importlib.util
import multiprocessing
import os
from typing import Any, Final

from otelflow._core.process import clock, forks
from otelflow.errors import ConfigurationError
from otelflow.runners import _remote, _worker
from otelflow.runners._local import checked_workers


class Processes:
    """Runs tasks in up to *max_workers* processes, begun by *start_method*."""

    def __init__(self, max_workers: int | None = None, start_method: str | None = None) -> None:
        self._start_method = start_method
        self._window = max_workers or os.cpu_count() or 1
        self._lock = forks.new_lock()
        self._idle: list[concurrent.futures.Executor] = []
        self._all: list[concurrent.futures.Executor] = []

    @property
    def window(self) -> int:
        """As many calls as there are processes: those that wait can still be cancelled."""
        return self._window

    def start(self, call: Any, finished: _remote.Finished) -> None:
        """Send *call* to a process that is idle, or to a new one."""
        order = _remote.order_of(call)
        if not call.claim():
            finished()
            return
        with self._lock:
            pool = self._idle.pop() if self._idle else None
        if pool is None:
            pool = self._new_pool()
        started_ns = clock.time_ns()
        try:
            answer = pool.submit(_worker.run_order, order)
        except Exception as error:  # noqa: BLE001 a pool that has just broken; the call has begun for who asks
            self._drop(pool)
            _remote.lost(call, error, started_ns)
            finished()
            return
        answer.add_done_callback(lambda done: self._answered(call, finished, pool, done, started_ns))

    def _answered(self, call: Any, finished: _remote.Finished, pool: Any, answer: Any, started_ns: int) -> None:
        error = answer.exception()
        if error is None:
            with self._lock:
                self._idle.append(pool)
            _remote.arrived(call, answer.result())
        else:
            self._drop(pool)
            _remote.lost(call, error, started_ns)
        finished()

    def _new_pool(self) -> concurrent.futures.Executor:
        pool: concurrent.futures.Executor
        if self._start_method is None and importlib.util.find_spec("loky") is not None:
            from loky import ProcessPoolExecutor  # noqa: PLC0415 an extra

            pool = ProcessPoolExecutor(max_workers=1)
        else:
            context = multiprocessing.get_context(self._start_method or "spawn")
            pool = concurrent.futures.ProcessPoolExecutor(1, context)
        with self._lock:
            self._all.append(pool)
        return pool

    def _drop(self, pool: Any) -> None:
        with self._lock:
            self._all.remove(pool)
        pool.shutdown(wait=False)

    def close(self) -> None:
        """End the processes."""
        with self._lock:
            pools, self._all, self._idle = self._all, [], []
        for pool in pools:
            pool.shutdown()


class ProcessPoolTaskRunner:
    """Runs submitted tasks in processes of this machine: ``@flow(task_runner=ProcessPoolTaskRunner(max_workers=4))``.

    *max_workers* (int): how many; as many as there are processors unless given. *start_method* (``"spawn"``,
    ``"forkserver"`` or ``"fork"``): how they begin; that of ``loky`` where it is installed, or else ``"spawn"``. With
    ``pip install 'otelflow[processes]'`` functions travel that another process cannot import, such as lambdas.

    Raises ConfigurationError for what is none of that.

    >>> from otelflow import flow, task
    >>> from otelflow.runners import ProcessPoolTaskRunner
    >>> @flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
    ... def lengths(words):
    ...     return task(len).map(words).result()
    """

    def __init__(self, max_workers: int | None = None, start_method: str | None = None) -> None:
        self.max_workers = checked_workers(type(self).__name__, max_workers)
        methods = multiprocessing.get_all_start_methods()
        if start_method is not None and start_method not in methods:
            raise ConfigurationError(
                f"ProcessPoolTaskRunner: start_method must be one of {', '.join(methods)}, not {start_method!r}"
            )
        self.start_method = start_method

    def new_runner(self) -> Processes:
        """Return what runs the tasks of one flow run; a flow calls it."""
        return Processes(self.max_workers, self.start_method)


class Executor:
    """Runs tasks in the processes of an executor of the user's, who ends it."""

    window: Final = 64

    def __init__(self, executor: concurrent.futures.Executor) -> None:
        self._executor = executor

    def start(self, call: Any, finished: _remote.Finished) -> None:
        """Send *call* to the executor."""
        order = _remote.order_of(call)
        started_ns = clock.time_ns()
        answer = self._executor.submit(_worker.run_order, order)
        if call.claim():
            answer.add_done_callback(lambda done: self._answered(call, finished, done, started_ns))
        else:
            answer.cancel()
            finished()

    def _answered(self, call: Any, finished: _remote.Finished, answer: Any, started_ns: int) -> None:
        error = concurrent.futures.CancelledError() if answer.cancelled() else answer.exception()
        if error is None:
            _remote.arrived(call, answer.result())
        else:
            _remote.lost(call, error, started_ns)
        finished()

    def close(self) -> None:
        """It is not ours to end."""


def new_runner(executor: concurrent.futures.Executor | None = None) -> Processes | Executor:
    """Return the runner that the word ``processes`` stands for, or that of *executor*."""
    return Processes() if executor is None else Executor(executor)
