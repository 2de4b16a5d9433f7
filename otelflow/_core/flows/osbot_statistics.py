"""Times, status and place of a run, in the words and shapes that OSBot-Utils has; of a flow's, see ``osbot_report``."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final, cast

from otelflow import semconv
from otelflow._core.flows.flow_state import id_of
from otelflow._core.process.settings import settings
from otelflow._core.text.plain import plain
from otelflow._core.text.redaction import recorded


class Status(StrEnum):
    """How far a run is, or how it ended; each is a text, too."""

    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    RUNNING = "running"


_STATUS: Final = {
    semconv.RUNNING: Status.RUNNING,
    semconv.SUCCESS: Status.COMPLETED,
    semconv.SKIP: Status.COMPLETED,
    semconv.FAILURE: Status.FAILED,
    semconv.TIMEOUT: Status.FAILED,
    semconv.ERROR: Status.FAILED,
    semconv.CANCELLATION: Status.STOPPED,
}


def status_of(result: str | None) -> Status | None:
    """Return OSBot's word for a result, or None before a run."""
    return _STATUS.get(result or "")


def word(result: str | None) -> str:
    """Return what ``status_of`` does, as a plain text."""
    return str(status_of(result) or "")


@dataclass(frozen=True)
class Duration:
    """When a run began and ended, in seconds since the epoch, and how long it took; all are 0 until it has ended."""

    utc: bool = True
    timestamp_start: float = 0.0
    timestamp_end: float = 0.0
    duration_seconds: float = 0.0


def duration_of(started_ns: int, seconds: float | None) -> Duration:
    """Return the times of a run that began at *started_ns*; *seconds* is None until it has ended."""
    if seconds is None:
        return Duration()
    started = started_ns / 1e9
    return Duration(timestamp_start=started, timestamp_end=started + seconds, duration_seconds=seconds)


def text_of_error(error: BaseException | None) -> str | None:
    """Return what may be shown of *error*."""
    return None if error is None else recorded(error, settings().value_limit)


@dataclass(frozen=True)
class TaskStatistics:
    """Time, status and place of a task's run."""

    task_id: str
    task_name: str
    execution_order: int
    duration: Duration
    status: Status | None
    parent_flow_id: str
    error_message: str | None

    def json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return cast("dict[str, Any]", plain(asdict(self)))


def written(task: Any, name: str) -> Any:
    """Return what a run has written on *task* as *name*, whatever a user's class has under that name."""
    return vars(task).get(name)


def task_statistics(task: Any, order: int, flow_id: str) -> TaskStatistics:
    """Return what is known of *task*, which was begun as number *order* in the flow run *flow_id*."""
    return TaskStatistics(
        task_id=task.task_id,
        task_name=task.task_name,
        execution_order=order,
        duration=duration_of(written(task, "started_ns") or 0, written(task, "duration")),
        status=status_of(written(task, "status")),
        parent_flow_id=flow_id,
        error_message=text_of_error(task.task_error),
    )


class Task_Stats:
    """``task.task_stats``: what is known of the task at the moment at which it is read."""

    def __init__(self, task: Any) -> None:
        self._task = task

    @property
    def stats(self) -> TaskStatistics:
        """Time, status and place of the run."""
        flow = self._task.task_flow
        if flow is None:
            return task_statistics(self._task, 1, "")
        tasks = enumerate(flow.flow_state.executed_tasks, start=1)
        return task_statistics(self._task, next((n for n, task in tasks if task is self._task), 1), id_of(flow))

    def json(self) -> dict[str, Any]:
        """Return ``stats`` as plain data."""
        return self.stats.json()
