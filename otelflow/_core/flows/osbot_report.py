"""A flow's run as plain data, in the shapes and words that OSBot-Utils has."""

from typing import Any, Final, cast

from otelflow import semconv
from otelflow._core.flows.flow_state import id_of, name_of
from otelflow._core.process.settings import settings
from otelflow._core.text.plain import plain
from otelflow._core.text.redaction import recorded

_WORDS: Final = {
    "running": "running",
    semconv.SUCCESS: "completed",
    semconv.SKIP: "completed",
    semconv.FAILURE: "failed",
    semconv.TIMEOUT: "failed",
    semconv.ERROR: "failed",
    semconv.CANCELLATION: "stopped",
}
_TASK_FAILED: Final = "At least one task failed"


def word(status: str | None) -> str:
    """Return OSBot's word for a result."""
    return _WORDS.get(status or "", "")


class Flow_Stats:
    """Times (milliseconds since the epoch), duration (seconds), status, error and counts of a flow's run."""

    def __init__(self, flow: Any) -> None:
        failed = [task for task in flow.flow_state.executed_tasks if word(task.status) == "failed"]
        self.flow_id = id_of(flow)
        self.flow_name = name_of(flow)
        self.start_time = _milliseconds(flow.flow_state.started_ns)
        self.end_time = _milliseconds(flow.flow_state.ended_ns)
        self.duration = flow.flow_state.duration
        self.status = word(flow.flow_state.status)
        self.error = _error(flow.flow_state.error)
        self.total_tasks = len(flow.flow_state.executed_tasks) + flow.flow_state.executed_tasks.omitted
        self.failed_tasks = len(failed)
        if self.status == "completed" and failed:
            self.status, self.error = "failed", _TASK_FAILED

    @property
    def error_message(self) -> str | None:
        """The text of the error."""
        return self.error

    def json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**vars(self), "error_message": self.error}


def _error(error: BaseException | None) -> str | None:
    return None if error is None else recorded(error, settings().value_limit)


def _milliseconds(time_ns: int) -> int | None:
    return time_ns // 1_000_000 if time_ns else None


def durations(flow: Any) -> dict[str, Any]:
    """Return name, duration and status, and the seconds of each task by name (of the last with that name)."""
    stats = Flow_Stats(flow)
    return {
        "flow_name": name_of(flow),
        "flow_duration": stats.duration,
        "flow_status": stats.status,
        "flow_tasks": {task.task_name: task.duration for task in flow.flow_state.executed_tasks},
    }


def durations_with_tasks_status(flow: Any) -> dict[str, Any]:
    """Return ``durations`` with tasks by order, each with its status."""
    tasks = {
        order: {"task_name": task.task_name, "task_duration": task.duration, "task_status": word(task.status)}
        for order, task in enumerate(flow.flow_state.executed_tasks, start=1)
    }
    return {**durations(flow), "flow_tasks": tasks}


def as_json(flow: Any) -> dict[str, Any]:
    """Return everything that is kept of a run as plain JSON data, whatever its arguments and values are."""
    stats = Flow_Stats(flow)
    report: dict[str, Any] = {
        "flow_data": {
            "flow_id": id_of(flow),
            "flow_name": name_of(flow),
            "start_time": stats.start_time,
            "end_time": stats.end_time,
            "status": stats.status,
            "error": stats.error,
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
    ended_ns = task.started_ns + int((task.duration or 0) * 1_000_000_000)
    return {
        "task_id": task.task_id,
        "task_name": task.task_name,
        "start_time": _milliseconds(task.started_ns),
        "end_time": _milliseconds(ended_ns) if task.duration is not None else None,
        "status": word(task.status),
        "error_message": _error(task.task_error),
        "return_value": task.task_return_value,
        "execution_order": order,
        "input_args": list(task.task_args),
        "input_kwargs": dict(task.task_kwargs),
    }


class FlowLogger:
    """``flow.logger``: what existing code calls on it, as messages of the flow."""

    def __init__(self, flow: Any) -> None:
        self._flow = flow

    def debug(self, message: object) -> None:
        """Record *message* at level DEBUG."""
        self._flow.log_debug(message)

    def info(self, message: object) -> None:
        """Record *message* at level INFO."""
        self._flow.log_info(message)

    def warning(self, message: object) -> None:
        """Record *message* at level WARNING."""
        self._flow.log_warning(message)

    def error(self, message: object) -> None:
        """Record *message* at level ERROR."""
        self._flow.log_error(message)

    def memory_handler_messages(self) -> list[str]:
        """Return the messages of the run, with their ANSI colours."""
        messages: list[str] = self._flow.log_messages_with_colors()
        return messages
