"""A flow's run as plain data, in the shapes and words that OSBot-Utils has."""

import copy
import logging
import weakref
from dataclasses import asdict, dataclass
from typing import Any, Final, cast

from otelflow._core.flows.flow_state import id_of, name_of
from otelflow._core.flows.osbot_statistics import (
    Duration,
    Status,
    TaskStatistics,
    duration_of,
    status_of,
    task_statistics,
    text_of_error,
    word,
    written,
)
from otelflow._core.inside.log_capture import message_of
from otelflow._core.text.plain import plain

_TASK_FAILED: Final = "At least one task failed"


@dataclass(frozen=True)
class FlowStatistics:
    """Time, status and tasks of a flow's run; a task that failed inside makes it failed."""

    flow_id: str
    flow_name: str
    duration: Duration
    status: Status | None
    error_message: str | None
    total_tasks: int
    failed_tasks: int
    tasks_stats: dict[str, TaskStatistics]

    def json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return cast("dict[str, Any]", plain(asdict(self)))


class Flow_Stats:
    """``flow.flow_stats``: what is known of the run at the moment at which it is read."""

    def __init__(self, flow: Any) -> None:
        self._flow = flow

    @property
    def stats(self) -> FlowStatistics:
        """Time, status and tasks of the run."""
        state, flow_id = self._flow.flow_state, id_of(self._flow)
        tasks = state.executed_tasks
        status, error = _status_and_error(state)
        return FlowStatistics(
            flow_id=flow_id,
            flow_name=name_of(self._flow),
            duration=duration_of(state.started_ns, state.duration),
            status=status,
            error_message=error,
            total_tasks=len(tasks) + tasks.omitted,
            failed_tasks=len([task for task in tasks if status_of(written(task, "status")) is Status.FAILED]),
            tasks_stats={task.task_id: task_statistics(task, n, flow_id) for n, task in enumerate(tasks, start=1)},
        )

    def json(self) -> dict[str, Any]:
        """Return ``stats`` as plain data."""
        return self.stats.json()


def _status_and_error(state: Any) -> tuple[Status | None, str | None]:
    status = status_of(state.status)
    if status is Status.COMPLETED and any(
        status_of(written(task, "status")) is Status.FAILED for task in state.executed_tasks
    ):
        return Status.FAILED, _TASK_FAILED
    return status, text_of_error(state.error)


def _milliseconds(time_ns: int) -> int | None:
    return time_ns // 1_000_000 if time_ns else None


def durations(flow: Any) -> dict[str, Any]:
    """Return name, duration and status, and the seconds of each task by name (of the last with that name)."""
    status, _ = _status_and_error(flow.flow_state)
    return {
        "flow_name": name_of(flow),
        "flow_duration": flow.flow_state.duration,
        "flow_status": str(status or ""),
        "flow_tasks": {task.task_name: written(task, "duration") for task in flow.flow_state.executed_tasks},
    }


def durations_with_tasks_status(flow: Any) -> dict[str, Any]:
    """Return ``durations`` with tasks by order, each with its status."""
    tasks = {
        order: {
            "task_name": task.task_name,
            "task_duration": written(task, "duration"),
            "task_status": word(written(task, "status")),
        }
        for order, task in enumerate(flow.flow_state.executed_tasks, start=1)
    }
    return {**durations(flow), "flow_tasks": tasks}


def as_json(flow: Any) -> dict[str, Any]:
    """Return everything that is kept of a run as plain JSON data, whatever its arguments and values are."""
    status, error = _status_and_error(flow.flow_state)
    report: dict[str, Any] = {
        "flow_data": {
            "flow_id": id_of(flow),
            "flow_name": name_of(flow),
            "start_time": _milliseconds(flow.flow_state.started_ns),
            "end_time": _milliseconds(flow.flow_state.ended_ns),
            "status": str(status or ""),
            "error": error,
            "tasks": {
                task.task_id: _task(task, order) for order, task in enumerate(flow.flow_state.executed_tasks, start=1)
            },
            "events": [event.json() for event in flow.flow_state.captured_events],
            "results": [
                {**item.as_dict(), "timestamp": _milliseconds(item.time_ns)} for item in flow.flow_state.results
            ],
            "artifacts": [
                {**item.as_dict(), "data": item.plain_data, "timestamp": _milliseconds(item.time_ns)}
                for item in flow.flow_state.artifacts
            ],
            "logs": [
                {
                    "timestamp": _milliseconds(line.time_ns),
                    "level": line.level,
                    "message": line.text,
                    "task_id": line.task_run_id,
                }
                for line in flow.flow_state.log
            ],
            "return_value": flow.flow_state.return_value,
        },
        "flow_events": [],
    }
    for task in report["flow_data"]["tasks"].values():
        for name in ("return_value", "input_args", "input_kwargs"):  # each with bounds of its own
            task[name] = plain(task[name])
    return cast("dict[str, Any]", plain(report))


def _task(task: Any, order: int) -> dict[str, Any]:
    started_ns, duration = written(task, "started_ns") or 0, written(task, "duration")
    ended_ns = started_ns + int((duration or 0) * 1_000_000_000)
    return {
        "task_id": task.task_id,
        "task_name": task.task_name,
        "start_time": _milliseconds(started_ns),
        "end_time": _milliseconds(ended_ns) if duration is not None else None,
        "status": word(written(task, "status")),
        "error_message": text_of_error(task.task_error),
        "return_value": task.task_return_value,
        "execution_order": order,
        "input_args": list(task.task_args),
        "input_kwargs": dict(task.task_kwargs),
    }


class FlowLogger(logging.Logger):
    """``flow.logger``: a logger whose records are messages of the flow, with what OSBot's has besides."""

    def __init__(self, flow: Any) -> None:
        super().__init__(f"otelflow.flow.{name_of(flow)}", logging.DEBUG)
        self._reference = weakref.ref(flow)  # which has this one in its state

    ok = logging.Logger.info

    def callHandlers(self, record: logging.LogRecord) -> None:  # noqa: N802 logging calls it so
        """Record what *record* says, and let handlers that the user has added take it."""
        flow = self._reference()
        if flow is not None:
            flow.__otelflow_write__(record.levelno, message_of(record), None)  # any level
        if self.handlers:
            super().callHandlers(record)

    def add_memory_logger(self) -> None:
        """Keep the messages of later runs for ``log_messages()``, as ``log_to_memory`` does."""
        self._configure(log_to_memory=True)

    def remove_memory_logger(self) -> None:
        """Keep no messages of later runs."""
        self._configure(log_to_memory=False)

    def add_console_logger(self) -> None:
        """Write the messages of later runs to stderr, too, as ``log_to_console`` does."""
        self._configure(log_to_console=True)

    def _configure(self, **fields: bool) -> None:
        state = self._state()
        state.config = copy.copy(state.config)  # the flows of one function share one
        for name, value in fields.items():
            setattr(state.config, name, value)

    def memory_handler_messages(self) -> list[str]:
        """Return the messages of the run, with their ANSI colours."""
        return [line.text for line in self._state().lines]

    def _state(self) -> Any:
        flow = self._reference()
        if flow is None:
            raise ReferenceError(f"the flow of {self.name} is gone: keep it as long as its logger")
        return flow.flow_state
