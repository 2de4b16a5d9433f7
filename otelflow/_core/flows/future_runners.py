"""Where submitted tasks run in this process: at once, in threads, on the loop; and which runner a flow has."""

import concurrent.futures
import contextlib
import functools
import importlib
import os
import queue
import threading
import weakref
from collections.abc import Callable
from types import FunctionType
from typing import Any, Final

from otelflow._core.flows.future import Submitted
from otelflow._core.flows.future_session import Runner
from otelflow._core.process import forks
from otelflow._core.process.asyncio_loop import running_loop
from otelflow._core.process.process import State
from otelflow._core.text.hints import suggestion
from otelflow._core.text.safe_str import brief_repr, error_text, safe_str, type_name
from otelflow.errors import ConfigurationError, NotSubmittable

#: The words for runners, and the module of each that is not here: in it, ``new_runner`` makes one
WORDS: Final = {
    "threads": "",
    "inline": "",
    "processes": "otelflow.runners._processes",
    "dask": "otelflow.runners._dask",
    "ray": "otelflow.runners._ray",
}


class Inline:
    """Runs each task when it is submitted, before ``submit()`` returns."""

    window: Final = 1_000_000_000

    def start(self, call: Submitted, finished: Callable[[], None]) -> None:
        """Run *call*."""
        call.run()
        finished()

    def close(self) -> None:
        """There is nothing to let go of."""

    def abandon(self) -> bool:
        """Tell that what runs is left alone."""
        return False


class _Pool:
    """A pool of up to *most* threads, for which the end of the process does not wait: that is for who submits."""

    def __init__(self, most: int | None) -> None:
        self._most = most or min(32, (os.cpu_count() or 1) + 4)  # as many as the standard one has
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = forks.new_lock()
        self._idle = 0
        self._threads: list[threading.Thread] = []

    def submit(self, work: Callable[[], None]) -> None:
        """Let a thread do *work*. Raises RuntimeError when there is no thread, and none can begin."""
        with self._lock:  # also while a thread begins, which may submit at once: else there were more than *most*
            self._work.put(work)
            if self._idle:
                self._idle -= 1
                return
            if len(self._threads) >= self._most:
                return
            thread = threading.Thread(target=self._do, name=f"otelflow-task_{len(self._threads)}", daemon=True)
            try:
                self._threads.append(thread)
                thread.start()
            except BaseException as error:  # Ctrl-C, too: it may have begun, and be one more then
                if thread in self._threads:
                    self._threads.remove(thread)
                if not (isinstance(error, RuntimeError) and self._threads):
                    raise

    def _do(self) -> None:
        while True:
            work = self._next()
            if work is None:
                self._work.put(None)  # for the next one
                return
            work()
            del work  # it refers to all that the task was given

    def _next(self) -> Callable[[], None] | None:
        with contextlib.suppress(queue.Empty):
            return self._work.get_nowait()
        with self._lock:  # else what is put in this moment would count on this thread, which takes it, twice
            with contextlib.suppress(queue.Empty):
                return self._work.get_nowait()
            self._idle += 1
        return self._work.get()

    def close(self, *, waits: bool) -> None:
        """End the threads when they have done what there is; wait for that, if *waits*."""
        self._work.put(None)
        for thread in list(self._threads) if waits else ():
            thread.join()


class _BrokenExecutors(State):
    """Why executors of the user's take nothing any more; one of them may be that of several flows."""

    def reset(self) -> None:
        """Know of none."""
        self.errors: weakref.WeakKeyDictionary[Any, BaseException] = weakref.WeakKeyDictionary()


_broken: Final = _BrokenExecutors()


def note_end(executor: concurrent.futures.Executor, error: BaseException) -> None:
    """Know that *executor* has ended with *error*.

    It tells so with the lock held that its ``submit()`` takes: whoever is in that thread must not ask it.
    """
    with contextlib.suppress(TypeError):  # one that cannot be remembered
        _broken.errors[executor] = error


def note_cancelled(executor: concurrent.futures.Executor) -> None:
    """Know that *executor* was shut down, and has cancelled what it had not begun."""
    note_end(executor, concurrent.futures.CancelledError("what it had not begun was cancelled"))


def check_open(executor: concurrent.futures.Executor, task_name: str) -> None:
    """Raise NotSubmittable once *executor* has ended."""
    error = None
    with contextlib.suppress(TypeError):
        error = _broken.errors.get(executor)
    if error is None:
        return
    cure = "give the next run a new one"
    if not isinstance(error, concurrent.futures.BrokenExecutor):
        reason = f"the executor of its flow is shut down ({error_text(type_name(error), safe_str(error, 200))})"
        cure = f"shut it down when the flow has ended, and {cure}"
    else:
        reason = f"the executor of its flow has broken ({type_name(error)})"
        cure += ", or take task_runner='processes', where the others go on" if _is_of_processes(executor) else ""
    raise NotSubmittable(task_name, reason, cure) from error


