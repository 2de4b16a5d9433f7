"""What must happen in a forked child: nothing of the parent's is done twice, and nothing of the child's is lost."""

import multiprocessing
import os
import weakref
from collections.abc import Callable
from multiprocessing import util
from typing import Any, TypeVar

from otelflow._core import exits

T = TypeVar("T")


def begin_anew(owner: T, begin: Callable[[T], None]) -> None:
    """Call *begin* with *owner*, if it still lives, in each child that is forked from now on."""
    if hasattr(os, "register_at_fork"):
        reference = weakref.ref(owner)

        def in_child() -> None:
            alive = reference()
            if alive is not None:
                begin(alive)

        os.register_at_fork(after_in_child=in_child)


def renew(lock: Any) -> None:
    """Free *lock* in each child: the thread that holds it in the parent is not there."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lock._at_fork_reinit)  # noqa: SLF001 as the standard library does


def deliver_before_the_end(owner: T, deliver: Callable[[T], None]) -> None:
    """Call *deliver* before a child of ``multiprocessing`` ends, this one or a later one.

    Such a child leaves by ``os._exit``, which runs no exit handler; its open runs are ended first.
    """

    def promise(alive: T) -> None:
        util.Finalize(alive, last_words, args=(weakref.ref(alive),), exitpriority=0)

    def last_words(reference: "weakref.ref[T]") -> None:
        exits.end_open_runs()
        alive = reference()
        if alive is not None:
            deliver(alive)

    util.register_after_fork(owner, promise)
    if multiprocessing.parent_process() is not None:
        promise(owner)
