"""Dashboards: the fleet, one flow, one task."""

from typing import Any, Final

from otelflow import semconv
from otelflow._core.flows.declared import Declared
from otelflow._core.flows.objective import DEFAULT_SUCCESS
from otelflow.generate.dashboards._panels import Board
from otelflow.generate.rules._alert import FAILING, NOT_COUNTED, percent, words_of

FLEET: Final = "otelflow-fleet"
FLOW: Final = "otelflow-flow"
TASK: Final = "otelflow-task"

_RATE: Final = "$__rate_interval"
_RED: Final = ((None, "green"), (1, "red"))
_JOBS: Final = 'job=~"$job"'
_FLOW: Final = 'job="$job",flow="$flow"'
_TASK: Final = 'job="$job",flow="$flow",task="$task"'


def dashboards(flows: tuple[Declared, ...], prometheus: str, jaeger: str) -> dict[str, dict[str, Any]]:
    """Return every dashboard by file name."""
    boards = (_fleet(flows, prometheus), _flow(prometheus, jaeger), _task(prometheus, jaeger))
    return {f"{board.uid}.json": board.as_json() for board in boards}


def _fleet(flows: tuple[Declared, ...], prometheus: str) -> Board:
    board = Board(FLEET, "Flows: the fleet", "Every flow of every service.", prometheus)
    board.variable("job", f"label_values({semconv.FLOW_RUNS}, job)", many=True)
    _fleet_numbers(board)
    board.add(_fleet_table(board), 24, 10)
    if any(flow.objective for flow in flows):
        board.add(board.text("What is promised", _promises(flows)), 24, 6)
    board.row("Runs")
    runs = f"sum by (result) (rate({semconv.FLOW_RUNS}{{{_JOBS}}}[{_RATE}]))"
    board.add(
        board.lines("Runs by result", "Runs that ended, per second.", (runs, "{{result}}"), unit="ops", stacked=True)
    )
    failing = f'topk(10, sum by (flow) (increase({semconv.FLOW_RUNS}{{{_JOBS},result=~"{FAILING}"}}[{_RATE}])))'
    board.add(board.lines("Failures by flow", "The ten flows that fail most.", (failing, "{{flow}}"), stacked=True))
    board.add(_durations(board, semconv.FLOW_RUN_DURATION, _JOBS))
    in_progress = f"topk(10, sum by (flow) ({semconv.FLOW_RUNS_IN_PROGRESS}{{{_JOBS}}}))"
    board.add(board.lines("In progress", "The ten flows with most open runs.", (in_progress, "{{flow}}"), stacked=True))
    board.row("Telemetry")
    dropped = f"sum by (signal, reason) (increase({semconv.TELEMETRY_DROPPED}{{{_JOBS}}}[{_RATE}]))"
    board.add(board.lines("Lost telemetry", "What never arrived.", (dropped, "{{signal}}: {{reason}}")))
    errors = f"sum by (listener) (increase({semconv.LISTENER_ERRORS}{{{_JOBS}}}[{_RATE}]))"
    board.add(board.lines("Errors of listeners", "Runs are not affected by them.", (errors, "{{listener}}")))
    return board


def _fleet_numbers(board: Board) -> None:
    last = f"max by (job, flow) ({semconv.FLOW_LAST_RUN}{{{_JOBS}"
    failed = (
        f'count({last},result=~"{FAILING}"}}) unless on (job, flow) '
        f'({last},result="success"}}) >= on (job, flow) {last},result=~"{FAILING}"}}))) or vector(0)'
    )
    runs = f"sum(increase({semconv.FLOW_RUNS}{{{_JOBS}}}[1h]))"
    oldest = f"time() - min({semconv.FLOW_OLDEST_RUN}{{{_JOBS}}} != 0)"
    open_runs = f"sum({semconv.FLOW_RUNS_IN_PROGRESS}{{{_JOBS}}})"
    lost = f"sum(increase({semconv.TELEMETRY_DROPPED}{{{_JOBS}}}[1h]))"
    board.add(
        board.number("Flows", "Flows that are known.", f"count(group by (job, flow) ({semconv.FLOW_RUNS}{{{_JOBS}}}))"),
        4,
        4,
    )
    board.add(board.number("Last run failed", "Flows whose last run failed.", failed, steps=_RED), 4, 4)
    board.add(board.number("Runs in the last hour", "Runs that ended.", runs), 4, 4)
    board.add(board.number("In progress", "Runs that are open.", open_runs), 4, 4)
    board.add(board.number("Oldest open run", "Since when a run is open.", oldest, unit="s"), 4, 4)
    board.add(board.number("Lost telemetry", "In the last hour.", lost, steps=_RED), 4, 4)


