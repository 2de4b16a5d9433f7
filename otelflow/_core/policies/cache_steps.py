"""The steps around one body: look whether its value is kept, wait for another run that makes it, keep it."""

import logging
import math
from typing import TYPE_CHECKING, Any, Final, Protocol

from otelflow import semconv
from otelflow._core.policies import checkpoints
from otelflow._core.policies.keeping import Keeping, link
from otelflow._core.process import clock, forks, losses
from otelflow._core.process.process import State
from otelflow._core.results.records import Record
from otelflow._core.runs import spans
from otelflow._core.runs.run import Run
from otelflow._core.text.own_logger import log
from otelflow._core.text.safe_str import comes_from_outside
from otelflow.errors import RunTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from otelflow._core.results.storage import ResultStorage

_FIRST_PAUSE: Final = 0.001  # seconds
_LONGEST_PAUSE: Final = 0.1


class Step(Protocol):
    """What is done around a body."""

    record: Record | None

    @property
    def is_remote(self) -> bool:
        """Whether its storage may take long."""

    def is_ready(self) -> bool:
        """Tell whether ``record`` is what is kept, or the body is to be run; else ask again after ``pause``."""

    def pause(self) -> float:
        """Return for how many seconds to wait. Raises RunTimeout."""

    def reuse(self) -> Any:
        """Return the value of ``record``, and say on the span where it is from."""

    def keep(self, value: Any) -> None:
        """Keep *value*, which the body has returned."""

    def release(self) -> None:
        """Release the key for other calls, however the body ended; it may be called without the rest."""


