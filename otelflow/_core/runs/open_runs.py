"""Which runs are open in this process: the one register of them."""

import weakref
from typing import TYPE_CHECKING, Final, Protocol

from otelflow._core.process.process import State
from otelflow._core.runs.run import Run

if TYPE_CHECKING:  # making a protocol takes a hundredth of an import

    class Watcher(Protocol):
        """Is told, perhaps twice, when the first run opens and when the last one closes, on the thread of that run."""

        def first_opened(self) -> None:
            """A run is open, and there was none."""

        def last_closed(self) -> None:
            """The last open run was closed; another thread may have opened the next meanwhile."""


class _OpenRuns(State):
    """Open runs by the id of the object.

    Weak references: an abandoned generator is ended by the garbage collector, which must find no other reference.
    A plain dict needs no lock for one item that comes or goes.
    """

    runs: "dict[int, weakref.ref[Run]]"
    is_first_told: bool
    watchers: "tuple[Watcher, ...]" = ()

    def reset(self) -> None:
        """Forget the runs; who watches them is settled at import."""
        self.runs = {}
        self.is_first_told = False


_open: Final = _OpenRuns()


def watch(watcher: "Watcher") -> None:
    """Tell *watcher* when the first run opens and the last one closes."""
    _open.watchers = (*_open.watchers, watcher)


def add(run: Run) -> None:
    """Take *run* into the register."""
    _open.runs[id(run)] = weakref.ref(run)
    if not _open.is_first_told:  # no counter: the second of two threads must wait for the watchers, too
        for watcher in _open.watchers:
            watcher.first_opened()
        _open.is_first_told = True


def remove(run: Run) -> None:
    """Take *run* out of the register, if it is there."""
    _open.runs.pop(id(run), None)
    if not _open.runs:
        _open.is_first_told = False
        for watcher in _open.watchers:
            watcher.last_closed()


def is_any() -> bool:
    """Tell whether there may be an open run in this process."""
    return bool(_open.runs)


def open_runs() -> list[Run]:
    """Return the open runs, the one that was opened first before the others."""
    alive = [reference() for reference in list(_open.runs.values())]
    return [run for run in alive if run is not None and run.is_open and not run.is_closed]
