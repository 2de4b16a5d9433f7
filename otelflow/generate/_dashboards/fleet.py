"""The dashboard of the fleet: every flow of every service."""

import re
from typing import Any, Final

from otelflow import semconv
from otelflow._core.flows.declared import Declared
from otelflow._core.text.durations import in_units
from otelflow.generate._dashboards.dashboard import Dashboard
from otelflow.generate._dashboards.parts import FLEET, FLOW, RATE, add_durations, add_runs_by_result, budget_left
from otelflow.generate._numbers import percent
from otelflow.generate._promql import FAILING, SUCCEEDED

_JOBS: Final = 'job=~"$job"'
_RED_FROM_ONE: Final = ((None, "green"), (1, "red"))


def fleet(flows: tuple[Declared, ...], prometheus: str) -> Dashboard:
    """Return the dashboard of all flows, with what *flows* promise."""
    board = Dashboard(FLEET, "Flows: the fleet", "Every flow of every service.", prometheus)
    board.variable("job", f"label_values({semconv.FLOW_RUNS}, job)", many=True)
    board.row("Now")
    _add_numbers(board)
    board.add(_table(board), 24, 10)
    if any(flow.objective for flow in flows):
        board.add(board.text("What is promised", _objectives(flows)), 24, 6)
    board.row("Runs")
    add_runs_by_result(board, semconv.FLOW_RUNS, _JOBS)
    failing = f"topk(10, sum by (flow) (increase({semconv.FLOW_RUNS}{{{_JOBS},{FAILING}}}[{RATE}])))"
    board.add(board.lines("Failures by flow", "The ten flows that fail most.", (failing, "{{flow}}"), stacked=True))
    add_durations(board, semconv.FLOW_RUN_DURATION, _JOBS)
    in_progress = f"topk(10, sum by (flow) ({semconv.FLOW_RUNS_IN_PROGRESS}{{{_JOBS}}}))"
    board.add(board.lines("In progress", "The ten flows with most open runs.", (in_progress, "{{flow}}"), stacked=True))
    board.row("Retries, limits and schedules")
    tried = f"topk(10, sum by (flow) (increase({semconv.FLOW_RETRIES}{{{_JOBS}}}[{RATE}])))"
    tasks = f"topk(10, sum by (flow) (increase({semconv.TASK_RETRIES}{{{_JOBS}}}[{RATE}])))"
    lines = ((tried, "{{flow}}"), (tasks, "{{flow}}: its tasks"))
    board.add(board.lines("Retries", "The ten flows that are tried again most.", *lines, stacked=True), 8)
    waiting = f"topk(10, sum by (limit) (rate({semconv.LIMIT_WAIT}{{{_JOBS}}}[{RATE}])))"
    board.add(
        board.lines("Waiting for limits", "How many wait, on average.", (waiting, "{{limit}}"), stacked=True),
        8,
    )
    missed = f"sum by (schedule, reason) (increase({semconv.SCHEDULE_MISSED_RUNS}{{{_JOBS}}}[{RATE}]))"
    legend = "{{schedule}}: {{reason}}"
    board.add(board.lines("Missed runs", "Of schedules of otelflow serve.", (missed, legend), stacked=True), 8)
    board.row("Telemetry")
    dropped = f"sum by (signal, reason) (increase({semconv.TELEMETRY_DROPPED}{{{_JOBS}}}[{RATE}]))"
    board.add(board.lines("Lost telemetry", "What never arrived.", (dropped, "{{signal}}: {{reason}}")))
    errors = f"sum by (listener) (increase({semconv.LISTENER_ERRORS}{{{_JOBS}}}[{RATE}]))"
    board.add(board.lines("Errors of listeners", "Runs are not affected by them.", (errors, "{{listener}}")))
    return board


def _add_numbers(board: Dashboard) -> None:
    last = f"max by (job, flow) ({semconv.FLOW_LAST_RUN}{{{_JOBS}"
    failed = (
        f"count({last},{FAILING}}}) unless on (job, flow) "
        f"({last},{SUCCEEDED}}}) >= on (job, flow) {last},{FAILING}}}))) or vector(0)"
    )
    flows = f"count(group by (job, flow) ({semconv.FLOW_RUNS}{{{_JOBS}}}))"
    runs = f"sum(increase({semconv.FLOW_RUNS}{{{_JOBS}}}[1h]))"
    open_runs = f"sum({semconv.FLOW_RUNS_IN_PROGRESS}{{{_JOBS}}})"
    oldest = f"time() - min({semconv.FLOW_OLDEST_RUN}{{{_JOBS}}} != 0)"
    lost = f"sum(increase({semconv.TELEMETRY_DROPPED}{{{_JOBS}}}[1h]))"
    for panel in (
        board.number("Flows", "Flows that are known.", flows),
        board.number("Last run failed", "Flows whose last run failed.", failed, steps=_RED_FROM_ONE),
        board.number("Runs in the last hour", "Runs that ended.", runs),
        board.number("In progress", "Runs that are open.", open_runs),
        board.number("Oldest open run", "Since when a run is open.", oldest, unit="s"),
        board.number("Lost telemetry", "In the last hour.", lost, steps=_RED_FROM_ONE),
    ):
        board.add(panel, 4, 4)


def _table(board: Dashboard) -> dict[str, Any]:
    runs = f"sum by (job, flow) (increase({semconv.FLOW_RUNS}{{{_JOBS}}}[1d]))"
    failed = f"sum by (job, flow) (increase({semconv.FLOW_RUNS}{{{_JOBS},{FAILING}}}[1d]))"
    last = f"time() - max by (job, flow) ({semconv.FLOW_LAST_RUN}{{{_JOBS},"
    buckets = f"sum by (job, flow, le) (rate({semconv.FLOW_RUN_DURATION}_bucket{{{_JOBS}}}[1d]))"
    columns = {
        "Runs (1d)": (runs, "short"),
        "Failed (1d)": (failed, "short"),
        "Last success": (f"{last}{SUCCEEDED}}})", "s"),
        "Last failure": (f"{last}{FAILING}}})", "s"),
        "95 % within (1d)": (f"histogram_quantile(0.95, {buckets})", "s"),
        "Open": (f"sum by (job, flow) ({semconv.FLOW_RUNS_IN_PROGRESS}{{{_JOBS}}})", "short"),
        "Budget left (30d)": (budget_left(_JOBS), "percentunit"),
    }
    job, flow = "${__data.fields.job:percentencode}", "${__data.fields.flow:percentencode}"
    link = f"/d/{FLOW}?var-job={job}&var-flow={flow}&${{__url_time_range}}"
    return board.table(
        "Flows", "How long ago each flow succeeded and failed, and what it may still fail.", columns, link
    )


def _objectives(flows: tuple[Declared, ...]) -> str:
    """Return the objectives of *flows* as a table in Markdown."""
    rows = ["| Flow | Succeeds | Takes at most | Succeeds every |", "|---|---|---|---|"]
    for flow in flows:
        objective = flow.objective
        if objective is not None:
            success = percent(objective.success) if objective.success is not None else "-"
            duration = in_units(objective.duration) if objective.duration is not None else "-"
            every = in_units(objective.every) if objective.every is not None else "-"
            # So that neither Markdown nor HTML nor Grafana, which knows ``$job`` and ``[[job]]``, reads the name
            name = re.sub(r"[^\w \-.:/]|_(?=_)|(?<=_)_|^_|_$", lambda sign: f"&#{ord(sign[0])};", flow.name)
            rows.append(f"| {name} | {success} | {duration} | {every} |")
    return "\n".join(rows)
