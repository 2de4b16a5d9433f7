"""The rules that serve every flow, also one that promises nothing."""

from collections.abc import Iterator
from typing import Any, Final

from otelflow._core.registry import Declared
from otelflow.generate.alerts import (
    FAILING,
    IN_PROGRESS,
    JOB,
    LAST_RUN,
    NOT_COUNTED,
    OLDEST,
    RUNS,
    Alert,
    Scenario,
    matchers,
    runbook,
    series,
    traces_link,
    without,
    words_of,
)

WINDOWS: Final = ("5m", "30m", "1h", "6h", "3d")
#: So many runs in a window make a share of them mean something; below, the last run counts.
BUSY: Final = 10

_STUCK: Final = 6 * 3_600.0


def ratios() -> Iterator[dict[str, Any]]:
    """Yield the recording rules on which the alerts about shares of runs rest."""
    counted = f'{RUNS}{{result!~"{NOT_COUNTED}"}}'
    for window in WINDOWS:
        yield {
            "record": f"otelflow:flow_failures:ratio_rate{window}",
            "expr": (
                f'sum by (job, flow) (rate({RUNS}{{result=~"{FAILING}"}}[{window}]))\n'
                f"/\n(sum by (job, flow) (rate({counted}[{window}])) > 0)\n"
            ),
        }
    for window in ("1h", "6h", "3d"):
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
    failed = f'max by (job, flow) ({LAST_RUN}{{result=~"{FAILING}"}})'
    return Alert(
        "FlowLastRunFailed",
        # Timestamps, not counters: a job that pushes once always reads 1, and this resolves with the next success.
        f'({failed} > 0)\nunless on (job, flow)\n(\n    max by (job, flow) ({LAST_RUN}{{result="success"}})\n'
        f"  >= on (job, flow)\n    {failed}\n)\nunless on (job, flow)\notelflow:flow_runs:increase1h >= {BUSY}\n",
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
        (_failed_scenario(example), _busy_scenario(example)),
    )


def _failed_scenario(flow: str) -> Scenario:
    def last(flow: str, result: str, job: str = JOB) -> str:
        return series(LAST_RUN, flow=flow, result=result, job=job)

    never, quiet, stopped = f"{flow}-first", f"{flow}-quiet", f"{flow}-stopped"
    return Scenario(
        "after a failure, until a success; not for a cancelled run, nor for a flow that has not run",
        "1m",
        {
            last(flow, "success"): "60x14 900x15",
            last(flow, "failure"): "_x5 300x25",
            last(never, "timeout"): "120x30",
            last(quiet, "failure"): "0x30",
            last(stopped, "success"): "60x30",
            last(stopped, "cancellation"): "120x30",
            last(never, "success", "office"): "120x30",
        },
        {"4m": (never,), "10m": (flow, never), "20m": (never,)},
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
        f"{now} > {BUSY}\nand on (job, flow)\n{now}\n  > 2 * sum by (job, flow) ({IN_PROGRESS} offset 30m)\n",
        "10m",
        "ticket",
        "Runs of flow {{ $labels.flow }} ({{ $labels.job }}) pile up: {{ $value }} are open.",
        "More than ten runs are open at once, more than twice as many as half an hour ago.",
        runbook(
            "Compare how long runs take now with an hour ago; look for a slow dependency in the open traces, "
            "or start fewer runs at once.",
            flows,
        ),
        traces_link(jaeger, failing=False, lookback="1h"),
        (
            Scenario(
                "when ever more are open; not for a flow that is always busy, nor for three runs instead of one",
                "1m",
                {
                    series(IN_PROGRESS, flow=example, instance="a"): "2x40 2+1x40",
                    series(IN_PROGRESS, flow=example, instance="b"): "2x40 2+1x40",
                    series(IN_PROGRESS, flow=f"{example}-busy"): "50x81",
                    series(IN_PROGRESS, flow=f"{example}-small"): "1x40 3x41",
                },
                {"40m": (), "60m": (example,)},
            ),
        ),
    )
