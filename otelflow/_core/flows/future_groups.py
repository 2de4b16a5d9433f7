"""The span around the calls of one ``map()``."""

import contextvars
from typing import Any

from otelflow import semconv
from otelflow._core.process.settings import settings
from otelflow._core.runs.current import current_run
from otelflow._core.runs.endings import CANCELLED, SUCCESS, Ending
from otelflow._core.runs.engine import close_run, open_run
from otelflow._core.runs.run import Run


class Group:
    """The calls of one ``map()``: under one span, which ends with the last of them."""

    def __init__(self, run: "MapRun", size: int, lock: Any) -> None:
        self.context = contextvars.copy_context()
        self._run = run
        self._lock = lock
        self._left = size
        self._results: set[str] = set()
        self.context.run(open_run, run)
        if not size:
            self.context.run(close_run, run, SUCCESS)

    def ended(self, result: str) -> None:
        """Count one that has ended with *result*."""
        with self._lock:
            self._results.add(result)
            self._left -= 1
            if self._left:
                return
        if not self._results.isdisjoint(semconv.FAILED_RESULTS):
            ending = Ending(semconv.FAILURE)
        else:
            worst = next((word for word in (semconv.SKIP, semconv.CANCELLATION) if word in self._results), None)
            ending = SUCCESS if worst is None else Ending(worst)
        self.context.run(close_run, self._run, ending)

    def give_up(self) -> None:
        """End the span now, unless it has ended: Ctrl-C has come where a call would have been counted."""
        self.context.copy().run(close_run, self._run, CANCELLED)


class MapRun(Run):
    """The span around the calls of one ``map()``; nobody counts it."""

    __slots__ = ("_name", "_size")

    def __init__(self, name: str, size: int) -> None:
        parent = current_run()
        super().__init__(parent, settings() if parent is None else parent.settings)
        self._name = name
        self._size = size
        if parent is not None:  # what is recorded in it, is recorded in its parent, which may see the error before
            if parent.recorded is None:
                parent.recorded = {}
            self.recorded = parent.recorded

    def span_name(self) -> str:
        """Return the name of its span."""
        return semconv.MAP_SPAN + self._name

    def attributes(self) -> dict[str, Any]:
        """Return the span attributes that are known when the run starts."""
        return {**super().attributes(), semconv.TASK_MAP_SIZE: self._size}
