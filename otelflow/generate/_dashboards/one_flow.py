"""The dashboard of one flow: its runs, its objectives, its tasks."""

from typing import Final

from otelflow import semconv
from otelflow.generate._dashboards.dashboard import Dashboard
from otelflow.generate._dashboards.parts import (
    FLEET,
    FLOW,
    RATE,
    add_durations,
    add_quantiles,
    add_runs_by_result,
    add_traces_link,
    budget_left,
)
from otelflow.generate._promql import COUNTED, FAILING, FAILURE_RATIO, OBJECTIVE, SLOW_RATIO, SUCCEEDED

_FLOW: Final = 'job="$job",flow="$flow"'


def one_flow(prometheus: str, jaeger: str) -> Dashboard:
    """Return the dashboard of the one flow that its reader chooses."""
    board = Dashboard(FLOW, "Flows: one flow", "How one flow does, and each of its tasks.", prometheus)
    board.variable("job", f"label_values({semconv.FLOW_RUNS}, job)", many=False)
    board.variable("flow", f'label_values({semconv.FLOW_RUNS}{{job="$job"}}, flow)', many=False)
    board.link("All flows", f"/d/{FLEET}")
    add_traces_link(board, jaeger, semconv.FLOW_RUNS, "flow%20${flow:percentencode}")
    board.row("Now")
    _add_numbers(board)
    board.row("Runs")
    add_runs_by_result(board, semconv.FLOW_RUNS, _FLOW)
    add_durations(board, semconv.FLOW_RUN_DURATION, _FLOW)
    add_quantiles(board, semconv.FLOW_RUN_DURATION, _FLOW)
    in_progress = f"sum({semconv.FLOW_RUNS_IN_PROGRESS}{{{_FLOW}}})"
    board.add(board.lines("In progress", "Runs that are open.", (in_progress, "open")))
    retries = f"sum(increase({semconv.FLOW_RETRIES}{{{_FLOW}}}[{RATE}]))"
    of_tasks = f"sum by (task) (increase({semconv.TASK_RETRIES}{{{_FLOW}}}[{RATE}]))"
    retried = [(retries, "the flow"), (of_tasks, "{{task}}")]
    board.add(board.lines("Retries", "How often the flow and its tasks were tried again.", *retried, stacked=True), 24)
    board.row("Objectives")
    promised = (f'1 - max({OBJECTIVE}:success{{flow="$flow"}})', "allowed")
    failed = [(f"max({FAILURE_RATIO}{window}{{{_FLOW}}})", f"failed, {window}") for window in ("5m", "1h", "6h", "3d")]
    slow = [(f"max({SLOW_RATIO}{window}{{{_FLOW}}})", f"too slow, {window}") for window in ("1h", "6h", "3d")]
    for title, description, lines in (
        ("Share of runs that fail", "Above what is allowed, the budget shrinks.", failed),
        ("Share of runs that take too long", "For flows that promise a duration.", slow),
    ):
        board.add(board.lines(title, description, *lines, promised, unit="percentunit"))
    board.row("Tasks")
    failures = f"sum by (task, error_type) (increase({semconv.TASK_FAILURES}{{{_FLOW}}}[{RATE}]))"
    legend = "{{task}}: {{error_type}}"
    board.add(board.lines("Failures of tasks", "By task and type of error.", (failures, legend), stacked=True))
    buckets = f"sum by (task, le) (rate({semconv.TASK_RUN_DURATION}_bucket{{{_FLOW}}}[{RATE}]))"
    slowest = f"topk(10, histogram_quantile(0.95, {buckets}))"
    board.add(board.lines("Slowest tasks", "95 % of their runs end within.", (slowest, "{{task}}"), unit="s"))
    runs = f"topk(10, sum by (task) (rate({semconv.TASK_RUNS}{{{_FLOW}}}[{RATE}])))"
    board.add(
        board.lines("Runs of tasks", "Runs that ended, per second.", (runs, "{{task}}"), unit="ops", stacked=True), 24
    )
    return board


def _add_numbers(board: Dashboard) -> None:
    runs = f"sum(increase({semconv.FLOW_RUNS}{{{_FLOW}}}[1d]))"
    last = f"time() - max({semconv.FLOW_LAST_RUN}{{{_FLOW},"
    share = (
        f"sum(increase({semconv.FLOW_RUNS}{{{_FLOW},{SUCCEEDED}}}[1d])) / "
        f"(sum(increase({semconv.FLOW_RUNS}{{{_FLOW},{COUNTED}}}[1d])) > 0)"
    )
    oldest = f"time() - min({semconv.FLOW_OLDEST_RUN}{{{_FLOW}}} != 0)"
    budget, steps = f"min({budget_left(_FLOW)})", ((None, "red"), (0, "orange"), (0.25, "green"))
    for panel in (
        board.number("Last success", "How long ago.", f"{last}{SUCCEEDED}}})", unit="s"),
        board.number("Last failure", "How long ago.", f"{last}{FAILING}}})", unit="s"),
        board.number("Succeeded (1d)", "Of the runs that ended.", share, unit="percentunit"),
        board.number("Runs (1d)", "That ended.", runs),
        board.number("Oldest open run", "Since when it is open.", oldest, unit="s"),
        board.number("Budget left (30d)", "Failures still allowed.", budget, unit="percentunit", steps=steps),
    ):
        board.add(panel, 4, 4)
