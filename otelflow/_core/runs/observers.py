"""Who watches runs without an event being made of each: for what must cost next to nothing, as metrics do."""

from typing import TYPE_CHECKING, Final, Protocol

from otelflow._core.process import forks, losses

if TYPE_CHECKING:
    from otelflow._core.runs.endings import Outcome
    from otelflow._core.runs.run import Run


class RunWatcher(Protocol):
    """Is told of every run once, at any sampling ratio, on the thread of the run; it must be quick."""

    def run_started(self, run: "Run") -> None:
        """*run* is open."""

    def run_stopped(self, run: "Run", outcome: "Outcome", duration: float) -> None:
        """*run* has ended with *outcome* after *duration* seconds."""


_lock: Final = forks.new_lock()
watchers: tuple[RunWatcher, ...] = ()


def add_watcher(watcher: RunWatcher) -> None:
    """Tell *watcher* of every run from now on; adding it twice changes nothing."""
    global watchers
    with _lock:
        if not any(known is watcher for known in watchers):
            watchers = (*watchers, watcher)


def remove_watcher(watcher: RunWatcher) -> None:
    """Tell *watcher* nothing more."""
    global watchers
    with _lock:
        watchers = tuple(known for known in watchers if known is not watcher)


def started(run: "Run") -> None:
    """Tell everybody that *run* is open; whoever raises is counted and does not keep the others from hearing."""
    for watcher in watchers:
        try:
            watcher.run_started(run)
        except Exception as error:  # noqa: BLE001 what counts a run must not break it
            losses.listener_failed(type(watcher).__name__, error)


def stopped(run: "Run", outcome: "Outcome", duration: float) -> None:
    """Tell everybody how *run* has ended."""
    for watcher in watchers:
        try:
            watcher.run_stopped(run, outcome, duration)
        except Exception as error:  # noqa: BLE001 what counts a run must not break it
            losses.listener_failed(type(watcher).__name__, error)
