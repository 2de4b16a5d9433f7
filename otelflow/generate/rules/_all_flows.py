"""The rules that serve every flow, also one that promises nothing."""

from collections.abc import Iterator
from typing import Any, Final

from otelflow._core.flows.declared import Declared
from otelflow.generate.rules._alert import (
    FAILING,
    IN_PROGRESS,
    LAST_RUN,
    NOT_COUNTED,
    OLDEST,
    RUNS,
    Alert,
    Scenario,
    matchers,
    quoted,
    runbook,
    series,
    time_of,
    traces_link,
    without,
    words_of,
)

#: Over how long shares are taken, and how often: reading days of samples every ten seconds would help nobody.
WINDOWS: Final = {"5m": "", "30m": "", "1h": "1m", "6h": "1m", "3d": "2m"}
#: So many runs in a window make a share of them mean something; below, the last run counts.
BUSY: Final = 10

_STUCK: Final = 6 * 3_600.0
_REMEMBERED: Final = 2 * 86_400.0
#: So many open runs are too many where nobody knows what is usual.
_MANY: Final = 100
_OPEN: Final = "otelflow:flow_runs_in_progress:sum"
_LAST: Final = {f'=~"{FAILING}"': "otelflow:flow_last_failure:max", '="success"': "otelflow:flow_last_success:max"}


def memories() -> Iterator[dict[str, Any]]:
    """Yield the recording rules that remember what a process showed before it was replaced."""
    for result, record in _LAST.items():
        yield {"record": record, "expr": f"max by (job, flow) ({_shown(result)})"}
    yield {"record": _OPEN, "expr": f"sum by (job, flow) ({IN_PROGRESS})"}


def _shown(result: str) -> str:
    """Return when the last runs with *result* ended, as processes say or said at most two minutes ago."""
    return f"max_over_time({LAST_RUN}{{result{result}}}[2m])"


def ratios(window: str) -> Iterator[dict[str, Any]]:
    """Yield the recording rules for one *window*, on which the alerts about shares of runs rest."""
    counted = f'{RUNS}{{result!~"{NOT_COUNTED}"}}'
    yield {
        "record": f"otelflow:flow_failures:ratio_rate{window}",
        "expr": (
            f'sum by (job, flow) (rate({RUNS}{{result=~"{FAILING}"}}[{window}]))\n'
            f"/\n(sum by (job, flow) (rate({counted}[{window}])) > 0)\n"
        ),
    }
    if WINDOWS[window]:
        yield {
            "record": f"otelflow:flow_runs:increase{window}",
            "expr": f"sum by (job, flow) (increase({counted}[{window}]))",
        }


def alerts(flows: tuple[Declared, ...], jaeger: str, example: str) -> Iterator[Alert]:
    """Yield the alerts for all flows; *flows* have promises that take the place of some."""
    yield _last_run_failed(flows, jaeger, example)
    timed = [flow.name for flow in flows if flow.objective is not None and flow.objective.duration is not None]
    yield stuck(without(timed), _STUCK, flows, jaeger, example)
    yield _piling_up(flows, jaeger, example)


def _last_run_failed(flows: tuple[Declared, ...], jaeger: str, example: str) -> Alert:
    failed, succeeded = (_remembered(result, flows) for result in _LAST)
    return Alert(
        "FlowLastRunFailed",
        # Timestamps, not counters: a job that pushes once always reads 1, and this resolves with the next success.
        f"({failed} > 0)\nunless on (job, flow)\n(\n    {succeeded}\n  >= on (job, flow)\n    {failed}\n)\n"
        # Near the limit the count goes up and down; the highest of an hour does not.
        f"unless on (job, flow)\nmax_over_time(otelflow:flow_runs:increase1h[1h]) >= {BUSY}\n",
        "",
        "page",
        "The last run of flow {{ $labels.flow }} ({{ $labels.job }}) failed.",
        "It failed at {{ $value | humanizeTimestamp }} and has not succeeded since.",
        runbook(
            "Open the failing trace, read the exception of its innermost red span, and run the flow again; "
            "the alert resolves with the next success.",
            flows,
        ),
        traces_link(jaeger, failing=True),
        (_failed_scenario(example), _replaced_scenario(example), _busy_scenario(example), _at_the_limit(example)),
    )


