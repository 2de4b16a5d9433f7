"""The rules that an objective adds: error budgets, dead man's switches, runs that take too long."""

from collections.abc import Iterator
from typing import Any, Final

from otelflow import semconv
from otelflow._core.flows.objective import DEFAULT_SUCCESS, Objective
from otelflow._core.text.durations import in_units
from otelflow.generate._numbers import number, percent, promql_duration
from otelflow.generate._promql import (
    COUNTED,
    FAILURE_RATIO,
    OBJECTIVE,
    RUNS_INCREASE,
    SLOW_RATIO,
    SUCCEEDED,
    other_than,
    quote,
    selector,
)
from otelflow.generate._rules.alert import Alert, Program, Scenario, series
from otelflow.generate._rules.all_flows import BUSY, stuck
from otelflow.generate._rules.annotations import runbook, traces_link

#: (share of the budget of 30 days, the long window, the short one): the workbook of Google's SREs, chapter 5
FAST: Final = ((14.4, "1h", "5m"), (6.0, "6h", "30m"))
SLOW: Final = ((1.0, "3d", "6h"),)

#: One failure is a failure, and so may be two; a share of runs is made of more. Counts are estimates, hence the half.
_A_FEW: Final = 2.5
#: A run is stuck when it takes so many times as long as it may.
_STUCK_AFTER: Final = 3
_LONGEST_SCENARIO_SECONDS: Final = 2 * 3_600


def recorded(program: Program) -> Iterator[dict[str, Any]]:
    """Yield the recording rules that say what each flow promises, for dashboards."""
    for flow, objective in program.objectives:
        for name in ("success", "duration", "every"):
            value = getattr(objective, name)
            if value is not None:
                yield {
                    "record": f"{OBJECTIVE}:{name}",
                    "expr": f"vector({number(value)})",
                    "labels": {"flow": flow.name},
                }


def slow_ratios(program: Program, window: str) -> Iterator[dict[str, Any]]:
    """Yield the recording rules of the shares of slow runs in one *window*."""
    metric = semconv.FLOW_RUN_DURATION
    for flow, objective in program.objectives:
        if objective.duration is None:
            continue
        counted = f"flow={quote(flow.name)},{COUNTED}"
        # Clients write the bound of a bucket as 90 or as 90.0.
        le = repr(float(objective.duration)).removesuffix(".0").replace(".", "\\\\.")
        le += "(\\\\.0)?" if float(objective.duration).is_integer() else ""
        yield {
            "record": SLOW_RATIO + window,
            "expr": (
                f'1 - sum by (job, flow) (rate({metric}_bucket{{{counted},le=~"{le}"}}[{window}]))\n'
                f"/\n(sum by (job, flow) (rate({metric}_count{{{counted}}}[{window}])) > 0)\n"
            ),
            "labels": {"flow": flow.name},
        }


def alerts(program: Program) -> Iterator[Alert]:
    """Yield the alerts about shares of runs for all flows, and those of each promise."""
    names = [flow.name for flow, objective in program.objectives if objective.success is not None]
    for flow, objective in program.objectives:
        if objective.success is not None:
            yield from _budget(program, f"flow={quote(flow.name)}", objective.share, flow.name, is_own=True)
    yield from _budget(program, other_than(names), DEFAULT_SUCCESS, program.example, is_own=False)
    for flow, objective in program.objectives:
        alone = program._replace(flows=(flow,))
        if objective.duration is not None:
            yield _too_slow(alone, flow.name, objective, objective.duration)
            matcher = f"flow={quote(flow.name)}"
            yield stuck(alone, matcher, _STUCK_AFTER * objective.duration, flow.name)._replace(flow=flow.name)
        if objective.every is not None:
            yield _overdue(alone, flow.name, objective.every)
            yield _never(alone, flow.name, objective.every, program.example)


