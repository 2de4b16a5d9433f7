"""What more than one dashboard has: their uids, queries, panels and links."""

from typing import Final

from otelflow import semconv
from otelflow._core.flows.objective import DEFAULT_SUCCESS
from otelflow.generate._dashboards.dashboard import Dashboard
from otelflow.generate._promql import COUNTED, FAILING, OBJECTIVE

FLEET: Final = "otelflow-fleet"
FLOW: Final = "otelflow-flow"
TASK: Final = "otelflow-task"

#: How far a rate looks back: Grafana's own choice, from the width of a chart
RATE: Final = "$__rate_interval"


def budget_left(matchers: str) -> str:
    """Return the part of the failures allowed for 30 days that is left; 1 is all of it, below 0 is overdrawn."""
    failed = f"sum by (job, flow) (increase({semconv.FLOW_RUNS}{{{matchers},{FAILING}}}[30d]))"
    ended = f"sum by (job, flow) (increase({semconv.FLOW_RUNS}{{{matchers},{COUNTED}}}[30d])) > 0"
    flows = f"group by (flow) ({semconv.FLOW_RUNS}{{{matchers}}})"
    promised = f"(max by (flow) ({OBJECTIVE}:success) or {DEFAULT_SUCCESS} * {flows})"
    return f"1 - ({failed} / ({ended})) / on (flow) group_left () (1 - {promised})"


def add_runs_by_result(board: Dashboard, metric: str, matchers: str) -> None:
    """Add how many runs *metric* counts per second, by their results."""
    runs = f"sum by (result) (rate({metric}{{{matchers}}}[{RATE}]))"
    board.add(
        board.lines("Runs by result", "Runs that ended, per second.", (runs, "{{result}}"), unit="ops", stacked=True)
    )


def add_durations(board: Dashboard, metric: str, matchers: str) -> None:
    """Add how the durations in the histogram *metric* are distributed."""
    board.add(
        board.heatmap(
            "Durations",
            "How many runs took how long. Dots are single runs: click one to see its trace.",
            f"sum by (le) (increase({metric}_bucket{{{matchers}}}[{RATE}]))",
        )
    )


def add_quantiles(board: Dashboard, metric: str, matchers: str) -> None:
    """Add within which time half, nearly all and all but one in a hundred of the runs in *metric* end."""
    buckets = f"sum by (le) (rate({metric}_bucket{{{matchers}}}[{RATE}]))"
    shares = ((0.5, "50 %"), (0.95, "95 %"), (0.99, "99 %"))
    board.add(
        board.lines(
            "Half, 95 % and 99 % of the runs end within",
            "Dots are single runs: click one to see its trace.",
            *((f"histogram_quantile({share}, {buckets})", legend) for share, legend in shares),
            unit="s",
        )
    )


def add_traces_link(board: Dashboard, jaeger: str, metric: str, operation: str) -> None:
    """Offer a search in Jaeger for *operation* of the service that the chosen job is, without its namespace."""
    board.variable("service", f'label_values({metric}{{job="$job"}}, job)', many=False, part=r"/^(?:.*\/)?([^\/]+)$/")
    search = f"service=${{service:percentencode}}&operation={operation}"
    board.link("Traces", f"{jaeger.rstrip('/')}/search?{search}&lookback=6h&limit=20", elsewhere=True)
