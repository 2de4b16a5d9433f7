"""At most so many at once, in this process and in the others of the machine; who came first goes first.

A place is a file that its holder has locked: the system gives it back when the process is gone, however it ends. Who
waits stands in a line; the first of each process looks for a place, and of the first ones only who has locked the file
of the line, so that none who comes later is quicker.
"""

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator
from typing import Final

from otelflow._core.policies import limit_files
from otelflow._core.process import clock, files, forks
from otelflow._core.process.process import State
from otelflow.errors import LimitTimeout

_FIRST_LOOK: Final = 0.002
_LONGEST_LOOK: Final = 0.05
# Who is not the first is woken; it looks all the same, now and then.
_LOOK_OF_OTHERS: Final = 1.0


class Place:
    """One place that is held; *file* is what it has locked, or None where only this process counts."""

    def __init__(self, line: "_Line", file: files.OpenFile | None) -> None:
        self._line, self._file = line, file
        self.is_held = True
        self._holders = 1
        line.places.add(self)

    def share(self) -> bool:
        """Hold it once more, unless it was given back: it is free after one more release."""
        with _lock:
            self._holders += self.is_held
            return self.is_held

    def release(self) -> None:
        """Give the place back, if nobody else holds it."""
        with _lock:
            self._holders -= 1
            is_free = self._holders <= 0 and self.is_held
            self.is_held = self.is_held and not is_free  # here: from now on nobody can share it
        if is_free:
            self._free()

    def give_back(self) -> None:
        """Give the place back, once."""
        if self.is_held:
            self.is_held = False
            self._free()

    def _free(self) -> None:
        if self._file is not None:
            self._file.close(is_unlocked=True)
        with _lock:
            self._line.places.discard(self)
            self._line.forget()
        self._line.wake_first()

    def forget(self) -> None:
        """Leave it to the parent of this forked process, which holds it: to close the file is not to unlock it."""
        if self.is_held and self._file is not None:
            self._file.close()
        self.is_held = False

    def __del__(self) -> None:
        self.give_back()


class Waiter:
    """One who waits in a line; *wake* is called on any thread when it may be its turn."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.wake = wake
        self.place: Place | None = None
        self.line_file: files.OpenFile | None = None

    def leave_line(self) -> None:
        """Let the first one of another process look."""
        file, self.line_file = self.line_file, None
        if file is not None:
            file.close(is_unlocked=True)


class _Line:
    """Who waits for one limit in this process, in the order in which they came, and who has got a place."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiters: deque[Waiter] = deque()
        self.places: weakref.WeakSet[Place] = weakref.WeakSet()

    def forget(self) -> None:
        """Forget the limit when no run holds it or waits for it: names may come and go."""
        if not self.places and not self.waiters and _lines.lines.get(self.name) is self:
            del _lines.lines[self.name]

    def wake_first(self) -> None:
        """Let the first one look at once."""
        try:
            self.waiters[0].wake()
        except (IndexError, RuntimeError):  # nobody waits, or its event loop has ended
            return


class _Lines(State):
    """The lines of this process by the names of their limits."""

    def __init__(self) -> None:
        self.lines: dict[str, _Line] = {}
        super().__init__()

    def reset(self) -> None:
        """Let go of everything."""
        for line in list(self.lines.values()):  # a line goes with its last place
            for place in list(line.places):
                place.give_back()
        self.lines.clear()

    def begin_anew(self) -> None:
        """Hold and wait for nothing: that is the parent's."""
        for line in self.lines.values():
            for place in list(line.places):
                place.forget()
            for waiter in line.waiters:
                file, waiter.line_file = waiter.line_file, None
                if file is not None:
                    file.close()
            line.waiters.clear()
        self.lines.clear()


_lock: Final = forks.new_lock()
_lines: Final = _Lines()


class Places:
    """At most *limit* places of *name*."""

    def __init__(self, name: str, limit: int) -> None:
        self.name, self.limit = name, limit
        self._file = limit_files.file_name(name)

    def steps(self, waiter: Waiter, timeout: float | None) -> Generator[float]:
        """Yield the seconds to wait before the next look, until *waiter* has a place. To be closed in any case.

        Raises LimitTimeout after *timeout* seconds.
        """
        with _lock:
            line = _lines.lines.setdefault(self.name, _Line(self.name))
            line.waiters.append(waiter)
        began, seconds = clock.monotonic(), _FIRST_LOOK
        try:
            while True:
                is_first = line.waiters[0] is waiter
                if is_first:
                    waiter.place = self.take(line, waiter)
                    if waiter.place is not None:
                        return
                    seconds = min(seconds * 1.5, _LONGEST_LOOK)
                left = float("inf") if timeout is None else timeout - (clock.monotonic() - began)
                if left <= 0:
                    raise LimitTimeout(self.name, f"at most {self.limit} at once", timeout or 0.0)
                yield min(left, seconds if is_first else _LOOK_OF_OTHERS)
        finally:
            waiter.leave_line()
            with _lock:
                if waiter in line.waiters:  # not in a forked child
                    line.waiters.remove(waiter)
                line.forget()
            line.wake_first()

    def take(self, line: _Line, waiter: Waiter) -> Place | None:
        """Return a place if there is one, and it is the turn of *waiter* among all processes."""
        if waiter.line_file is None:
            descriptor = limit_files.open_file(f"{self._file}.line")
            if descriptor is None or files.lock(descriptor) is None:  # no files, or no locks
                if descriptor is not None:
                    os.close(descriptor)
                return Place(line, None) if len(line.places) < self.limit else None
            if not files.lock(descriptor):
                os.close(descriptor)
                return None
            waiter.line_file = files.OpenFile(descriptor)
        for number in range(self.limit):
            descriptor = limit_files.open_file(f"{self._file}.{number}")
            if descriptor is None:
                return Place(line, None) if len(line.places) < self.limit else None
            if files.lock(descriptor):
                return Place(line, files.OpenFile(descriptor))
            os.close(descriptor)
        return None


def thread_waiter() -> tuple[Waiter, Callable[[float], None]]:
    """Return a waiter of this thread, and how it waits so many seconds, or until it is woken."""
    event = threading.Event()

    def wait(seconds: float) -> None:
        event.wait(seconds)
        event.clear()

    return Waiter(event.set), wait
