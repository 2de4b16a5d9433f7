"""What must happen in a forked child: nothing of the parent's is done twice, and no lock waits for a lost thread."""

import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from otelflow._core.process import clock, process

if TYPE_CHECKING:
    from _thread import RLock

T = TypeVar("T")

_locks: "Final[weakref.WeakSet[RLock]]" = weakref.WeakSet()
_owners: "Final[dict[tuple[int, Callable[[Any], None]], tuple[weakref.ref[Any], Callable[[Any], None]]]]" = {}


def new_lock() -> "RLock":
    """Return a lock that is free in every forked child: the thread that holds it in the parent is not there.

    It is re-entrant: the garbage collector may end a generator's run, and a signal handler run a task, while the
    thread holds it. Every lock of otelflow is made here, since one that a fork hook forgets is a child that hangs.
    """
    lock = threading.RLock()
    _locks.add(lock)
    return lock


def begin_anew(owner: T, begin: Callable[[T], None]) -> None:
    """Call *begin* with *owner*, as long as it lives, in each child that is forked from now on.

    A class and its subclass may each have one for the same object: both are called, in the order in which they came.
    """
    key = id(owner), begin
    _owners[key] = weakref.ref(owner, lambda _: _owners.pop(key, None)), begin


_EMPTY: Final = b"\0"
# Linux's MADV_WIPEONFORK, for which Python has no name
_WIPE_ON_FORK: Final = 18


class _Fork(process.State):
    """Which process this is, and when it was forked off, on the clock of runs."""

    clock: float
    process_id: int
    # By process: Python does not tell of a fork in C, and so its first threads may notice it at the same time.
    noticing: "dict[int, threading.Lock]"
    # Its first byte is 1 until the process is forked: the system empties the page in a child.
    page: Any
    has_no_page: bool = False

    def reset(self) -> None:
        """Be no child."""
        self.clock = float("-inf")
        self.process_id = os.getpid()
        self.noticing = {}
        self.page = _EMPTY

    def begin_anew(self) -> None:
        """Be a child from now on."""
        self.clock = clock.perf_counter()
        self.process_id = os.getpid()
        self.noticing = {}
        self.page = _EMPTY


def _new_page() -> Any:
    """Return a page that a forked child finds empty, or an empty one where the system has none."""
    if sys.platform != "linux":
        return _EMPTY
    try:
        import mmap  # noqa: PLC0415 at the first run, not at an import

        page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        page.madvise(_WIPE_ON_FORK)
        page[0] = 1
    except (ImportError, OSError, ValueError):  # an old kernel
        return _EMPTY
    return page


#: When this process was forked. A run that began before ``fork.clock`` is the parent's, which ends and reports it
fork: Final = _Fork()


def _begin_in_child() -> None:
    # In this order: what begins anew may need a lock.
    for lock in list(_locks):
        lock._at_fork_reinit()  # type: ignore[attr-defined]  # noqa: SLF001 as the standard library does
    process.begin_anew()
    for reference, begin in list(_owners.values()):
        owner = reference()
        if owner is not None:
            begin(owner)


def notice() -> None:
    """Begin anew if this is a child that Python does not know of: uWSGI forks in C.

    Call it without a lock, where something begins or ends that a child must not share with its parent. Where each run
    passes, look at ``fork.page`` before: the call to the system for the id of the process costs a fifth of a run.
    """
    if fork.page[0]:
        return
    if os.getpid() != fork.process_id:
        # A lock that no thread of the parent can have held.
        with fork.noticing.setdefault(os.getpid(), threading.Lock()):
            if os.getpid() != fork.process_id:
                _begin_in_child()
    if fork.page is _EMPTY and not fork.has_no_page:
        fork.page = _new_page()
        fork.has_no_page = fork.page is _EMPTY


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)
