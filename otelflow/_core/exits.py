"""What becomes of open runs when the process ends or forks. Nothing here costs a run anything."""

import atexit
import gc
import os
import time


from otelflow._core import attributes, engine, printing
from otelflow._core.context import Run
from otelflow._core.results import SUCCESS, Outcome

_CANCELLED = Outcome(attributes.CANCELLATION)


def watch() -> None:
    """End open runs at exit, before the provider that was made last shuts down; let a forked child leave them alone."""
    atexit.unregister(end_open_runs)
    atexit.register(end_open_runs)
    if not _Fork.is_watched:
        _Fork.is_watched = True
        # Not on Windows, where nothing forks
        getattr(os, "register_at_fork", lambda **_: None)(after_in_child=_forked)


class _Fork:
    is_watched = False


def end_open_runs() -> None:
    """End each run that is still open, innermost first: it will not get any further.

    A generator that waits for its consumer was closed early; what a daemon thread or a forgotten coroutine was doing
    is cancelled. They are found among all objects, so that nobody has to keep a list of them.
    """
    if printing.is_any_run_open():
        runs = [it for it in gc.get_objects() if isinstance(it, Run) and it.is_open and not it.is_closed]
        for run in sorted(reversed(runs), key=_started, reverse=True):
            if run.is_generator() and not run.is_current:
                engine.close_early(run)
            else:
                engine.close_run(run, _CANCELLED)


def _started(run: Run) -> int:
    return run.started_ns


def _forked() -> None:
    """In a forked child, what was open belongs to the parent, which ends it."""
    engine.Inherited.until = time.perf_counter()
