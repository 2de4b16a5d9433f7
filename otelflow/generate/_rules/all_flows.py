"""The rules that serve every flow, also one that promises nothing."""

from collections.abc import Iterator
from typing import Any, Final

from otelflow import semconv
from otelflow._core.text.durations import in_units
from otelflow.generate._numbers import promql_duration
from otelflow.generate._promql import (
    COUNTED,
    FAILING,
    FAILURE_RATIO,
    LAST_FAILURE,
    LAST_SUCCESS,
    OPEN_RUNS,
    RUNS_INCREASE,
    SUCCEEDED,
    other_than,
    quote,
    selector,
)
from otelflow.generate._rules.alert import Alert, Program, Scenario, series
from otelflow.generate._rules.annotations import runbook, traces_link

#: Over how long shares are taken, and how often: to read days of samples every ten seconds would cost too much.
WINDOWS: Final = {"5m": "", "30m": "", "1h": "1m", "6h": "1m", "3d": "2m"}
#: So many runs in a window make a share of them mean something; below, the last run counts.
BUSY: Final = 10

_STUCK_SECONDS: Final = 6 * 3_600.0
_REMEMBERED_SECONDS: Final = 2 * 86_400.0
#: So many open runs are too many as long as yesterday's are not known.
_MANY: Final = 100


def recording_rules() -> Iterator[dict[str, Any]]:
    """Yield the recording rules that remember what a process reported before it was replaced."""
    for record, ending in ((LAST_FAILURE, FAILING), (LAST_SUCCESS, SUCCEEDED)):
        yield {"record": record, "expr": f"max by (job, flow) ({_last_ended(ending)})"}
    yield {"record": OPEN_RUNS, "expr": f"sum by (job, flow) ({semconv.FLOW_RUNS_IN_PROGRESS})"}


def _last_ended(ending: str) -> str:
    """Return when the last runs with this *ending* ended, as processes reported at most two minutes ago."""
    return f"max_over_time({semconv.FLOW_LAST_RUN}{{{ending}}}[2m])"


def ratios(window: str) -> Iterator[dict[str, Any]]:
    """Yield the recording rules for one *window*, on which the alerts about shares of runs rest."""
    counted = f"{semconv.FLOW_RUNS}{{{COUNTED}}}"
    yield {
        "record": FAILURE_RATIO + window,
        "expr": (
            f"sum by (job, flow) (rate({semconv.FLOW_RUNS}{{{FAILING}}}[{window}]))\n"
            f"/\n(sum by (job, flow) (rate({counted}[{window}])) > 0)\n"
        ),
    }
    if WINDOWS[window]:
        yield {"record": RUNS_INCREASE + window, "expr": f"sum by (job, flow) (increase({counted}[{window}]))"}


def alerts(program: Program) -> Iterator[Alert]:
    """Yield the alerts for all flows but those whose objective takes the place of one."""
    yield _last_run_failed(program)
    timed = [flow.name for flow, objective in program.objectives if objective.duration is not None]
    yield stuck(program, other_than(timed), _STUCK_SECONDS, program.example)
    yield _piling_up(program)


