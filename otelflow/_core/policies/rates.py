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
# Who has locked the file looks and writes: who would not wait for a turn, waits for that.
_LOCKED_SECONDS: Final = 0.1
# How many moments there are, which is the oldest, and when the clock began, by which one knows a machine that was
# started again: its clock, which cannot be set, began anew.
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
        began = clock.steady()
        while True:
            with self.locked() as content:
                if content is not None:
                    moment = self.reserve(content, began, timeout)
                    break
            if timeout is not None and clock.steady() - began > max(timeout, _LOCKED_SECONDS):
                raise LimitTimeout(self.name, self.words, timeout)
            yield _LOCKED_LOOK
        while (left := moment - clock.steady()) > 0:
            yield left

    @property
    def words(self) -> str:
        """What the limit says."""
        return f"at most {self.count} in {self.seconds:g} s"

    def reserve(self, content: "_Content", began: float, timeout: float | None) -> float:
        now = clock.steady()
        oldest, moments = content.read(self.count)
        moment = max(now, moments[oldest] + self.seconds)
        if timeout is not None and moment > now and moment - began > timeout:
            raise LimitTimeout(self.name, self.words, timeout)
        moments[oldest] = moment
        content.write((oldest + 1) % self.count, oldest, moments)
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

    def read(self, count: int) -> tuple[int, list[float]]:
        """Return the number of the oldest moment, and *count* moments: those of the file, cut or filled up."""
        content = _memory.contents.get(self._name, b"")
        if self._descriptor is not None and not content:
            most = _HEAD.size + max(count, 10_000) * _MOMENT.size + 1
            content = os.pread(self._descriptor, min(os.fstat(self._descriptor).st_size, most), 0)
        moments: list[float] = []
        oldest = 0
        if len(content) >= _HEAD.size:
            number, oldest, start = _HEAD.unpack_from(content)
            is_whole = len(content) == _HEAD.size + number * _MOMENT.size and oldest < max(number, 1)
            if is_whole and abs(start - _start_of_clock()) < _SAME_START:
                moments = [moment for (moment,) in _MOMENT.iter_unpack(content[_HEAD.size :])]
        if len(moments) == count:
            return oldest, moments
        newest_last = [*moments[oldest:], *moments[:oldest]][-count:]
        return 0, [*[_NEVER] * (count - len(newest_last)), *newest_last]

    def write(self, oldest: int, changed: int, moments: list[float]) -> None:
        """Write the moments to the file, or keep them in memory where that is not possible (any more)."""
        head = _HEAD.pack(len(moments), oldest, _start_of_clock())
        if self._descriptor is not None:
            try:
                self._write_file(self._descriptor, head, changed, moments)
            except OSError as error:  # a full disk
                limit_files.warn_of_memory(error)
            else:
                _memory.contents.pop(self._name, None)
                return
        _memory.contents[self._name] = head + b"".join(map(_MOMENT.pack, moments))

    def _write_file(self, descriptor: int, head: bytes, changed: int, moments: list[float]) -> None:
        """Write only the moment that has *changed*, where the others stand there.

        When the first one has changed, they may be of another start of the machine, and all are written.
        """
        size = len(head) + len(moments) * _MOMENT.size
        if changed and self._name not in _memory.contents and os.fstat(descriptor).st_size == size:
            _write_all(descriptor, _MOMENT.pack(moments[changed]), len(head) + changed * _MOMENT.size)
            _write_all(descriptor, head, 0)
        else:
            _write_all(descriptor, head + b"".join(map(_MOMENT.pack, moments)), 0)
            os.ftruncate(descriptor, size)


def _write_all(descriptor: int, content: bytes, offset: int) -> None:
    written = os.pwrite(descriptor, content, offset)
    if written < len(content):  # the disk is full now, and says so at the next attempt
        os.pwrite(descriptor, content[written:], offset + written)


def _start_of_clock() -> float:
    return clock.time() - clock.steady()
