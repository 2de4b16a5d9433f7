"""Who is told about runs: the one list of observers."""

import threading
from collections.abc import Callable
from typing import Final, NamedTuple

from otelflow._core.process import forks, losses
from otelflow._core.process.process import State
from otelflow._core.runs.run import Entry, Run
from otelflow._core.text.safe_str import comes_from_outside


class LostRun(NamedTuple):
    """A run that was open when its process was lost, as this process has told: *duration* until the last sign of life.

    *started* are seconds since 1970; *service* is that of the process that was lost: its namespace, and its name.
    """

    flow_name: str
    task_name: str | None
    trace_id: int
    span_id: int
    started: float
    duration: float
    service: tuple[str, str] = ("", "")


class Observer:
    """Is told of every run once, at any sampling ratio, on the thread of the run; override what is of interest.

    It must be quick. One that raises is counted, and does not keep the others from being told.
    """

    def run_started(self, run: Run) -> None:
        """*run* is open, and its span with it."""

    def run_ended(self, run: Run) -> None:
        """*run* has ended, and its span with it: ``run.ending`` and ``run.duration`` say how, and after what time."""

    def entry_added(self, run: Run, entry: Entry) -> None:
        """A message, an artifact or a result was added to *run*, which may have ended since."""

    def lifecycle_logged(self, run: Run, entry: Entry) -> None:
        """The log has a line about *run* itself, which its span says by being there."""

    def run_lost(self, run: LostRun) -> None:
        """This process has reported *run*, which another process has lost; called once, on a thread of a spool."""


class _Observers(State):
    """The observers, and for each method those that override it, found out once when the list changes."""

    built_in: tuple[Observer, ...] = ()
    observers: tuple[Observer, ...]
    started: tuple[Callable[[Run], None], ...]
    ended: tuple[Callable[[Run], None], ...]
    entries: tuple[Callable[[Run, Entry], None], ...]
    lifecycle: tuple[Callable[[Run, Entry], None], ...]
    lost: tuple[Callable[[LostRun], None], ...]

    def __init__(self) -> None:
        super().__init__()
        self.lock = forks.new_lock()

    def reset(self) -> None:
        """Tell only otelflow's own observers, which were added at import."""
        self.use(self.built_in)

    def use(self, observers: tuple[Observer, ...]) -> None:
        """Tell *observers* alone."""
        self.observers = observers
        self.started = tuple(o.run_started for o in observers if _overrides(o, "run_started"))
        self.ended = tuple(o.run_ended for o in observers if _overrides(o, "run_ended"))
        self.entries = tuple(o.entry_added for o in observers if _overrides(o, "entry_added"))
        self.lifecycle = tuple(o.lifecycle_logged for o in observers if _overrides(o, "lifecycle_logged"))
        self.lost = tuple(o.run_lost for o in observers if _overrides(o, "run_lost"))


def _overrides(observer: Observer, method: str) -> bool:
    return getattr(type(observer), method) is not getattr(Observer, method)


observed: Final = _Observers()


def always_add(observer: Observer) -> None:
    """Tell *observer* of every run of every process; for otelflow's own observers, at import."""
    observed.built_in = (*observed.built_in, observer)
    observed.use((*observed.observers, observer))


def add_observer(observer: Observer) -> None:
    """Tell *observer* of every run from now on; adding it twice changes nothing."""
    with observed.lock:
        if not any(present is observer for present in observed.observers):
            observed.use((*observed.observers, observer))


def remove_observer(observer: Observer) -> None:
    """Tell *observer* nothing more; it may be one that was never added."""
    with observed.lock:
        observed.use(tuple(present for present in observed.observers if present is not observer))


def tell_entry(run: Run, entry: Entry) -> None:
    """Tell every observer that *entry* was added to *run*."""
    tell(observed.entries, run, entry)


def tell_lifecycle(run: Run, entry: Entry) -> None:
    """Tell every observer of a line about *run* itself."""
    tell(observed.lifecycle, run, entry)


def tell_lost(run: LostRun) -> None:
    """Tell every observer of *run*, whose process was lost."""
    tell(observed.lost, run)


def tell(methods: tuple[Callable[..., None], ...], run: Run | LostRun, entry: Entry | None = None) -> None:
    """Call *methods* of observers, such as ``observed.started``, with *run*, and with *entry* if there is one."""
    for method in methods:
        try:
            if entry is None:
                method(run)
            else:
                method(run, entry)
        except Exception as error:  # an observer must not break the run
            if comes_from_outside(error):  # it only fell into this one
                tell(methods[methods.index(method) + 1 :], run, entry)
                raise
            losses.listener_failed(type(getattr(method, "__self__", method)).__name__, error)


class _Calling(threading.local):
    """The listeners that are being called in this thread: each call ends before the next begins.

    By thread, so that a thread which a listener starts is a program like any other; within one, asyncio tasks are told
    apart by that, too.
    """

    listeners: tuple[object, ...] = ()


calling: Final = _Calling()


def in_listener() -> bool:
    """Tell whether a listener is being called right now; what it prints is no message of the run."""
    return bool(calling.listeners)