def _remembered(result: str, flows: tuple[Declared, ...]) -> str:
    """Return when the last run with *result* ended, also by a process that is gone, as long as it matters."""
    seldom = {
        flow.name: 2 * flow.objective.every
        for flow in flows
        if flow.objective and flow.objective.every and 2 * flow.objective.every > _REMEMBERED
    }
    record = _LAST[result]
    pieces = [_shown(result), f"max_over_time({record}{matchers(without(seldom))}[{time_of(_REMEMBERED)}])"]
    for name, seconds in seldom.items():
        pieces.append(f"max_over_time({record}{{flow={quoted(name)}}}[{time_of(seconds)}])")
    return f"max by (job, flow) ({' or '.join(pieces)})"


def _last_run(flow: str, result: str, **labels: str) -> str:
    return series(LAST_RUN, flow=flow, result=result, **labels)


def _failed_scenario(flow: str) -> Scenario:
    never, quiet, stopped = f"{flow}-first", f"{flow}-quiet", f"{flow}-stopped"
    return Scenario(
        "after a failure, until a success; not for a cancelled run, nor for a flow that has not run",
        "1m",
        {
            _last_run(flow, "success"): "60x14 900x15",
            _last_run(flow, "failure"): "_x5 300x25",
            _last_run(never, "timeout"): "120x30",
            _last_run(quiet, "failure"): "0x30",
            _last_run(stopped, "success"): "60x30",
            _last_run(stopped, "cancellation"): "120x30",
            _last_run(never, "success", job="office"): "120x30",
        },
        {"4m": (never,), "10m": (flow, never), "15m": (never,), "20m": (never,)},
    )


def _replaced_scenario(flow: str) -> Scenario:
    unseen, repaired = f"{flow}-unseen", f"{flow}-repaired"
    return Scenario(
        "until a success, also when the process is replaced or not reached; not when that of the success is replaced",
        "1m",
        {
            _last_run(flow, "failure", instance="a"): "_x5 300x10 stale",
            _last_run(unseen, "failure", instance="a"): "_x5 300x20 stale 300x20",
            _last_run(repaired, "failure", instance="a"): "_x5 300x100",
            _last_run(repaired, "success", instance="b"): "_x10 600x9 stale",
        },
        {
            "8m": (flow, repaired, unseen),
            "15m": (flow, unseen),
            **{f"{minute}m": (flow, unseen) for minute in (16, 17, 18, 25, 26, 27, 28)},
            "40m": (flow, unseen),
            "150m": (flow, unseen),
        },
    )


def _busy_scenario(flow: str) -> Scenario:
    return Scenario(
        "not for one failure among many runs, which are judged by their share",
        "1m",
        {
            series(LAST_RUN, flow=flow, result="success"): "60+60x59 3600x60",
            series(LAST_RUN, flow=flow, result="failure"): "_x59 3660x60",
            series(RUNS, flow=flow, result="success"): "0+1x60 60x60",
            series(RUNS, flow=flow, result="failure"): "0x59 1x60",
        },
        {"62m": ()},
    )


def _at_the_limit(flow: str) -> Scenario:
    ends = range(60, 216, 6)
    return Scenario(
        "not again and again for a flow that fails every six minutes, which is now above that limit and now below",
        "1m",
        {
            _last_run(flow, "failure"): "_x60 " + " ".join(f"{60 * end}x5" for end in ends),
            series(RUNS, flow=flow, result="failure"): "0x59 " + " ".join(f"{end // 6 - 9}x5" for end in ends),
        },
        {"70m": (flow,), **{f"{minute}m": () for minute in range(130, 210, 5)}},
    )


