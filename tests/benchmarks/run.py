"""Measure what a task and a flow cost against what people use in their place: ``python tests/benchmarks/run.py``.

Prints a table and writes it as JSON (``--json``). Absolute figures belong to one machine and one moment; ratios travel.
"""

import argparse
import importlib.metadata
import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import measuring
import processes
import subjects
from measuring import Figure, interleaved, ratio

import otelflow

OUTPUT = Path(__file__).parents[2] / ".benchmarks" / "latest.json"
PACKAGES = ("opentelemetry-api", "opentelemetry-sdk", "osbot-utils", "logfire")

# What issue after issue may rely on: a name, what is compared, and the most that it may be.
TASK_OF_HAND = 1.0
NO_PROVIDER_MICROS = 8.0
METRICS_MICROS = 4.0
IMPORT_OF_API = 1.3
CONSTANT = 1.2
WHOLE_TASK_OF_HAND = 0.3
FLOW_OF_ONE_OF_HAND = 0.6
SAMPLED_OUT_OF_HAND = 0.15


def main(arguments: Sequence[str] | None = None) -> None:
    options = parsed(arguments)
    measuring.Clock.now = measuring.CLOCKS[options.clock]
    providers = subjects.Providers()
    figures = interleaved(subjects.tasks(providers), options.rounds, options.scale)
    figures += interleaved(subjects.flow_runs(providers), options.rounds, options.scale)
    figures += interleaved(subjects.whole(providers), options.rounds, options.scale)
    subjects.run_many_flows(providers, round(subjects.MANY_FLOWS * min(1.0, options.scale)))
    figures += interleaved(subjects.later(providers), options.rounds, options.scale)
    report = {
        "of": environment(options.clock),
        "figures": [row(figure, figures) for figure in figures],
        "import_milliseconds": processes.import_times(options.imports),
        "bytes_retained_per_flow": processes.retained(options.flows),
    }
    report["targets"] = targets(figures, report)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.write(table(report) + f"\nwritten to {options.json}\n")


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="samples of each figure (15)")
    parser.add_argument("--scale", type=float, default=1.0, help="calls per sample, as a share of the usual number")
    parser.add_argument("--imports", type=int, default=15, help="imports of each module (15)")
    parser.add_argument("--flows", type=int, default=1_000, help="flows for the memory figures (1000)")
    parser.add_argument("--clock", choices=sorted(measuring.CLOCKS), default="cpu", help="CPU time, or wall clock")
    parser.add_argument("--json", type=Path, default=OUTPUT, help="where the figures are written")
    parser.add_argument("--quick", action="store_true", help="hardly measure; see that everything runs")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.scale, options.imports, options.flows = 1, 0.01, 1, 20
    return options


def environment(clock: str) -> dict[str, str]:
    facts = {"otelflow": otelflow.__version__, "python": platform.python_version(), "machine": platform.machine()}
    for package in PACKAGES:
        try:
            facts[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            facts[package] = "not installed"
    return {**facts, "system": platform.system(), "clock": clock}


def row(figure: Figure, figures: Sequence[Figure]) -> dict[str, Any]:
    """Return a figure with what it is against its group's plain call and hand-written OpenTelemetry."""
    in_group = {member.name: member for member in figures if member.group == figure.group}
    plain = next((member for name, member in in_group.items() if name.startswith("plain")), None)
    hand = in_group["hand-written"]
    return {
        "group": figure.group,
        "name": figure.name,
        "microseconds": round(figure.median, 3),
        "quartiles": [round(figure.low, 3), round(figure.high, 3)],
        "over_plain": round(figure.median - plain.median, 3) if plain is not None else None,
        "of_hand_written": round(ratio(figure, hand), 3),
    }


def targets(figures: Sequence[Figure], report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what was to be reached, and what was."""
    by_name = {(figure.group, figure.name): figure for figure in figures}
    hand, task = by_name["task", "hand-written"], by_name["task", "otelflow"]
    deep = by_name["task", f"otelflow, {subjects.DEEP} frames deep"]
    some = by_name["task", f"otelflow, after {subjects.SOME_TASKS:,} tasks in the flow"]
    many = by_name["task", f"otelflow, after {subjects.MANY_TASKS:,} tasks in the flow"]
    after = by_name["later", f"otelflow, after {subjects.MANY_FLOWS:,} flows"]
    alone = by_name["task", "otelflow, no provider"].median - by_name["task", "plain call"].median
    imports = report["import_milliseconds"]
    ratios = {
        "a task with one listener, of hand-written": (
            ratio(by_name["task", "otelflow, 1 listener"], hand),
            TASK_OF_HAND,
        ),
        "a task with messages, metrics and one listener, of hand-written": (
            ratio(by_name["task, whole", "otelflow"], by_name["task, whole", "hand-written"]),
            WHOLE_TASK_OF_HAND,
        ),
        "a flow of one task, likewise": (
            ratio(by_name["flow of one", "otelflow"], by_name["flow of one", "hand-written"]),
            FLOW_OF_ONE_OF_HAND,
        ),
        "a task that is sampled out, of hand-written": (
            ratio(by_name["task", "otelflow, sampled out"], by_name["task, whole", "hand-written"]),
            SAMPLED_OUT_OF_HAND,
        ),
        "metrics on a task, µs": (by_name["task", "otelflow, metrics"].median - task.median, METRICS_MICROS),
        "a task without provider, µs over a plain call": (alone, NO_PROVIDER_MICROS),
        "import otelflow, of import opentelemetry.trace": (
            imports["otelflow"] / imports["opentelemetry.trace"],
            IMPORT_OF_API,
        ),
        "a task 50 frames deep, of one that is not": (ratio(deep, task), CONSTANT),
        "a task after 10,000 tasks in its flow, of one after 2,500": (ratio(many, some), CONSTANT),
        # Both against hand-written at the same time: they are minutes apart.
        "a task after 5,000 flows, of one before": (
            ratio(after, by_name["later", "hand-written"]) / ratio(task, hand),
            CONSTANT,
        ),
    }
    return [
        {"what": target, "is": round(value, 3), "at_most": limit, "met": value <= limit}
        for target, (value, limit) in ratios.items()
    ]


def table(report: dict[str, Any]) -> str:
    """Return the figures for people."""
    lines = [" · ".join(f"{name} {value}" for name, value in report["of"].items()), ""]
    lines.append(f"{'':<12}{'':<42}{'µs':>9}  {'quartiles':>19}  {'over plain':>10}  {'x hand-written':>14}")
    for figure in report["figures"]:
        low, high = figure["quartiles"]
        over = "" if figure["over_plain"] is None else f"{figure['over_plain']:.2f}"
        lines.append(
            f"{figure['group']:<12}{figure['name']:<42}{figure['microseconds']:>9.2f}  {low:>9.2f} - {high:<8.2f}"
            f"  {over:>10}  {figure['of_hand_written']:>14.2f}"
        )
    lines += ["", "import, ms:   " + _joined(report["import_milliseconds"], ".1f")]
    lines += ["bytes retained per flow of 10 tasks:   " + _joined(report["bytes_retained_per_flow"], ".0f"), ""]
    for target in report["targets"]:
        verdict = "met" if target["met"] else "NOT MET"
        lines.append(f"{verdict:<8}{target['what']}: {target['is']:g} (at most {target['at_most']:g})")
    return "\n".join(lines)


def _joined(values: dict[str, float], form: str) -> str:
    return " · ".join(f"{name} {value:{form}}" for name, value in values.items())


if __name__ == "__main__":
    main()
