"""What a body takes: seconds of a processor, and how much memory its process had at most meanwhile."""

import functools
import threading
import weakref
from collections.abc import Coroutine, Generator, Mapping
from pathlib import Path
from time import thread_time
from types import TracebackType
from typing import Any, Final, Self

from otelflow import semconv
from otelflow._core.policies.policy import Body
from otelflow._core.process import forks
from otelflow._core.process.process import State
from otelflow._core.runs import open_runs, spans
from otelflow._core.runs.current import current_run
from otelflow._core.runs.run import Run
from otelflow._core.text.safe_str import comes_from_outside

_SAMPLE_SECONDS: Final = 0.01
_STATUS: Final = Path("/proc/self/status")
_RESET: Final = Path("/proc/self/clear_refs")
_KILOBYTE: Final = 1_024

EXACT: Final = "exact"
SAMPLED: Final = "sampled"


class _Meters(State):
    """The measures of this process that go on, the thread that looks at its memory, and what runs have taken so far."""

    def reset(self) -> None:
        """Measure nothing; a thread that still looks at memory ends, since it is no more the ``thread`` of this."""
        self.measures: set[_Measure] = set()
        self.thread: threading.Thread | None = None
        self.sums: weakref.WeakKeyDictionary[Run, _Sum] = weakref.WeakKeyDictionary()

    def begin_anew(self) -> None:
        """Leave to the parent what it measures."""
        self.reset()


_lock: Final = forks.new_lock()
_meters: Final = _Meters()


class _Sum:
    """What all attempts of one run have taken."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.peak = 0
        self.method = EXACT


def _memory(field: str) -> int:
    """Return the bytes that *field* of the process' status says, or 0 where there is no such file."""
    try:
        for line in _STATUS.read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) * _KILOBYTE
    except (OSError, ValueError, IndexError) as error:
        if comes_from_outside(error):  # a time limit is an OSError, too
            raise
        return 0
    return 0


class _Measure:
    """Measures what happens in its block, and writes it on the span of the flow or task around it."""

    def __init__(self) -> None:
        run = current_run()
        while run is not None and not run.kind and run.parent is not None:
            run = run.parent  # an attempt is a part of what is measured
        self.run = run
        self.seconds = 0.0
        self.peak = 0
        self.is_alone = False

    def look(self) -> None:
        """Note how much memory there is, and whether another run goes on besides."""
        self.peak = max(self.peak, _memory("VmRSS"))
        if self.is_alone:
            self.is_alone = not any(self.is_other(run) for run in open_runs.open_runs())

    def is_other(self, run: Run | None) -> bool:
        """Tell whether *run* is neither the measured one, nor around or inside it."""
        around, inside = self.run, run
        while around is not None:
            if around is run:
                return False
            around = around.parent
        while inside is not None:
            if inside is self.run:
                return False
            inside = inside.parent
        return True

    def __enter__(self) -> Self:
        with _lock:
            self.is_alone = not _meters.measures and self.begin_peak()
            for measure in _meters.measures:
                measure.is_alone = False
            _meters.measures.add(self)
            if _meters.thread is None and _memory("VmRSS"):
                _meters.thread = threading.Thread(target=_look_again, name="otelflow-memory", daemon=True)
                try:
                    _meters.thread.start()
                except RuntimeError:  # there is none to be had: beginning and end are looked at
                    _meters.thread = None
        self.look()
        self.clock = thread_time()
        return self

    def begin_peak(self) -> bool:
        """Let the system note the peak from now on; tell whether it does."""
        try:
            _RESET.write_text("5")
        except OSError as error:  # another system, or no right to
            if comes_from_outside(error):
                raise
            return False
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        self.seconds = self.seconds or thread_time() - self.clock
        self.look()
        if self.is_alone:
            self.peak = max(self.peak, _memory("VmHWM"))
        with _lock:
            _meters.measures.discard(self)
        if self.run is None:
            return
        total = _meters.sums.setdefault(self.run, _Sum())
        total.seconds += self.seconds
        total.peak = max(total.peak, self.peak)
        total.method = total.method if self.is_alone else SAMPLED
        spans.note(self.run, semconv.RUN_CPU, round(total.seconds, 6))
        if total.peak:
            spans.note(self.run, semconv.RUN_MEMORY, total.peak)
            spans.note(self.run, semconv.RUN_MEMORY_METHOD, total.method)


def _look_again() -> None:
    """Look at the memory until nothing is measured any more."""
    pause = threading.Event()
    while True:
        with _lock:
            if not _meters.measures or _meters.thread is not threading.current_thread():
                if _meters.thread is threading.current_thread():
                    _meters.thread = None
                return
            measures = list(_meters.measures)
        for measure in measures:
            measure.look()
        pause.wait(_SAMPLE_SECONDS)


class _Steps:
    """Awaits a coroutine, and adds up what its own steps take: the loop does other things in between."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], measure: _Measure) -> None:
        self._coroutine, self._measure = coroutine, measure

    def __await__(self) -> Generator[Any, Any, Any]:
        step, value = self._coroutine.send, None
        while True:
            began = thread_time()
            try:
                awaited = step(value)
            except StopIteration as end:
                return end.value
            finally:
                self._measure.seconds += thread_time() - began
            try:
                value = yield awaited
                step = self._coroutine.send
            except GeneratorExit:
                self._coroutine.close()
                raise
            except BaseException as error:  # noqa: BLE001 it is the coroutine's, which may go on
                step, value = self._coroutine.throw, error


class Resources:
    """Measures each attempt: its own thread, and the memory of its process."""

    def is_wanted(self, options: Mapping[str, Any]) -> bool:
        """Tell whether it is to be measured."""
        return options.get("measure_resources") is True

    def around(self, body: Body, options: Mapping[str, Any]) -> Body:
        """Return *body*, measured."""
        del options

        @functools.wraps(body)
        def measured(*args: Any, **kwargs: Any) -> Any:
            with _Measure():
                return body(*args, **kwargs)

        return measured

    def around_async(self, body: Body, options: Mapping[str, Any]) -> Body:
        """Return *body*, a coroutine function, measured step by step."""
        del options

        @functools.wraps(body)
        async def measured(*args: Any, **kwargs: Any) -> Any:
            with _Measure() as measure:
                return await _Steps(body(*args, **kwargs), measure)

        return measured


POLICY: Final = Resources()