def _fleet_table(board: Board) -> dict[str, Any]:
    failed = f'sum by (job, flow) (increase({semconv.FLOW_RUNS}{{{_JOBS},result=~"{FAILING}"}}[1d]))'
    last = f"time() - max by (job, flow) ({semconv.FLOW_LAST_RUN}{{{_JOBS},result="
    quantile = (
        f"histogram_quantile(0.95, sum by (job, flow, le) (rate({semconv.FLOW_RUN_DURATION}_bucket{{{_JOBS}}}[1d])))"
    )
    columns = {
        "Runs (1d)": (f"sum by (job, flow) (increase({semconv.FLOW_RUNS}{{{_JOBS}}}[1d]))", "short"),
        "Failed (1d)": (failed, "short"),
        "Last success": (f'{last}"success"}})', "s"),
        "Last failure": (f'{last}~"{FAILING}"}})', "s"),
        "95 % within (1d)": (quantile, "s"),
        "Open": (f"sum by (job, flow) ({semconv.FLOW_RUNS_IN_PROGRESS}{{{_JOBS}}})", "short"),
        "Budget left (30d)": (_budget_left(_JOBS), "percentunit"),
    }
    link = f"/d/{FLOW}?var-job=${{__data.fields.job}}&var-flow=${{__data.fields.flow}}&${{__url_time_range}}"
    return board.table(
        "Flows", "How long ago each flow succeeded and failed, and what it may still fail.", columns, link
    )


def _budget_left(which: str) -> str:
    """Return the part of the failures allowed for 30 days that is left; 1 is all of it, below 0 is overdrawn."""
    failed = f'sum by (job, flow) (increase({semconv.FLOW_RUNS}{{{which},result=~"{FAILING}"}}[30d]))'
    ended = f'sum by (job, flow) (increase({semconv.FLOW_RUNS}{{{which},result!~"{NOT_COUNTED}"}}[30d])) > 0'
    known = f"group by (flow) ({semconv.FLOW_RUNS}{{{which}}})"
    promised = f"(max by (flow) (otelflow:flow_objective:success) or {DEFAULT_SUCCESS} * {known})"
    return f"1 - ({failed} / ({ended})) / on (flow) group_left () (1 - {promised})"


def _promises(flows: tuple[Declared, ...]) -> str:
    rows = ["| Flow | Succeeds | Takes at most | Succeeds every |", "|---|---|---|---|"]
    for flow in flows:
        promise = flow.objective
        if promise is not None:
            succeeds = percent(promise.success) if promise.success is not None else "-"
            lasts = words_of(promise.duration) if promise.duration is not None else "-"
            every = words_of(promise.every) if promise.every is not None else "-"
            rows.append(f"| {flow.name.replace('|', '&#124;')} | {succeeds} | {lasts} | {every} |")
    return "\n".join(rows)


def _durations(board: Board, metric: str, which: str) -> dict[str, Any]:
    return board.heatmap(
        "Durations",
        "How many runs took how long. Dots are single runs: click one to see its trace.",
        f"sum by (le) (increase({metric}_bucket{{{which}}}[{_RATE}]))",
    )


def _quantiles(board: Board, metric: str, which: str) -> dict[str, Any]:
    def quantile(share: float) -> str:
        return f"histogram_quantile({share}, sum by (le) (rate({metric}_bucket{{{which}}}[{_RATE}])))"

    return board.lines(
        "Half, 95 % and 99 % of the runs end within",
        "Dots are single runs: click one to see its trace.",
        (quantile(0.5), "50 %"),
        (quantile(0.95), "95 %"),
        (quantile(0.99), "99 %"),
        unit="s",
    )


def _flow(prometheus: str, jaeger: str) -> Board:
    board = Board(FLOW, "Flows: one flow", "How one flow does, and each of its tasks.", prometheus)
    board.variable("job", f"label_values({semconv.FLOW_RUNS}, job)", many=False)
    board.variable("flow", f'label_values({semconv.FLOW_RUNS}{{job="$job"}}, flow)', many=False)
    board.link("All flows", f"/d/{FLEET}")
    _traces(board, jaeger, semconv.FLOW_RUNS, "flow%20${flow:percentencode}")
    _flow_numbers(board)
    board.row("Runs")
    runs = f"sum by (result) (rate({semconv.FLOW_RUNS}{{{_FLOW}}}[{_RATE}]))"
    board.add(
        board.lines("Runs by result", "Runs that ended, per second.", (runs, "{{result}}"), unit="ops", stacked=True)
    )
    board.add(_durations(board, semconv.FLOW_RUN_DURATION, _FLOW))
    board.add(_quantiles(board, semconv.FLOW_RUN_DURATION, _FLOW))
    in_progress = f"sum({semconv.FLOW_RUNS_IN_PROGRESS}{{{_FLOW}}})"
    board.add(board.lines("In progress", "Runs that are open.", (in_progress, "open")))
    _objectives(board)
    _tasks_of_flow(board)
    return board


def _traces(board: Board, jaeger: str, runs: str, operation: str) -> None:
    """Offer a search in Jaeger for *operation* of the service that the chosen job is, without its namespace."""
    board.variable("service", f'label_values({runs}{{job="$job"}}, job)', many=False, part=r"/^(?:.*\/)?([^\/]+)$/")
    what = f"service=${{service:percentencode}}&operation={operation}"
    board.link("Traces", f"{jaeger.rstrip('/')}/search?{what}&lookback=6h&limit=20", elsewhere=True)


