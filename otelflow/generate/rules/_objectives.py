"""The rules that an objective adds: error budgets, dead man's switches, runs that take too long."""

from collections.abc import Iterator
from typing import Any, Final

from otelflow import semconv
from otelflow._core.flows.declared import Declared
from otelflow._core.flows.objective import DEFAULT_SUCCESS, Objective
from otelflow.generate.rules._alert import (
    LAST_RUN,
    NOT_COUNTED,
    RUNS,
    Alert,
    Scenario,
    matchers,
    number,
    percent,
    quoted,
    runbook,
    series,
    time_of,
    traces_link,
    without,
    words_of,
)
from otelflow.generate.rules._all_flows import BUSY, stuck

#: (share of the budget of 30 days, the long window, the short one): the workbook of Google's SREs, chapter 5
FAST: Final = ((14.4, "1h", "5m"), (6.0, "6h", "30m"))
SLOW: Final = ((1.0, "3d", "6h"),)

#: One failure is a failure, and so may be two; a share of runs is made of more. Counts are estimates, hence the half.
_A_FEW: Final = 2.5
_STUCK_AFTER: Final = 3
_LONGEST_SCENARIO: Final = 2 * 86_400
_DURATION: Final = semconv.FLOW_RUN_DURATION


def recorded(flows: tuple[Declared, ...]) -> Iterator[dict[str, Any]]:
    """Yield the recording rules that say what *flows* promise, for dashboards."""
    for flow, objective in _promising(flows):
        for name in ("success", "duration", "every"):
            value = getattr(objective, name)
            if value is not None:
                yield {
                    "record": f"otelflow:flow_objective:{name}",
                    "expr": f"vector({number(value)})",
                    "labels": {"flow": flow.name},
                }


def slow_ratios(flows: tuple[Declared, ...], window: str) -> Iterator[dict[str, Any]]:
    """Yield the recording rules of the shares of slow runs in one *window*."""
    for flow, objective in _promising(flows):
        if objective.duration is not None:
            yield _slow_ratio(flow.name, objective.duration, window)


def _slow_ratio(flow: str, duration: float, window: str) -> dict[str, Any]:
    counted = f'flow={quoted(flow)},result!~"{NOT_COUNTED}"'
    le = number(duration).replace(".", "\\\\.") + ("(\\\\.0)?" if float(duration).is_integer() else "")
    return {
        "record": f"otelflow:flow_slow:ratio_rate{window}",
        "expr": (
            f'1 - sum by (job, flow) (rate({_DURATION}_bucket{{{counted},le=~"{le}"}}[{window}]))\n'
            f"/\n(sum by (job, flow) (rate({_DURATION}_count{{{counted}}}[{window}])) > 0)\n"
        ),
        "labels": {"flow": flow},
    }


def _promising(flows: tuple[Declared, ...]) -> list[tuple[Declared, Objective]]:
    return [(flow, flow.objective) for flow in flows if flow.objective is not None]


def alerts(flows: tuple[Declared, ...], jaeger: str, example: str) -> Iterator[Alert]:
    """Yield the alerts about shares of runs for all flows, and those of each promise."""
    promising = _promising(flows)
    own = [(flow, objective) for flow, objective in promising if objective.success is not None]
    for flow, objective in own:
        yield from _budget(f"flow={quoted(flow.name)}", objective.share, flows, jaeger, flow.name, flow.name)
    yield from _budget(without(flow.name for flow, _ in own), DEFAULT_SUCCESS, flows, jaeger, example)
    for flow, objective in promising:
        if objective.duration is not None:
            yield _too_slow(flow, objective, objective.duration, jaeger)
            which = f"flow={quoted(flow.name)}"
            yield stuck(which, _STUCK_AFTER * objective.duration, (flow,), jaeger, flow.name)._replace(flow=flow.name)
        if objective.every is not None:
            yield _overdue(flow, objective.every, jaeger)
            yield _never(flow, objective.every)