def _burning(ratio: str, matcher: str, budget: float, windows: tuple[tuple[float, str, str], ...]) -> str:
    """Return when *ratio* uses up the *budget* too fast in both windows of a pair, and more than a few runs do."""
    flows = selector(matcher)
    pairs = []
    for factor, long, short in windows:
        # Of a large budget, 14.4 times may be more than all runs: half the way from it to everything is.
        limit = number(min(factor * budget, (1 + budget) / 2))
        pairs.append(
            f"(\n  {ratio}{long}{flows} > {limit}\n  and on (job, flow)\n"
            f"  {ratio}{short}{flows} > {limit}\n  and on (job, flow)\n"
            f"  {RUNS_INCREASE}{long}{flows} >= {BUSY}\n  and on (job, flow)\n"
            f"  {ratio}{long}{flows} * on (job, flow) {RUNS_INCREASE}{long} > {_A_FEW}\n)\n"
        )
    return "or\n".join(pairs)


def _budget(program: Program, matcher: str, share: float, example: str, *, is_own: bool) -> Iterator[Alert]:
    """Yield the two alerts about the error budget of the flows that fit *matcher*, such as *example*."""
    promised = f"Promised is that {percent(share)} of its runs succeed."
    rate = "At this rate the failures allowed for 30 days are used up"
    flows = [flow for flow in program.flows if flow.name == example] if is_own else program.flows
    advice = runbook("Open the failing traces and compare the exceptions of their innermost red spans.", flows)
    link = traces_link(program.jaeger, failing=True)
    summary = "{{ $value | humanizePercentage }} of the runs of flow {{ $labels.flow }} ({{ $labels.job }}) fail"
    scenarios = _budget_scenarios(example)
    yield Alert(
        "FlowErrorBudgetBurnsFast",
        _burning(FAILURE_RATIO, matcher, 1 - share, FAST),
        lasts="",
        severity="page",
        summary=f"{summary}.",
        description=f"{promised} {rate} in days.",
        runbook=advice,
        traces=link,
        scenarios=scenarios[:-1] if is_own else scenarios,
        flow=example if is_own else "",
    )
    yield Alert(
        "FlowErrorBudgetBurnsSlowly",
        _burning(FAILURE_RATIO, matcher, 1 - share, SLOW),
        lasts="15m",
        severity="ticket",
        summary=f"{summary}, for days.",
        description=f"{promised} {rate} before these end.",
        runbook=advice,
        traces=link,
        scenarios=scenarios[:-1],
        flow=example if is_own else "",
    )


def _budget_scenarios(flow: str) -> tuple[Scenario, ...]:
    """Return what happens to an error budget; the last scenario is about the default one and its fast windows only."""

    def runs(result: str, job: str = "shop") -> str:
        return series(semconv.FLOW_RUNS, flow=flow, result=result, job=job)

    return (
        Scenario(
            "when nearly all of many runs fail",
            "1m",
            {runs(semconv.SUCCESS): "0+1x60 60x90", runs(semconv.FAILURE): "0x60 0+10x90"},
            {"55m": (), "140m": (flow,)},
        ),
        Scenario(
            "not when runs succeed or are cancelled, nor when there are few",
            "1m",
            {
                runs(semconv.SUCCESS): "0+2x150",
                runs(semconv.FAILURE): "0x150",
                runs(semconv.CANCELLATION): "0+20x150",
                runs(semconv.SUCCESS, job="rare"): "0x150",
                runs(semconv.FAILURE, job="rare"): "0x60 0+1x4 4x86",
            },
            {"62m": (), "140m": ()},
        ),
        Scenario(
            "not for one failure among twelve runs in six hours, nor for two among twelve in one",
            "1m",
            {
                runs(semconv.SUCCESS): " ".join(f"{count}x29" for count in range(18)),
                runs(semconv.FAILURE): "0x449 1x89",
                runs(semconv.SUCCESS, job="busy"): "0x389 " + " ".join(f"{count}x4" for count in range(30)),
                runs(semconv.FAILURE, job="busy"): "0x449 1x4 2x84",
            },
            {f"{minute}m": () for minute in (445, 452, 458, 470, 500)},
        ),
    )


