"""The commands that run something as a job: again and again, or any program."""

from typing import Annotated

import typer

from otelflow._cli._help import examples
from otelflow._cli._options import Strict, Traceback, begin_command

# As in app.py, what the commands need is imported in them.
# ruff: noqa: PLC0415


def add_to(app: typer.Typer) -> None:
    """Give *app* these commands."""
    app.command(
        epilog=examples(
            "otelflow serve shop.py:nightly --cron '0 3 * * *' --timezone Europe/Berlin",
            "otelflow serve shop.py:stock shop.py:prices --every 10m --overlap queue",
        )
    )(serve)
    app.command(
        "exec",
        context_settings={"allow_interspersed_args": False},
        epilog=examples("otelflow exec --name backup -- pg_dump shop", "otelflow exec -- bash nightly.sh"),
    )(execute)


def serve(
    context: typer.Context,
    targets: Annotated[list[str], typer.Argument(help="As for run; one or several.", metavar="TARGET")],
    every: Annotated[
        str | None, typer.Option("--every", metavar="TIME", help="At once, and then: 90s, 10m, 1d.")
    ] = None,
    cron: Annotated[
        str | None, typer.Option("--cron", metavar="TEXT", help="Minute, hour, day, month, day of the week.")
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option("--timezone", metavar="NAME", help="Of --cron: Europe/Berlin; by default the machine's."),
    ] = None,
    overlap: Annotated[
        str,
        typer.Option("--overlap", metavar="WORD", help="A run whose predecessor goes on: refuse, queue or allow it."),
    ] = "refuse",
    param: Annotated[
        list[str] | None, typer.Option("--param", "-p", metavar="NAME=VALUE", help="A parameter of each flow.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="TEXT", help="What metrics and spans call it; by default as the flow."),
    ] = None,
    stop_seconds: Annotated[
        float, typer.Option("--stop-seconds", min=0, metavar="N", help="How long a run may take after SIGTERM.")
    ] = 30.0,
    traceback: Traceback = False,
) -> None:
    """Run flows again and again in this process: at an interval, or at times of cron.

    Each run is a trace of its own. SIGTERM and Ctrl-C end it when the runs that go on have ended, or were cancelled;
    a second one at once. The exit code is 0, and 1 when a run was cancelled.
    """
    begin_command(context, traceback=traceback)
    from otelflow._cli.serve import Times, serve_targets

    times = Times(every, cron, timezone, overlap)
    raise typer.Exit(serve_targets(targets, param or [], times, name=name, stop_seconds=stop_seconds))


def execute(
    context: typer.Context,
    command: Annotated[list[str], typer.Argument(help="Any program and its arguments, after --.", metavar="COMMAND")],
    name: Annotated[
        str | None, typer.Option("--name", metavar="TEXT", help="Of the flow; by default that of the program.")
    ] = None,
    tree: Annotated[bool, typer.Option("--tree", help="Print its trace as a tree on stderr.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing of a good end.")] = False,
    strict_telemetry: Strict = False,
) -> None:
    """Run any program as a flow, in whose trace are the flows that it runs: TRACEPARENT tells it of the trace.

    Its exit code is the program's, and 128 + n when signal n ended it or was handed on. Each SIGTERM is handed on, and
    the program is waited for as long as it takes. What it is given as arguments is not recorded.
    """
    begin_command(context)
    from otelflow._cli.exec import run_program
    from otelflow._cli.run import RunOptions

    options = RunOptions(tree, strict_telemetry=strict_telemetry, quiet=quiet)
    raise typer.Exit(run_program(command, name, options))