def _burning(ratio: str, which: str, budget: float, windows: tuple[tuple[float, str, str], ...]) -> str:
    pairs = []
    for factor, long, short in windows:
        # Of a large budget, 14.4 times may be more than all runs: half the way from it to everything is.
        limit = number(min(factor * budget, (1 + budget) / 2))
        pairs.append(
            f"(\n  {ratio}{long}{matchers(which)} > {limit}\n  and on (job, flow)\n"
            f"  {ratio}{short}{matchers(which)} > {limit}\n  and on (job, flow)\n"
            f"  otelflow:flow_runs:increase{long}{matchers(which)} >= {BUSY}\n  and on (job, flow)\n"
            f"  {ratio}{long}{matchers(which)} * on (job, flow) otelflow:flow_runs:increase{long} > {_A_FEW}\n)\n"
        )
    return "or\n".join(pairs)


def _budget(
    which: str, share: float, flows: tuple[Declared, ...], jaeger: str, flow: str, own: str = ""
) -> Iterator[Alert]:
    promised = f"{percent(share)} of its runs succeed"
    what = runbook("Open the failing traces and compare the exceptions of their innermost red spans.", flows)
    link = traces_link(jaeger, failing=True)
    summary = "{{ $value | humanizePercentage }} of the runs of flow {{ $labels.flow }} ({{ $labels.job }}) fail"
    ratio = "otelflow:flow_failures:ratio_rate"
    yield Alert(
        "FlowErrorBudgetBurnsFast",
        _burning(ratio, which, 1 - share, FAST),
        "",
        "page",
        f"{summary}.",
        f"Promised is that {promised}. At this rate the failures allowed for 30 days are used up in days.",
        what,
        link,
        (_many_fail(flow), _few_fail(flow), *(() if own else (_two_of_many(flow),))),
        own,
    )
    yield Alert(
        "FlowErrorBudgetBurnsSlowly",
        _burning(ratio, which, 1 - share, SLOW),
        "15m",
        "ticket",
        f"{summary}, for days.",
        f"Promised is that {promised}. At this rate the failures allowed for 30 days are used up before these end.",
        what,
        link,
        (_many_fail(flow), _few_fail(flow)),
        own,
    )


def _many_fail(flow: str) -> Scenario:
    return Scenario(
        "when nearly all of many runs fail",
        "1m",
        {
            series(RUNS, flow=flow, result="success"): "0+1x60 60x90",
            series(RUNS, flow=flow, result="failure"): "0x60 0+10x90",
        },
        {"55m": (), "140m": (flow,)},
    )


def _few_fail(flow: str) -> Scenario:
    return Scenario(
        "not when runs succeed or are cancelled, nor when there are few",
        "1m",
        {
            series(RUNS, flow=flow, result="success"): "0+2x150",
            series(RUNS, flow=flow, result="failure"): "0x150",
            series(RUNS, flow=flow, result="cancellation"): "0+20x150",
            series(RUNS, flow=flow, result="success", job="rare"): "0x150",
            series(RUNS, flow=flow, result="failure", job="rare"): "0x60 0+1x4 4x86",
        },
        {"62m": (), "140m": ()},
    )


def _two_of_many(flow: str) -> Scenario:
    return Scenario(
        "not for one failure among twelve runs in six hours, nor for two among twelve in one",
        "1m",
        {
            series(RUNS, flow=flow, result="success"): " ".join(f"{count}x29" for count in range(18)),
            series(RUNS, flow=flow, result="failure"): "0x449 1x89",
            series(RUNS, flow=flow, result="success", job="busy"): "0x389 " + " ".join(f"{n}x4" for n in range(30)),
            series(RUNS, flow=flow, result="failure", job="busy"): "0x449 1x4 2x84",
        },
        {f"{minute}m": () for minute in (445, 452, 458, 470, 500)},
    )