def _last_run_failed(program: Program) -> Alert:
    seldom = {
        flow.name: 2 * objective.every
        for flow, objective in program.objectives
        if objective.every and 2 * objective.every > _REMEMBERED_SECONDS
    }

    def remembered(ending: str, record: str) -> str:
        """Return when the last run ended so, also by a process that is gone, as long as it matters."""
        pieces = [
            _last_ended(ending),
            f"max_over_time({record}{selector(other_than(seldom))}[{promql_duration(_REMEMBERED_SECONDS)}])",
            *(f"max_over_time({record}{{flow={quote(name)}}}[{promql_duration(s)}])" for name, s in seldom.items()),
        ]
        return f"max by (job, flow) ({' or '.join(pieces)})"

    failed, succeeded = remembered(FAILING, LAST_FAILURE), remembered(SUCCEEDED, LAST_SUCCESS)
    return Alert(
        "FlowLastRunFailed",
        # Timestamps, not counters: a job that pushes once always reads 1, and this resolves with the next success.
        f"({failed} > 0)\nunless on (job, flow)\n(\n    {succeeded}\n  >= on (job, flow)\n    {failed}\n)\n"
        # Near the limit the count goes up and down; the highest of an hour does not.
        f"unless on (job, flow)\nmax_over_time({RUNS_INCREASE}1h[1h]) >= {BUSY}\n",
        lasts="",
        severity="page",
        summary="The last run of flow {{ $labels.flow }} ({{ $labels.job }}) failed.",
        description="It failed at {{ $value | humanizeTimestamp }} and has not succeeded since.",
        runbook=runbook(
            "Open the failing trace, read the exception of its innermost red span, and run the flow again; "
            "the alert resolves with the next success.",
            program.flows,
        ),
        traces=traces_link(program.jaeger, failing=True),
        scenarios=(*_last_run_scenarios(program.example), *_many_runs_scenarios(program.example)),
    )


def _last_run_scenarios(flow: str) -> tuple[Scenario, ...]:
    never, unseen, repaired = f"{flow}-first", f"{flow}-unseen", f"{flow}-repaired"
    return (
        Scenario(
            "after a failure, until a success; not for a cancelled run, nor for a flow that has not run",
            "1m",
            {
                _last_run(flow, semconv.SUCCESS): "60x14 900x15",
                _last_run(flow, semconv.FAILURE): "_x5 300x25",
                _last_run(never, semconv.TIMEOUT): "120x30",
                _last_run(f"{flow}-quiet", semconv.FAILURE): "0x30",
                _last_run(f"{flow}-stopped", semconv.SUCCESS): "60x30",
                _last_run(f"{flow}-stopped", semconv.CANCELLATION): "120x30",
                _last_run(never, semconv.SUCCESS, job="office"): "120x30",
            },
            {"4m": (never,), "10m": (flow, never), "15m": (never,), "20m": (never,)},
        ),
        Scenario(
            "until a success, also when the process is replaced or not reached; "
            "not when that of the success is replaced",
            "1m",
            {
                _last_run(flow, semconv.FAILURE, instance="a"): "_x5 300x10 stale",
                _last_run(unseen, semconv.FAILURE, instance="a"): "_x5 300x20 stale 300x20",
                _last_run(repaired, semconv.FAILURE, instance="a"): "_x5 300x100",
                _last_run(repaired, semconv.SUCCESS, instance="b"): "_x10 600x9 stale",
            },
            {
                "8m": (flow, repaired, unseen),
                **{f"{minute}m": (flow, unseen) for minute in (15, 16, 17, 18, 25, 26, 27, 28, 40, 150)},
            },
        ),
    )


def _many_runs_scenarios(flow: str) -> tuple[Scenario, ...]:
    succeeded, failed = (
        series(semconv.FLOW_RUNS, flow=flow, result=result) for result in (semconv.SUCCESS, semconv.FAILURE)
    )
    ends = range(60, 216, 6)
    return (
        Scenario(
            "not for one failure among many runs, which are judged by their share",
            "1m",
            {
                _last_run(flow, semconv.SUCCESS): "60+60x59 3600x60",
                _last_run(flow, semconv.FAILURE): "_x59 3660x60",
                succeeded: "0+1x60 60x60",
                failed: "0x59 1x60",
            },
            {"62m": ()},
        ),
        Scenario(
            "not again and again for a flow that fails every six minutes, which is now above that limit and now below",
            "1m",
            {
                _last_run(flow, semconv.FAILURE): "_x60 " + " ".join(f"{60 * end}x5" for end in ends),
                failed: "0x59 " + " ".join(f"{end // 6 - 9}x5" for end in ends),
            },
            {"70m": (flow,), **{f"{minute}m": () for minute in range(130, 210, 5)}},
        ),
    )


