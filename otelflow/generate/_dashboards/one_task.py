"""The dashboard of one task of one flow."""

from typing import Final

from otelflow import semconv
from otelflow.generate._dashboards.dashboard import Dashboard
from otelflow.generate._dashboards.parts import (
    FLEET,
    FLOW,
    RATE,
    TASK,
    add_durations,
    add_quantiles,
    add_runs_by_result,
    add_traces_link,
)

_TASK: Final = 'job="$job",flow="$flow",task="$task"'


def one_task(prometheus: str, jaeger: str) -> Dashboard:
    """Return the dashboard of the one task that its reader chooses."""
    board = Dashboard(TASK, "Flows: one task", "How one task of one flow does.", prometheus)
    board.variable("job", f"label_values({semconv.TASK_RUNS}, job)", many=False)
    board.variable("flow", f'label_values({semconv.TASK_RUNS}{{job="$job"}}, flow)', many=False)
    board.variable("task", f'label_values({semconv.TASK_RUNS}{{job="$job",flow="$flow"}}, task)', many=False)
    board.link("All flows", f"/d/{FLEET}")
    board.link("Its flow", f"/d/{FLOW}?var-job=${{job:percentencode}}&var-flow=${{flow:percentencode}}")
    add_traces_link(board, jaeger, semconv.TASK_RUNS, "task%20${task:percentencode}")
    board.row("Runs")
    add_runs_by_result(board, semconv.TASK_RUNS, _TASK)
    add_durations(board, semconv.TASK_RUN_DURATION, _TASK)
    failures = f"sum by (error_type) (increase({semconv.TASK_FAILURES}{{{_TASK}}}[{RATE}]))"
    board.add(
        board.lines("Failures by type of error", "What its runs raised.", (failures, "{{error_type}}"), stacked=True)
    )
    add_quantiles(board, semconv.TASK_RUN_DURATION, _TASK)
    retries = f"sum(increase({semconv.TASK_RETRIES}{{{_TASK}}}[{RATE}]))"
    board.add(board.lines("Retries", "How often its runs were tried again.", (retries, "retries")), 24)
    return board