def _too_slow(flow: Declared, objective: Objective, duration: float, jaeger: str) -> Alert:
    which, budget = f"flow={quoted(flow.name)}", 1 - objective.share
    bucket, count = f"{_DURATION}_bucket", f"{_DURATION}_count"
    labels = {"flow": flow.name, "result": semconv.SUCCESS}
    le = str(float(duration))

    def scenario(name: str, within: str, firing: tuple[str, ...]) -> Scenario:
        return Scenario(
            name,
            "1m",
            {
                series(bucket, **labels, le=le): within,
                series(bucket, **labels, le="+Inf"): "0+3x150",
                series(count, **labels): "0+3x150",
                series(RUNS, **labels): "0+3x150",
            },
            {"140m": firing},
        )

    return Alert(
        "FlowTooSlow",
        _burning("otelflow:flow_slow:ratio_rate", which, budget, (*FAST, *SLOW)),
        "5m",
        "ticket",
        "{{ $value | humanizePercentage }} of the runs of flow {{ $labels.flow }} ({{ $labels.job }}) take too long.",
        f"Promised is that {percent(objective.share)} of its runs take at most {words_of(duration)}.",
        runbook(
            "Sort the traces of the flow by duration and look for the task that takes longer than it did.", (flow,)
        ),
        traces_link(jaeger, failing=False, lookback="6h"),
        (
            scenario("when hardly any run ends in time", "0x150", (flow.name,)),
            scenario("not when all do", "0+3x150", ()),
        ),
        flow.name,
    )


def _overdue(flow: Declared, every: float, jaeger: str) -> Alert:
    succeeded = f'{LAST_RUN}{{flow={quoted(flow.name)},result="success"}}'
    grace = min(max(60, round(every / 10)), 3_600)
    # Ten minutes into the scenario it is too late.
    last = 600 - round(every)
    return Alert(
        "FlowOverdue",
        # The timestamp of a process that is gone counts on, until the other alert takes over.
        f"time() - max by (job, flow) (max_over_time({succeeded}[{time_of(max(600, 2 * every))}])) > {number(every)}",
        time_of(grace),
        "page",
        "Flow {{ $labels.flow }} ({{ $labels.job }}) has not succeeded for {{ $value | humanizeDuration }}.",
        f"Promised is one success every {words_of(every)}.",
        runbook("Was it started at all? Look at its scheduler first, then at its last trace.", (flow,)),
        traces_link(jaeger, failing=False, lookback="7d"),
        (
            Scenario(
                "when the last success is too long ago; not before",
                "1m",
                {series(LAST_RUN, flow=flow.name, result="success"): f"{last}x180"},
                {"9m": (), f"{12 + grace // 60}m": (flow.name,)},
            ),
            Scenario(
                "not when it succeeds again and again",
                "1m",
                {series(LAST_RUN, flow=flow.name, result="success"): "0+60x180"},
                {f"{12 + grace // 60}m": ()},
            ),
        ),
        flow.name,
    )


def _never(flow: Declared, every: float) -> Alert:
    is_long = every > _LONGEST_SCENARIO
    minutes = 20 if is_long else round(every / 60) + 5
    state = "pending" if is_long else "firing"
    other = series(LAST_RUN, flow=f"{flow.name}-other", result="success")
    return Alert(
        "FlowNeverSucceeded",
        # absent() makes labels of what is matched by =, and an alert with result="success" would puzzle its reader.
        f'absent({LAST_RUN}{{flow={quoted(flow.name)},result=~"success"}})',
        time_of(every),
        "page",
        "Nobody has seen flow {{ $labels.flow }} succeed" + f" for {words_of(every)}.",
        f"Promised is one success every {words_of(every)}. It never ran, always failed, or its metrics do not arrive.",
        runbook(
            "Was it started at all? Look at its scheduler, then at Prometheus' targets and the Pushgateway.", (flow,)
        ),
        # Nobody knows the service of a flow that was never seen, and without one Jaeger finds nothing.
        "",
        (
            Scenario(
                "when it never ran",
                "1m",
                {other: f"0+60x{minutes + 5}"},
                {f"{minutes}m": (flow.name,)},
                state=state,
            ),
            Scenario(
                "not when it has succeeded",
                "1m",
                {series(LAST_RUN, flow=flow.name, result="success"): f"0+60x{minutes + 5}"},
                {f"{minutes}m": ()},
                state=state,
            ),
        ),
        flow.name,
    )