def _last_run(flow: str, result: str, **labels: str) -> str:
    return series(semconv.FLOW_LAST_RUN, flow=flow, result=result, **labels)


def stuck(program: Program, matcher: str, seconds: float, example: str) -> Alert:
    """Return the alert that a run of a flow that fits *matcher*, such as *example*, is open for too long."""
    oldest = semconv.FLOW_OLDEST_RUN
    late = 600 - round(seconds)  # so that it is too late ten minutes into the scenario
    return Alert(
        "FlowRunStuck",
        f"time() - min by (job, flow) ({oldest}{selector(matcher)} != 0) > {seconds:.10g}",
        lasts="2m",
        severity="ticket",
        summary="A run of flow {{ $labels.flow }} ({{ $labels.job }}) has been open for "
        "{{ $value | humanizeDuration }}.",
        description=f"Runs are expected to end within {in_units(seconds)}.",
        runbook=runbook(
            "Look at what the process does (py-spy dump, its last log lines); end it if nothing moves. "
            "A process that was killed may have left the run open: start it again.",
            program.flows,
        ),
        traces=traces_link(program.jaeger, failing=False, lookback="12h"),
        scenarios=(
            Scenario(
                "when one run stays open, also beside an idle process and one that gets through its runs",
                "1m",
                {
                    series(oldest, flow=example, instance="a"): f"{late}x30",
                    series(oldest, flow=example, instance="b"): "0+60x30",
                    series(oldest, flow=example, instance="idle"): "0x30",
                },
                {"9m": (), "20m": (example,)},
            ),
            Scenario(
                "not while runs come and go, nor when none is open",
                "1m",
                {series(oldest, flow=example, instance="b"): f"{late}+60x30", series(oldest, flow=example): "0x30"},
                {"20m": ()},
            ),
        ),
    )


def _piling_up(program: Program) -> Alert:
    metric, flow = semconv.FLOW_RUNS_IN_PROGRESS, program.example
    now = f"sum by (job, flow) ({metric})"
    return Alert(
        "FlowRunsPilingUp",
        f"(\n  {now} > {BUSY}\n  and on (job, flow)\n  {now}\n"
        f"    > 2 * quantile_over_time(0.5, {OPEN_RUNS}[1d] offset 1h)\n"
        # What happens every day at this hour is no news.
        f"  unless on (job, flow)\n  {now}\n    <= 2 * max_over_time({OPEN_RUNS}[2h] offset 23h)\n)\nor\n"
        f"({now} > {_MANY} unless on (job, flow) {OPEN_RUNS} offset 1d)\n",
        lasts="10m",
        severity="ticket",
        summary="Runs of flow {{ $labels.flow }} ({{ $labels.job }}) pile up: {{ $value }} are open.",
        description=f"More than {BUSY} are open, and more than twice as many as usual in the last day; "
        f"or more than {_MANY}, and yesterday is not known.",
        runbook=runbook(
            "Compare how long runs take now with an hour ago; look for a slow dependency in the open traces, "
            "or start fewer runs at once.",
            program.flows,
        ),
        traces=traces_link(program.jaeger, failing=False, lookback="1h"),
        scenarios=(
            Scenario(
                "when ever more are open; not for a flow that is always busy, nor for three runs instead of one",
                "1m",
                {
                    **{series(metric, flow=flow, instance=process): "2x60 2+1x60" for process in "ab"},
                    series(metric, flow=f"{flow}-busy"): "50x121",
                    series(metric, flow=f"{flow}-small"): "1x60 3x61",
                },
                {"60m": (), "85m": (flow,), "120m": (flow,)},
            ),
            Scenario(
                "as long as they do, also from the start",
                "1m",
                {series(metric, flow=flow): "0+1x220", series(metric, flow=f"{flow}-many"): "_x5 500x215"},
                {"10m": (), "30m": (f"{flow}-many",), "100m": (flow, f"{flow}-many"), "200m": (flow, f"{flow}-many")},
            ),
        ),
    )