def submit_to(executor: concurrent.futures.Executor, task_name: str, work: Callable[..., Any], *args: Any) -> Any:
    """Return the answer of *executor* that is to do *work*. Raises NotSubmittable once it has ended."""
    check_open(executor, task_name)
    try:
        return executor.submit(work, *args)
    except RuntimeError as error:
        # Another flow has broken it, or did so a moment ago; not one that finds no thread, as it may find one later.
        if isinstance(error, concurrent.futures.BrokenExecutor) or "shutdown" in str(error):
            note_end(executor, error)
            check_open(executor, task_name)
        raise


class Threads:
    """Runs tasks in the threads of *executor*, or of a pool of its own with *max_workers* threads."""

    window: Final = 1_000

    def __init__(self, executor: concurrent.futures.Executor | None = None, max_workers: int | None = None) -> None:
        #: That of the user's, of which other flows may have threads, too
        self.executor = executor
        self._pool = _Pool(max_workers)

    def start(self, call: Submitted, finished: Callable[[], None]) -> None:
        """Let a thread run *call*. Raises NotSubmittable once the executor has dropped one."""
        if self.executor is None:
            self._pool.submit(functools.partial(self._work, call, finished))
            return
        answer = submit_to(self.executor, call.future.task_name, self._work, call, finished)
        answer.add_done_callback(functools.partial(self._answered, self.executor, call, finished))

    def _answered(
        self, executor: concurrent.futures.Executor, call: Submitted, finished: Callable[[], None], answer: Any
    ) -> None:
        """End *call* if the executor has dropped it: it was shut down, or its threads cannot begin."""
        error = None if answer.cancelled() else answer.exception()
        if answer.cancelled():
            note_cancelled(executor)
            call.future.cancel()
            finished()
        elif isinstance(error, concurrent.futures.BrokenExecutor):
            note_end(executor, error)
            call.fail(error)
            finished()

    def _work(self, call: Submitted, finished: Callable[[], None]) -> None:
        try:
            call.run()
        finally:
            finished()

    def close(self) -> None:
        """End the threads of the pool, if it is ours."""
        self._pool.close(waits=True)

    def abandon(self) -> bool:
        """Tell that what runs is left alone."""
        self._pool.close(waits=False)
        return False


def start_on_loop(call: Any) -> None:
    """Run *call* on its loop, whichever thread this is."""
    if call.loop.is_closed():
        call.fail(RuntimeError("the event loop that was to run it is closed"))
        return

    def start() -> None:
        if call.future.cancelled():
            call.cancelled()
            return
        task = call.loop_task = call.loop.create_task(call.run_on_loop(), context=call.context)
        call.session.loop_tasks[task] = call.context
        task.add_done_callback(lambda task: call.session.loop_tasks.pop(task, None))

    if running_loop() is call.loop:
        start()
    else:
        call.loop.call_soon_threadsafe(start)


def cancel_on_loop(call: Any) -> None:
    """Stop *call*, which runs on its loop."""
    task = call.loop_task
    if task is None:  # it has just ended, in another thread
        return
    if running_loop() is call.loop:
        task.cancel()  # before its next step, which might be its last
        return
    with contextlib.suppress(RuntimeError):  # the loop is closed
        call.loop.call_soon_threadsafe(task.cancel)


def check_runner(owner: str, choice: Any) -> None:
    """Raise ConfigurationError if *choice* of *owner* is nothing that runs tasks."""
    if choice is None or (isinstance(choice, str) and choice in WORDS):
        return
    if isinstance(choice, str):
        cure = suggestion(choice, WORDS)
        raise ConfigurationError(f"{owner}: task_runner={choice!r:.80} is no runner{cure}")
    if isinstance(choice, type) and hasattr(choice, "new_runner"):
        raise ConfigurationError(f"{owner}: task_runner={choice.__name__} is a class: write {choice.__name__}()")
    is_decorated = isinstance(choice, FunctionType)  # which has a submit() of its own
    if is_decorated or not (hasattr(choice, "new_runner") or callable(getattr(choice, "submit", None))):
        words = ", ".join(WORDS)
        raise ConfigurationError(
            f"{owner}: task_runner must be one of {words}, a runner of otelflow.runners, an Executor of "
            f"concurrent.futures, or a Dask client, not {brief_repr(choice, 60)}"
        )


def new_runner(choice: Any) -> Runner:
    """Return the runner that *choice* asks for. Raises ConfigurationError."""
    check_runner("A flow", choice)
    if choice is None or choice == "threads":
        return Threads()
    if choice == "inline":
        return Inline()
    if hasattr(choice, "new_runner"):
        runner: Runner = choice.new_runner()
    elif isinstance(choice, str):
        runner = importlib.import_module(WORDS[choice]).new_runner()
    elif any(base.__module__.partition(".")[0] == "distributed" for base in type(choice).__mro__):  # a client of Dask's
        runner = importlib.import_module(WORDS["dask"]).new_runner(choice)
    elif _is_of_processes(choice):
        runner = importlib.import_module(WORDS["processes"]).new_runner(choice)
    else:
        runner = Threads(choice)
    return runner


def _is_of_processes(executor: Any) -> bool:
    """Tell whether *executor* runs things in other processes: that of ``concurrent.futures``, loky's, mpi4py's."""
    return any(base.__name__ in ("ProcessPoolExecutor", "MPIPoolExecutor") for base in type(executor).__mro__)
