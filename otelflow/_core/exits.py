"""What becomes of open runs when the process ends or forks; a run itself pays nothing for it."""

import atexit
import gc
import os
import time
from typing import Final

from otelflow._core import attributes, bounded, engine, events, ledger, printing, registry, task, watching
from otelflow._core.context import Run
from otelflow._core.results import Outcome
from otelflow._core.spec import Kind

_CANCELLED: Final = Outcome(attributes.CANCELLATION)


class _Fork:
    is_watched = False


def watch() -> None:
    """End open runs at exit, before the provider in use shuts down; leave them alone in a forked child.

    Exit functions are called in reverse order: this is to be called again when the provider is another one.
    """
    atexit.unregister(end_open_runs)
    atexit.register(end_open_runs)
    if not _Fork.is_watched and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forked)
    _Fork.is_watched = True


def end_open_runs() -> None:
    """End each run that is still open, innermost first: it will not get any further.

    They are found among all objects, so that nobody has to keep a list of them.
    """
    if printing.is_any_run_open():
        # Not isinstance(): it asks objects for their __class__, which lazy ones and dead proxies do not take well.
        found = [it for it in gc.get_objects() if issubclass(type(it), Run)]
        runs = [run for run in found if run.is_open and not run.is_closed]
        for run in sorted(runs, key=lambda run: run.clock, reverse=True):
            if _waits_for_its_consumer(run):
                engine.close_early(run)
            else:
                engine.close_run(run, _CANCELLED)


def _waits_for_its_consumer(run: Run) -> bool:
    is_generator = getattr(run, "spec").kind in (Kind.GENERATOR, Kind.ASYNC_GENERATOR)  # noqa: B009 of each subclass
    return is_generator and not run.is_current


def _forked() -> None:
    """In a forked child: what was open belongs to the parent, which ends it; no lock is held by a lost thread."""
    engine.Inherited.until = time.perf_counter()
    locks = (
        *(bounded._lock, ledger._lock, events._lock, printing._Wrapper.lock),
        *(registry._lock, task._counting, watching._lock),
    )
    for lock in locks:
        lock._at_fork_reinit()  # type: ignore[attr-defined]
