"""``otelflow generate``: alerts, their unit tests and dashboards, made of the flows in the named modules."""

import json
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from otelflow._cli._console import say
from otelflow._cli._help import Commands, examples
from otelflow._cli._http import server_address
from otelflow.errors import ConfigurationError

# What makes the files is imported in the commands: others do not wait for it.
# ruff: noqa: PLC0415

_JAEGER: Final = "http://127.0.0.1:16686"

app: Final = typer.Typer(
    cls=Commands,
    help="Make alerts, their unit tests, or dashboards of the objectives in your code.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_From = Annotated[
    list[str] | None,
    typer.Option(
        "--from",
        metavar="TARGET",
        help="path/to/file.py or package.module, whose flows have objectives; may be given repeatedly.",
    ),
]
_Output = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write there, not to stdout.")]
_Jaeger = Annotated[str, typer.Option("--jaeger", metavar="URL", help="Where the links to traces lead.")]
_Pipeline = Annotated[
    list[str] | None,
    typer.Option(
        "--pipeline",
        metavar="JOB",
        help="The job, in your Prometheus, of the Collector that applications send to; may be given repeatedly, for "
        "other programs on the way to dashboards. Without it, those of deploy/; '' for none.",
    ),
]


class _Reader(StrEnum):
    """The programs that read the rules."""

    PROMETHEUS = "prometheus"
    KUBERNETES = "kubernetes"


@app.command(
    epilog=examples(
        "otelflow generate alerts --from shop.py --output rules.yml",
        "otelflow generate alerts --from package.module --for kubernetes",
    )
)
def alerts(
    modules: _From = None,
    output: _Output = None,
    jaeger: _Jaeger = _JAEGER,
    pipeline: _Pipeline = None,
    reader: Annotated[_Reader, typer.Option("--for", help="A rule file, or a resource for the operator.")] = (
        _Reader.PROMETHEUS
    ),
) -> None:
    """Write Prometheus rules: for every flow, and for each objective."""
    from otelflow.generate import generate_alerts

    rules = generate_alerts(modules or (), jaeger=server_address(jaeger), pipeline=_jobs(pipeline), for_=reader.value)
    _report(modules or ())
    _write(rules, output)


@app.command(epilog=examples("otelflow generate promtool-tests --from shop.flows --output rules_test.yml"))
def promtool_tests(
    modules: _From = None,
    output: _Output = None,
    jaeger: _Jaeger = _JAEGER,
    pipeline: _Pipeline = None,
    rules: Annotated[
        str, typer.Option("--rules", metavar="FILE", help="The rule file, as seen from the folder of the tests.")
    ] = "otelflow.rules.yml",
) -> None:
    """Write unit tests for those rules: each alert fires in one and stays quiet in another."""
    from otelflow.generate import generate_promtool_tests

    tests = generate_promtool_tests(modules or (), jaeger=server_address(jaeger), pipeline=_jobs(pipeline), rules=rules)
    _report(modules or ())
    _write(tests, output)


@app.command(epilog=examples("otelflow generate dashboards --from shop.flows --output shop-dashboards"))
def dashboards(
    modules: _From = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the files go.")] = Path(
        "dashboards"
    ),
    prometheus: Annotated[
        str, typer.Option("--prometheus", metavar="UID", help="Grafana's uid of the Prometheus data source.")
    ] = "otelflow-prometheus",
    jaeger: _Jaeger = _JAEGER,
) -> None:
    """Write Grafana dashboards, one file each: the fleet, one flow, one task."""
    from otelflow.generate import generate_dashboards

    files = generate_dashboards(modules or (), prometheus=prometheus, jaeger=server_address(jaeger))
    _report(modules or ())
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"--output {output} cannot be a folder for dashboards: {error}") from None
    for name, dashboard in files.items():
        _write(json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n", output / name)


def _jobs(pipeline: list[str] | None) -> list[str]:
    """Return the jobs of *pipeline*; an empty one is none."""
    from otelflow.generate import PIPELINE

    return list(PIPELINE) if pipeline is None else [job for job in pipeline if job]


def _report(modules: Iterable[str]) -> None:
    """Say how many flows and objectives *modules* have; a module without a flow is most likely the wrong one."""
    from otelflow.generate._flows import flows_of

    for name in modules:
        flows = flows_of([name])
        objectives = sum(flow.objective is not None for flow in flows)
        cure = ""
        if not flows:
            cure = "; is it the module that declares them with @flow or class …(Flow)?"
        elif not objectives:
            cure = "; @flow(objective=Objective(success=0.99)) makes alerts of a flow's own"
        say(f"{name}: {_counted(len(flows), 'flow')}, {_counted(objectives, 'objective')}{cure}")


def _counted(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"


def _write(text: str, output: Path | None) -> None:
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--output {output} cannot be written: {error}") from None
    typer.echo(f"wrote {output}", err=True)