def _flow_numbers(board: Board) -> None:
    last = f"time() - max({semconv.FLOW_LAST_RUN}{{{_FLOW},result="
    share = (
        f'sum(increase({semconv.FLOW_RUNS}{{{_FLOW},result="success"}}[1d])) / '
        f'(sum(increase({semconv.FLOW_RUNS}{{{_FLOW},result!~"{NOT_COUNTED}"}}[1d])) > 0)'
    )
    oldest = f"time() - min({semconv.FLOW_OLDEST_RUN}{{{_FLOW}}} != 0)"
    budget = ((None, "red"), (0, "orange"), (0.25, "green"))
    board.add(board.number("Last success", "How long ago.", f'{last}"success"}})', unit="s"), 4, 4)
    board.add(board.number("Last failure", "How long ago.", f'{last}~"{FAILING}"}})', unit="s"), 4, 4)
    board.add(board.number("Succeeded (1d)", "Of the runs that ended.", share, unit="percentunit"), 4, 4)
    board.add(board.number("Runs (1d)", "That ended.", f"sum(increase({semconv.FLOW_RUNS}{{{_FLOW}}}[1d]))"), 4, 4)
    board.add(board.number("Oldest open run", "Since when it is open.", oldest, unit="s"), 4, 4)
    left = f"min({_budget_left(_FLOW)})"
    board.add(
        board.number("Budget left (30d)", "Failures still allowed.", left, unit="percentunit", steps=budget), 4, 4
    )


def _objectives(board: Board) -> None:
    board.row("Objectives")
    burning = [
        (f"max(otelflow:flow_failures:ratio_rate{window}{{{_FLOW}}})", f"failed, {window}")
        for window in ("5m", "1h", "6h", "3d")
    ]
    promised = ('1 - max(otelflow:flow_objective:success{flow="$flow"})', "allowed")
    board.add(
        board.lines(
            "Share of runs that fail",
            "Above what is allowed, the budget shrinks.",
            *burning,
            promised,
            unit="percentunit",
        )
    )
    slow = [
        (f"max(otelflow:flow_slow:ratio_rate{window}{{{_FLOW}}})", f"too slow, {window}")
        for window in ("1h", "6h", "3d")
    ]
    board.add(
        board.lines(
            "Share of runs that take too long",
            "For flows that promise a duration.",
            *slow,
            promised,
            unit="percentunit",
        )
    )


def _tasks_of_flow(board: Board) -> None:
    board.row("Tasks")
    failures = f"sum by (task, error_type) (increase({semconv.TASK_FAILURES}{{{_FLOW}}}[{_RATE}]))"
    board.add(
        board.lines(
            "Failures of tasks", "By task and type of error.", (failures, "{{task}}: {{error_type}}"), stacked=True
        )
    )
    by_task = f"sum by (task, le) (rate({semconv.TASK_RUN_DURATION}_bucket{{{_FLOW}}}[{_RATE}]))"
    slowest = f"topk(10, histogram_quantile(0.95, {by_task}))"
    board.add(board.lines("Slowest tasks", "95 % of their runs end within.", (slowest, "{{task}}"), unit="s"))
    runs = f"topk(10, sum by (task) (rate({semconv.TASK_RUNS}{{{_FLOW}}}[{_RATE}])))"
    board.add(
        board.lines("Runs of tasks", "Runs that ended, per second.", (runs, "{{task}}"), unit="ops", stacked=True), 24
    )


def _task(prometheus: str, jaeger: str) -> Board:
    board = Board(TASK, "Flows: one task", "How one task of one flow does.", prometheus)
    board.variable("job", f"label_values({semconv.TASK_RUNS}, job)", many=False)
    board.variable("flow", f'label_values({semconv.TASK_RUNS}{{job="$job"}}, flow)', many=False)
    board.variable("task", f'label_values({semconv.TASK_RUNS}{{job="$job",flow="$flow"}}, task)', many=False)
    board.link("All flows", f"/d/{FLEET}")
    board.link("Its flow", f"/d/{FLOW}?var-job=$job&var-flow=$flow")
    _traces(board, jaeger, semconv.TASK_RUNS, "task%20${task:percentencode}")
    runs = f"sum by (result) (rate({semconv.TASK_RUNS}{{{_TASK}}}[{_RATE}]))"
    board.add(
        board.lines("Runs by result", "Runs that ended, per second.", (runs, "{{result}}"), unit="ops", stacked=True)
    )
    board.add(_durations(board, semconv.TASK_RUN_DURATION, _TASK))
    failures = f"sum by (error_type) (increase({semconv.TASK_FAILURES}{{{_TASK}}}[{_RATE}]))"
    board.add(
        board.lines("Failures by type of error", "What its runs raised.", (failures, "{{error_type}}"), stacked=True)
    )
    board.add(_quantiles(board, semconv.TASK_RUN_DURATION, _TASK))
    return board
