"""At most so many in each stretch of time, in this process and in the others of the machine; in the order they came.

A file holds the moments of the last starts, as many as may begin in one stretch. The next one begins when the oldest of
them is that long ago. Who comes writes its own moment, also if it lies ahead, and waits for it.
"""

import os
import struct
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Final

from otelflow._core.policies import limit_files
from otelflow._core.process import clock, files, forks
from otelflow._core.process.process import State
from otelflow.errors import LimitTimeout

_LOCKED_LOOK: Final = 0.001
# How many moments there are, which is the oldest, and when the clock began, by which one knows a machine that was
# started again: its clock, which nobody sets, began anew.
_HEAD: Final = struct.Struct("<QQd")
_MOMENT: Final = struct.Struct("<d")
_NEVER: Final = float("-inf")
_SAME_START: Final = 300.0


class _Memory(State):
    """The contents of files where there can be none."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        super().__init__()

    def reset(self) -> None:
        """Remember nothing."""
        self.contents.clear()


_lock: Final = forks.new_lock()
_memory: Final = _Memory()


class Rate:
    """At most *count* in *seconds*, of *name*."""

    def __init__(self, name: str, count: int, seconds: float) -> None:
        self.name, self.count, self.seconds = name, count, seconds
        self._file = f"{limit_files.file_name(name)}.rate"

    def steps(self, timeout: float | None) -> Generator[float]:
        """Yield the seconds to wait, until it may begin. Raises LimitTimeout at once if that is beyond *timeout*."""
        began = clock.monotonic()
        while True:
            with self.locked() as content:
                if content is not None:
                    moment = self.reserve(content, began, timeout)
                    break
            if timeout is not None and clock.monotonic() - began > timeout:
                raise LimitTimeout(self.name, self.words, timeout)
            yield _LOCKED_LOOK
        while (left := moment - clock.monotonic()) > 0:
            yield left

    @property
    def words(self) -> str:
        """What the limit says."""
        return f"at most {self.count} in {self.seconds:g} s"

    def reserve(self, content: "_Content", began: float, timeout: float | None) -> float:
        now = clock.monotonic()
        count, oldest, moments = content.read(self.count)
        moment = max(now, moments[oldest] + self.seconds)
        if timeout is not None and moment - began > timeout:
            raise LimitTimeout(self.name, self.words, timeout)
        moments[oldest] = moment
        content.write(count, (oldest + 1) % count, oldest, moments)
        return moment

    @contextmanager
    def locked(self) -> "Iterator[_Content | None]":
        """Yield what the file holds, locked; None while another one has locked it."""
        descriptor = limit_files.open_file(self._file)
        if descriptor is None:
            with _lock:
                yield _Content(self._file, None)
            return
        try:
            is_locked = files.lock(descriptor)
            if is_locked is None:  # no locks here: at least its own threads do not get into each other's way
                with _lock:
                    yield _Content(self._file, descriptor)
            else:
                yield _Content(self._file, descriptor) if is_locked else None
        finally:
            files.unlock(descriptor)
            os.close(descriptor)


class _Content:
    """The moments in one file, or in memory."""

    def __init__(self, name: str, descriptor: int | None) -> None:
        self._name, self._descriptor = name, descriptor

    def read(self, count: int) -> tuple[int, int, list[float]]:
        """Return *count*, the number of the oldest moment, and all moments; what was written for another count fits."""
        content = _memory.contents.get(self._name, b"") if self._descriptor is None else self.content(count)
        moments: list[float] = []
        oldest = 0
        if len(content) >= _HEAD.size:
            number, oldest, start = _HEAD.unpack_from(content)
            is_whole = len(content) == _HEAD.size + number * _MOMENT.size and oldest < max(number, 1)
            if is_whole and abs(start - _start_of_clock()) < _SAME_START:
                moments = [moment for (moment,) in _MOMENT.iter_unpack(content[_HEAD.size :])]
        if len(moments) == count:
            return count, oldest, moments
        newest_last = [*moments[oldest:], *moments[:oldest]][-count:]
        return count, 0, [*[_NEVER] * (count - len(newest_last)), *newest_last]

    def content(self, count: int) -> bytes:
        assert self._descriptor is not None  # noqa: S101 its only caller has looked
        size = os.fstat(self._descriptor).st_size
        return os.pread(self._descriptor, min(size, _HEAD.size + max(count, 10_000) * _MOMENT.size + 1), 0)

    def write(self, count: int, oldest: int, changed: int, moments: list[float]) -> None:
        """Write the moments: only the one that has changed, where the others stand there."""
        head = _HEAD.pack(count, oldest, _start_of_clock())
        size = _HEAD.size + count * _MOMENT.size
        if self._descriptor is None:
            _memory.contents[self._name] = head + b"".join(map(_MOMENT.pack, moments))
        elif changed and os.fstat(self._descriptor).st_size == size:
            os.pwrite(self._descriptor, _MOMENT.pack(moments[changed]), _HEAD.size + changed * _MOMENT.size)
            os.pwrite(self._descriptor, head, 0)
        else:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, head + b"".join(map(_MOMENT.pack, moments)), 0)


def _start_of_clock() -> float:
    return clock.time() - clock.monotonic()