def stuck(which: str, seconds: float, flows: tuple[Declared, ...], jaeger: str, example: str) -> Alert:
    """Return the alert that a run of a flow that matches *which* is open for too long."""
    late = 600 - round(seconds)  # so that it is too late ten minutes into the scenario
    return Alert(
        "FlowRunStuck",
        f"time() - min by (job, flow) ({OLDEST}{matchers(which)} != 0) > {seconds:.10g}",
        "2m",
        "ticket",
        "A run of flow {{ $labels.flow }} ({{ $labels.job }}) has been open for {{ $value | humanizeDuration }}.",
        f"Runs are expected to end within {words_of(seconds)}.",
        runbook(
            "Look at what the process does (py-spy dump, its last log lines); end it if nothing moves. "
            "A process that was killed may have left the run open: start it again.",
            flows,
        ),
        traces_link(jaeger, failing=False, lookback="12h"),
        (
            Scenario(
                "when one run stays open, also beside an idle process and one that gets through its runs",
                "1m",
                {
                    series(OLDEST, flow=example, instance="a"): f"{late}x30",
                    series(OLDEST, flow=example, instance="b"): "0+60x30",
                    series(OLDEST, flow=example, instance="idle"): "0x30",
                },
                {"9m": (), "20m": (example,)},
            ),
            Scenario(
                "not while runs come and go, nor when none is open",
                "1m",
                {series(OLDEST, flow=example, instance="b"): f"{late}+60x30", series(OLDEST, flow=example): "0x30"},
                {"20m": ()},
            ),
        ),
    )


def _piling_up(flows: tuple[Declared, ...], jaeger: str, example: str) -> Alert:
    now = f"sum by (job, flow) ({IN_PROGRESS})"
    return Alert(
        "FlowRunsPilingUp",
        f"(\n  {now} > {BUSY}\n  and on (job, flow)\n  {now}\n"
        f"    > 2 * quantile_over_time(0.5, {_OPEN}[1d] offset 1h)\n"
        # What happens every day at this hour is no news.
        f"  unless on (job, flow)\n  {now}\n    <= 2 * max_over_time({_OPEN}[2h] offset 23h)\n)\nor\n"
        f"({now} > {_MANY} unless on (job, flow) {_OPEN} offset 1d)\n",
        "10m",
        "ticket",
        "Runs of flow {{ $labels.flow }} ({{ $labels.job }}) pile up: {{ $value }} are open.",
        f"More than {BUSY} are open, and more than twice as many as usual in the last day; or more than {_MANY}, and "
        "yesterday is not known.",
        runbook(
            "Compare how long runs take now with an hour ago; look for a slow dependency in the open traces, "
            "or start fewer runs at once.",
            flows,
        ),
        traces_link(jaeger, failing=False, lookback="1h"),
        (_ever_more_scenario(example), _from_the_start(example)),
    )


def _ever_more_scenario(flow: str) -> Scenario:
    return Scenario(
        "when ever more are open; not for a flow that is always busy, nor for three runs instead of one",
        "1m",
        {
            series(IN_PROGRESS, flow=flow, instance="a"): "2x60 2+1x60",
            series(IN_PROGRESS, flow=flow, instance="b"): "2x60 2+1x60",
            series(IN_PROGRESS, flow=f"{flow}-busy"): "50x121",
            series(IN_PROGRESS, flow=f"{flow}-small"): "1x60 3x61",
        },
        {"60m": (), "85m": (flow,), "120m": (flow,)},
    )


def _from_the_start(flow: str) -> Scenario:
    many = f"{flow}-many"
    return Scenario(
        "as long as they do, also from the start",
        "1m",
        {
            series(IN_PROGRESS, flow=flow): "0+1x220",
            series(IN_PROGRESS, flow=many): "_x5 500x215",
        },
        {"10m": (), "30m": (many,), "100m": (flow, many), "200m": (flow, many)},
    )
