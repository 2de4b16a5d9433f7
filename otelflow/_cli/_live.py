"""Show on a terminal, while flows run, what they do: one display for ``run`` and ``demo``."""

import os
import sys
import threading
from collections import Counter, deque
from types import TracebackType
from typing import Final, NamedTuple, Self

from rich.cells import set_cell_size
from rich.text import Text

from otelflow import semconv
from otelflow._cli._footer import Footer
from otelflow._core.process import clock
from otelflow._core.runs import observers
from otelflow._core.runs.run import Entry, Run
from otelflow._core.text.durations import in_words
from otelflow._core.text.visible import one_line
from otelflow_exporters._tree.drawing import page_of
from otelflow_exporters._tree.glyphs import ASCII, UNICODE
from otelflow_exporters._tree.wording import counted

# A flow that is quicker needs no display.
_FIRST_SECONDS: Final = 0.4
_EACH_SECONDS: Final = 0.2
_JOIN_SECONDS: Final = 1.0
# More ends of tasks than a program has between two looks
_MOST_ENDS: Final = 200_000
_TASKS_SHOWN: Final = 4
_BARS_SHOWN: Final = 3
_MOST_BARS: Final = 1_000
_BAR_WIDTH: Final = 24
_KEY_WIDTH: Final = 24


class _OpenRun(NamedTuple):
    kind: str
    name: str | None
    started_ns: int


class _Watch(observers.Observer):
    """Keeps what is shown of the runs.

    Each method does one thing that no thread can come between, so that the runs, which call it, need no lock; the
    thread of the display does the rest. Nothing is kept that the program would otherwise be rid of.
    """

    def __init__(self) -> None:
        self.flow_name = ""
        self.open: dict[int, _OpenRun] = {}
        self.ended: deque[str] = deque(maxlen=_MOST_ENDS)
        self.bars: dict[str, float] = {}
        self.failure = ""

    def run_started(self, run: Run) -> None:
        """Keep its name while it is open."""
        kind = run.kind
        if kind:
            self.open[id(run)] = _OpenRun(kind, run.task_name if kind == "task" else run.flow_name, run.started_ns)
            if not self.flow_name:
                self.flow_name = run.flow_name or run.task_name or ""

    def run_ended(self, run: Run) -> None:
        """Keep how it ended."""
        ending = run.ending
        if self.open.pop(id(run), None) is not None and run.kind == "task":
            self.ended.append(ending.result)
        if ending.is_failure and ending.error is not None and run.kind:
            self.failure = f"{run.span_name()}: {ending.error_type}: {ending.error_message}"

    def entry_added(self, run: Run, entry: Entry) -> None:
        """Keep the state of a progress."""
        if entry.event_name != semconv.ARTIFACT_EVENT:
            return
        artifact = entry.payload().get("artifact_data", {})
        if artifact.get("type") == "progress":
            key = one_line(artifact.get("key") or artifact.get("description") or "progress", _KEY_WIDTH)
            self.bars[key] = min(100.0, max(0.0, float(artifact["data"])))
            if len(self.bars) > _MOST_BARS:
                for old in list(self.bars)[:-_BARS_SHOWN]:
                    self.bars.pop(old, None)


class LiveDisplay:
    """Inside, the last lines of the terminal tell which tasks run, how many are done and failed, and how far it is.

    A thread of its own draws, a few times a second.
    """

    def __init__(self) -> None:
        self._watch = _Watch()
        self._results: Counter[str] = Counter()
        self._footer = Footer(sys.stderr.fileno())
        self._signs = UNICODE if page_of(sys.stderr).is_unicode else ASCII
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._show, name="otelflow-live", daemon=True)
        self._process_id = os.getpid()
        self._began = clock.time()

    def __enter__(self) -> Self:
        observers.add_observer(self._watch)
        try:
            self._thread.start()
        except RuntimeError:  # there is no thread to be had: nothing is shown
            self._is_over.set()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        observers.remove_observer(self._watch)
        if os.getpid() != self._process_id:  # a child that came back; the terminal is its parent's
            return
        try:
            self._is_over.set()
            if self._thread.is_alive():
                self._thread.join(_JOIN_SECONDS)
        finally:
            self._footer.clear()

    def _show(self) -> None:
        seconds = _FIRST_SECONDS
        while not self._is_over.wait(seconds):
            seconds = _EACH_SECONDS
            ended = self._watch.ended
            self._results.update([ended.popleft() for _ in range(len(ended))])
            if self._watch.flow_name and not self._footer.draw(self.lines()):
                return  # the terminal is gone

    def lines(self) -> list[Text]:
        """Return what is shown now."""
        signs, watch = self._signs, self._watch
        now = clock.time()
        failed = sum(count for result, count in self._results.items() if result in semconv.FAILED_RESULTS)
        heading = Text(f"{signs[semconv.RUNNING]} flow {one_line(watch.flow_name)}", "bold cyan")
        heading.append(f"  {_seconds(now - self._began)}", "dim")
        heading.append(f"{signs['separator']}{counted(self._results.total(), 'task')} done", "dim")
        if failed:
            heading.append(f"{signs['separator']}{signs[semconv.FAILURE]} {failed:,} failed", "red")
        lines = [heading, *self.open_lines(now)]
        for key, percent in list(watch.bars.items())[-_BARS_SHOWN:]:
            full = round(percent * _BAR_WIDTH / 100)
            bar = signs["full"] * full + signs["empty"] * (_BAR_WIDTH - full)
            lines.append(Text(f"  {set_cell_size(key, _KEY_WIDTH)} ").append(bar, "magenta").append(f" {percent:g} %"))
        if watch.failure:
            lines.append(Text(f"  {signs[semconv.FAILURE]} {one_line(watch.failure)}", "red"))
        return lines

    def open_lines(self, now: float) -> list[Text]:
        """Return a line for each name of the tasks and inner flows that run, those that began first at the top."""
        runs = list(self._watch.open.values())[1:]
        names = Counter((run.kind, run.name) for run in runs)
        began = {(run.kind, run.name): run.started_ns for run in reversed(runs)}
        lines = []
        for (kind, name), count in list(names.items())[:_TASKS_SHOWN]:
            times = f" {self._signs['times']} {count:,}" if count > 1 else ""
            since = _seconds(now - began[kind, name] / 1e9)
            lines.append(Text(f"  {kind} {one_line(name)}{times}").append(f"  {since}", "dim"))
        if len(names) > _TASKS_SHOWN:
            lines.append(Text(f"  {self._signs['more']}and {len(names) - _TASKS_SHOWN:,} more", "dim"))
        return lines


def _seconds(length: float) -> str:
    return in_words(int(length)) if length >= 1 else "0 s"