def _too_slow(program: Program, flow: str, objective: Objective, duration: float) -> Alert:
    metric = semconv.FLOW_RUN_DURATION
    labels = {"flow": flow, "result": semconv.SUCCESS}

    def scenario(name: str, in_time: str, firing: tuple[str, ...]) -> Scenario:
        samples = {
            series(f"{metric}_bucket", **labels, le=str(float(duration))): in_time,
            series(f"{metric}_bucket", **labels, le="+Inf"): "0+3x150",
            series(f"{metric}_count", **labels): "0+3x150",
            series(semconv.FLOW_RUNS, **labels): "0+3x150",
        }
        return Scenario(name, "1m", samples, {"140m": firing})

    return Alert(
        "FlowTooSlow",
        _burning(SLOW_RATIO, f"flow={quote(flow)}", 1 - objective.share, (*FAST, *SLOW)),
        lasts="5m",
        severity="ticket",
        summary="{{ $value | humanizePercentage }} of the runs of flow {{ $labels.flow }} ({{ $labels.job }}) "
        "take too long.",
        description=f"Promised is that {percent(objective.share)} of its runs take at most {in_units(duration)}. "
        f"It takes {BUSY} runs in three days to tell.",
        runbook=runbook(
            "Sort the traces of the flow by duration and look for the task that takes longer than it did.",
            program.flows,
        ),
        traces=traces_link(program.jaeger, failing=False, lookback="6h"),
        scenarios=(
            scenario("when hardly any run ends in time", "0x150", (flow,)),
            scenario("not when all do", "0+3x150", ()),
        ),
        flow=flow,
    )


def _overdue(program: Program, flow: str, every: float) -> Alert:
    succeeded = f"{semconv.FLOW_LAST_RUN}{{flow={quote(flow)},{SUCCEEDED}}}"
    # The timestamp of a process that is gone counts on, until the other alert takes over.
    last_success = f"max by (job, flow) (max_over_time({succeeded}[{promql_duration(max(600, 2 * every))}]))"
    grace = min(max(60, round(every / 10)), 3_600)
    late = f"{12 + grace // 60}m"
    example = series(semconv.FLOW_LAST_RUN, flow=flow, result=semconv.SUCCESS)
    return Alert(
        "FlowOverdue",
        f"time() - {last_success} > {number(every)}",
        lasts=promql_duration(grace),
        severity="page",
        summary="Flow {{ $labels.flow }} ({{ $labels.job }}) has not succeeded for {{ $value | humanizeDuration }}.",
        description=f"Promised is one success every {in_units(every)}.",
        runbook=runbook("Was it started at all? Look at its scheduler first, then at its last trace.", program.flows),
        traces=traces_link(program.jaeger, failing=False, lookback="7d"),
        scenarios=(
            Scenario(
                "when the last success is too long ago; not before",
                "1m",
                {example: f"{600 - round(every)}x180"},  # so that it is too late ten minutes into the scenario
                {"9m": (), late: (flow,)},
            ),
            Scenario("not when it succeeds again and again", "1m", {example: "0+60x180"}, {late: ()}),
        ),
        flow=flow,
    )


def _never(program: Program, flow: str, every: float, other_flow: str) -> Alert:
    is_long = every > _LONGEST_SCENARIO_SECONDS
    minutes = 20 if is_long else round(every / 60) + 5
    state = "pending" if is_long else "firing"
    samples = f"0+60x{minutes + 5}"

    def last_success(name: str) -> str:
        return series(semconv.FLOW_LAST_RUN, flow=name, result=semconv.SUCCESS)

    def scenario(name: str, seen: str, firing: tuple[str, ...]) -> Scenario:
        return Scenario(name, "1m", {last_success(seen): samples}, {f"{minutes}m": firing}, state=state)

    return Alert(
        "FlowNeverSucceeded",
        # absent() makes labels of what is matched by =, and an alert with result="success" would puzzle its reader.
        f'absent({semconv.FLOW_LAST_RUN}{{flow={quote(flow)},result=~"{semconv.SUCCESS}"}})',
        lasts=promql_duration(every),
        severity="page",
        summary=f"Nobody has seen flow {{{{ $labels.flow }}}} succeed for {in_units(every)}.",
        description=f"Promised is one success every {in_units(every)}. It never ran, always failed, or its "
        "metrics do not arrive; they would name its service.",
        runbook=runbook(
            "Was it started at all? Look at its scheduler, then at Prometheus' targets and the Pushgateway.",
            program.flows,
        ),
        # The service of a flow that was never seen is not known, and without one Jaeger finds nothing.
        traces="",
        scenarios=(
            scenario("when it never ran", other_flow, (flow,)),
            scenario("not when it has succeeded", flow, ()),
        ),
        flow=flow,
    )
