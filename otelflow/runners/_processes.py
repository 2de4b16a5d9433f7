"""Tasks in processes of this machine: each process has its own pool of one, so that a killed one breaks no other."""

import concurrent.futures
import contextlib
import importlib.util
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any, Final

from otelflow._core.flows.future_runners import check_open, note_cancelled, note_end, submit_to
from otelflow._core.process import clock, forks
from otelflow.errors import ConfigurationError, NotSubmittable
from otelflow.runners import _remote, _worker
from otelflow.runners._local import checked_workers

_WINDOW: Final = 64
_NO_PROCESS: Final = (
    "look for a lack of memory, of processes or of room in /dev/shm; where no process can begin, as in AWS Lambda, "
    "take task_runner='threads'"
)


class Processes:
    """Runs tasks in up to *max_workers* processes, begun by *start_method*."""

    def __init__(self, max_workers: int | None = None, start_method: str | None = None) -> None:
        self._start_method = start_method
        self._window = max_workers or os.cpu_count() or 1
        self._lock = forks.new_lock()
        self._idle: list[concurrent.futures.Executor] = []
        self._all: list[concurrent.futures.Executor] = []
        self._is_abandoned = False

    @property
    def window(self) -> int:
        """As many calls as there are processes: those that wait can still be cancelled."""
        return self._window

    def start(self, call: Any, finished: _remote.Finished) -> None:
        """Send *call* to a process that is idle, or to a new one."""
        if not threading.main_thread().is_alive():
            reason = "Python begins no process any more, since the main thread has ended"
            raise NotSubmittable(call.definition.name, reason, "let the main thread join() that of the flow")
        order = _remote.order_of(call)
        if not call.claim():
            finished()
            return
        started_ns = clock.time_ns()
        try:
            pool, answer = self._send(order)
        except Exception as error:  # noqa: BLE001 a process cannot begin; the call has begun for who asks
            _remote.end_lost_call(call, error, started_ns, _NO_PROCESS)
            finished()
            return
        answer.add_done_callback(lambda done: self._answered(call, finished, pool, done, started_ns))

    def _send(self, order: bytes) -> tuple[concurrent.futures.Executor, concurrent.futures.Future[bytes]]:
        """Hand *order* to a process that is idle, or to a new one."""
        while True:
            with self._lock:
                idle = self._idle.pop() if self._idle else None
            pool = idle or self._new_pool()
            try:
                with _interrupts_blocked():
                    return pool, pool.submit(_worker.run_order_of_pool, order)
            except Exception as error:
                self._drop(pool)
                # Killed while nothing ran there: no task is lost with it.
                if idle is None or not isinstance(error, concurrent.futures.BrokenExecutor):
                    raise

    def _answered(self, call: Any, finished: _remote.Finished, pool: Any, answer: Any, started_ns: int) -> None:
        error = answer.exception()
        if error is None:
            with self._lock:
                self._idle.append(pool)
            _remote.take_report(call, answer.result())
        else:
            # Python 3.13 tells that one is broken with the lock held that shutdown() takes, and its end as an object.
            if not isinstance(error, concurrent.futures.BrokenExecutor):
                self._drop(pool)
            _remote.end_lost_call(call, error, started_ns)
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
            if self._is_abandoned:
                raise concurrent.futures.CancelledError
            self._all.append(pool)
        return pool

    def _drop(self, pool: Any) -> None:
        with self._lock:
            if pool not in self._all:
                return
            self._all.remove(pool)
        pool.shutdown(wait=False)

    def close(self) -> None:
        """End the processes."""
        with self._lock:
            pools, self._all, self._idle = self._all, [], []
        for pool in pools:
            pool.shutdown()

    def abandon(self) -> bool:
        """Kill the processes, and tell that this ends what runs."""
        with self._lock:
            self._is_abandoned = True
            pools, self._all, self._idle = self._all, [], []
        for pool in pools:
            _kill(pool)
        return True


def _kill(pool: Any) -> None:
    if type(pool).__module__.partition(".")[0] == "loky":
        pool.shutdown(wait=False, kill_workers=True)
        return
    for process in list((pool._processes or {}).values()):  # noqa: SLF001 it has kill_workers() from Python 3.14 on
        process.kill()
    try:
        # It lives until its own thread has ended: Python 3.12 would let that wait for a lock that it holds, for ever.
        threading.Thread(target=pool.shutdown, name="otelflow-processes-end", daemon=True).start()
    except RuntimeError:  # there is none to be had
        pool.shutdown(wait=False)


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Let a process that begins inside hear of Ctrl-C only once its task has begun: before, it would crash."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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

    def __init__(self, executor: concurrent.futures.Executor) -> None:
        self._executor = executor
        # Enough that no process waits for the next task; those of the standard library and of loky tell how many.
        self._window: int = max(_WINDOW, 2 * (getattr(executor, "_max_workers", 0) or 0))
        self._answers: set[concurrent.futures.Future[bytes]] = set()

    @property
    def window(self) -> int:
        """How many it has at most: what it has not begun of them can be taken back."""
        return self._window

    def start(self, call: Any, finished: _remote.Finished) -> None:
        """Send *call* to the executor. Raises NotSubmittable once that has broken."""
        check_open(self._executor, call.definition.name)  # before the order is made, which may be large
        order = _remote.order_of(call)
        started_ns = clock.time_ns()
        answer = submit_to(self._executor, call.definition.name, _worker.run_order, order)
        if call.claim():
            call.cancel_sent = answer.cancel
            self._answers.add(answer)
            answer.add_done_callback(lambda done: self._answered(call, finished, done, started_ns))
        else:
            answer.cancel()
            finished()

    def _answered(self, call: Any, finished: _remote.Finished, answer: Any, started_ns: int) -> None:
        self._answers.discard(answer)
        is_taken_back = answer.cancelled() and call.cancel_sent is None
        error = None if answer.cancelled() else answer.exception()
        if is_taken_back:
            pass  # who has done so, has told
        elif answer.cancelled():
            if not call.session.is_given_up:
                note_cancelled(self._executor)
            call.taken_back()
        elif error is None:
            _remote.take_report(call, answer.result())
        else:
            if isinstance(error, concurrent.futures.BrokenExecutor):
                note_end(self._executor, error)
            _remote.end_lost_call(call, error, started_ns)
        finished()

    def close(self) -> None:
        """It is not ours to end."""

    def abandon(self) -> bool:
        """Cancel what has not begun, and tell that what runs is left alone."""
        for answer in list(self._answers):
            answer.cancel()
        return False


def new_runner(executor: concurrent.futures.Executor | None = None) -> Processes | Executor:
    """Return the runner that the word ``processes`` stands for, or that of *executor*."""
    return Processes() if executor is None else Executor(executor)