class _Making(State):
    """The run that makes the value of each key, in this process."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = forks.new_lock()

    def reset(self) -> None:
        """Know of no run."""
        self.runs: dict[str, Run] = {}

    def begin_anew(self) -> None:
        """Leave the runs to the parent: a child must not wait for them."""
        self.runs = {}


_making: Final = _Making()


class TaskStep:
    """The step of one call of a task."""

    def __init__(self, keeping: Keeping, run: Run) -> None:
        self.record: Record | None = None
        self.is_remote = False
        self._keeping: Final = keeping
        self._run: Final = run
        self._storage: ResultStorage | None = None
        self._cache_key: str | None = None
        self._run_key: str | None = None
        self._reason = ""
        self._since = math.inf  # when earlier attempts of the flow run made what counts
        self._unlock: Callable[[], None] | None = None
        self._is_released = False
        self._pause = _FIRST_PAUSE
        self._waiting_since = 0.0
        try:
            progress = checkpoints.progress_around(run)
            of_flow = None if progress is None else progress.storage
            self._storage, self.is_remote = keeping.storage(of_flow), keeping.is_remote(of_flow)
            if keeping.policy.is_needed:
                self._cache_key = keeping.policy.key(run)
            if keeping.is_persisted:
                self._run_key = (
                    checkpoints.step_key(run.task_run_id, run.definition, run.args, run.kwargs)
                    if progress is None
                    else progress.call_key(run)
                )
                if progress is not None:
                    self._since = progress.scope(run.parent).since
        except Exception as error:  # the user's own function of keys may raise anything
            if comes_from_outside(error):
                raise
            keeping.keep_nothing(error)
        if run.is_recording:
            if self._cache_key is not None:
                run.span.set_attribute(semconv.CACHE_KEY, self._cache_key)
                run.span.set_attribute(semconv.CACHE_HIT, False)
            if self._run_key is not None:
                run.span.set_attribute(semconv.RUN_STORED_KEY, self._run_key)

    def is_ready(self) -> bool:
        """Tell whether ``record`` is what is kept, or the body is to be run; else ask again after ``pause``."""
        if self._look_up():
            return True
        if self._cache_key is None or self._keeping.is_useless:
            return True
        if not self._begin_making(self._cache_key):
            return False
        self._look_up()  # the run that had the lock until now may have kept it
        return True

    def pause(self) -> float:
        """Return for how many seconds to wait. Raises RunTimeout when it has waited for the time-out of the task."""
        now = clock.perf_counter()
        self._waiting_since = self._waiting_since or now
        left = self._waiting_since + self._keeping.timeout - now
        if left <= 0:
            self._note_wait()
            spans.note(self._run, semconv.RUN_TIMEOUT, self._keeping.timeout)
            spans.note(self._run, semconv.RUN_BODY_RUNNING, False)
            error = RunTimeout("task", self._run.task_name or self._keeping.owner, self._keeping.timeout)
            error.add_note("It has waited for another run that makes the value of the same cache key")
            raise error
        pause, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE)
        return min(pause, left)

    def reuse(self) -> Any:
        """Return the value of ``record``, and say on the span where it is from."""
        record, run = self.record, self._run
        assert record is not None  # noqa: S101 whoever calls this has seen it
        run.was_called = False  # so metrics count it apart
        if run.is_recording:
            is_hit = self._reason == "cache"
            run.span.set_attribute(semconv.CACHE_HIT if is_hit else semconv.RUN_REPLAYED, True)
        link(run, record, self._reason)
        self._note_wait()
        return record.value

    def keep(self, value: Any) -> None:
        """Keep *value*, which the body has returned."""
        self._note_wait()
        for key in (self._cache_key, self._run_key):
            if (
                key is not None
                and self._storage is not None
                and not self._keeping.write(self._storage, self._run, key, value)
            ):
                return

    def release(self) -> None:
        """Let others go on."""
        with _making.lock:  # a thread may be about to lock: whoever waited for it was cancelled
            self._is_released = True
            unlock, self._unlock = self._unlock, None
        self._release_key(unlock)

    def _look_up(self) -> bool:
        keeping, storage = self._keeping, self._storage
        if storage is None:
            return True
        if self._run_key is not None:
            self.record, self._reason = keeping.read(storage, self._run_key, self._since), "replay"
        if self.record is None and self._cache_key is not None and not keeping.is_refreshed:
            record = keeping.read(storage, self._cache_key)
            if record is not None and (
                keeping.expiration is None or clock.time() - record.created < keeping.expiration
            ):
                self.record, self._reason = record, "cache"
        return self.record is not None

    def _begin_making(self, key: str) -> bool:
        """Let this run make the value of *key*, unless another one makes it; tell whether it is to.

        A run inside the maker makes it, too. So does each run where the storage has no locks or cannot lock.
        If the run has ended meanwhile (as by Ctrl-C), it is unlocked here, since nobody else would.
        """
        with _making.lock:
            holder = _making.runs.setdefault(key, self._run)
        if holder is not self._run:
            above = self._run.parent
            while above is not None and above is not holder:
                above = above.parent
            return above is holder  # a task that calls itself must not wait for itself
        unlock_file: Callable[[], None] | None = None
        acquire = getattr(self._storage, "acquire", None)
        if acquire is not None:
            try:
                unlock_file = acquire(key)
            except Exception as error:  # a folder that cannot be written; the write says so, too
                if comes_from_outside(error):
                    raise
                log(losses.logger, logging.DEBUG, "No lock in %r: %s", self._storage, error)
            else:
                if unlock_file is None:
                    _making.runs.pop(key, None)
                    return False

        with _making.lock:
            if not self._is_released:
                self._unlock = unlock_file
                return True
        self._release_key(unlock_file)
        return True

    def _release_key(self, unlock: "Callable[[], None] | None") -> None:
        """Let another run make the value, however this one has ended; there is nothing to *unlock* if it came early."""
        self._keeping.unlock(unlock)
        if self._cache_key is not None and _making.runs.get(self._cache_key) is self._run:
            del _making.runs[self._cache_key]

    def _note_wait(self) -> None:
        if self._waiting_since and self._run.is_recording:
            self._run.span.set_attribute(semconv.CACHE_WAIT, clock.perf_counter() - self._waiting_since)
