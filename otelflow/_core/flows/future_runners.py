"""Where submitted tasks run in this process: at once, in threads, on the loop; and which runner a flow has."""

import concurrent.futures
import contextlib
import importlib
from collections.abc import Callable
from typing import Any, Final

from otelflow._core.flows.future import Submitted, running_loop
from otelflow._core.flows.future_session import Runner
from otelflow._core.text.hints import suggestion
from otelflow._core.text.safe_str import brief_repr
from otelflow.errors import ConfigurationError

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


class Threads:
    """Runs tasks in the threads of *executor*, or of a pool of its own with *max_workers* threads."""

    window: Final = 1_000

    def __init__(self, executor: concurrent.futures.Executor | None = None, max_workers: int | None = None) -> None:
        self._is_own = executor is None
        self._executor = executor or concurrent.futures.ThreadPoolExecutor(max_workers, "otelflow-task")

    def start(self, call: Submitted, finished: Callable[[], None]) -> None:
        """Let a thread run *call*."""
        self._executor.submit(self._work, call, finished)

    def _work(self, call: Submitted, finished: Callable[[], None]) -> None:
        try:
            call.run()
        finally:
            finished()

    def close(self) -> None:
        """End the threads of the pool, if it is ours."""
        if self._is_own:
            self._executor.shutdown()


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
        call.session.loop_tasks.add(task)
        task.add_done_callback(call.session.loop_tasks.discard)

    if running_loop() is call.loop:
        start()
    else:
        call.loop.call_soon_threadsafe(start)


def cancel_on_loop(call: Any) -> None:
    """Stop *call*, which runs on its loop."""
    with contextlib.suppress(RuntimeError):  # the loop is closed
        call.loop.call_soon_threadsafe(call.loop_task.cancel)


def check_runner(owner: str, choice: Any) -> None:
    """Raise ConfigurationError if *choice* of *owner* is nothing that runs tasks."""
    if choice is None or (isinstance(choice, str) and choice in WORDS):
        return
    if isinstance(choice, str):
        cure = suggestion(choice, WORDS)
        raise ConfigurationError(f"{owner}: task_runner={choice!r:.80} is no runner{cure}")
    if not (hasattr(choice, "new_runner") or callable(getattr(choice, "submit", None))):
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
    elif type(choice).__module__.partition(".")[0] == "distributed":  # a client of Dask's
        runner = importlib.import_module(WORDS["dask"]).new_runner(choice)
    elif _is_of_processes(choice):
        runner = importlib.import_module(WORDS["processes"]).new_runner(choice)
    else:
        runner = Threads(choice)
    return runner


def _is_of_processes(executor: Any) -> bool:
    """Tell whether *executor* runs things in other processes: that of ``concurrent.futures``, loky's, mpi4py's."""
    return any(base.__name__ in ("ProcessPoolExecutor", "MPIPoolExecutor") for base in type(executor).__mro__)
