"""The commands and their options; what they do is in the modules beside this one, imported when it is needed."""

import contextlib
import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

import otelflow
from otelflow._cli import _jobs, generate
from otelflow._cli._console import is_terminal, print_traceback, say, show_warnings
from otelflow._cli._exit_codes import BAD_INPUT, FAILURE, INTERRUPTED, UNREAD
from otelflow._cli._help import Commands, examples
from otelflow._cli._options import Options, Strict, Traceback, begin_command, refuse_surplus
from otelflow._cli._stdout import is_unread, keep_standard_descriptors, use_stdout
from otelflow.errors import ConfigurationError, OtelflowError, Terminated

# The modules of the commands are imported in them: a command needs its own only.
# ruff: noqa: PLC0415


app: Final = typer.Typer(
    cls=Commands,
    help="Run flows whose every run is an OpenTelemetry trace, and see what they did.",
    epilog=examples(
        "otelflow demo",
        "otelflow run shop.py:nightly --param day=2026-01-31",
        "otelflow show --failed",
        "otelflow show --list",
        "otelflow COMMAND --help",
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(generate.app, name="generate")


def run_command_line() -> None:
    """Run the command that ``sys.argv`` names; exit with its code, and 2 with one line for bad input."""
    options = Options()
    keep_standard_descriptors()
    use_stdout("")
    try:
        app(prog_name="otelflow", obj=options)
    except SystemExit as end:
        if is_unread():
            sys.exit(UNREAD)
        if end.code == BAD_INPUT and {"--instrument", "--"} & {*sys.argv} == {"--instrument"}:
            say("the command of --instrument stands after --, such as --instrument FILE -- python main.py")
        raise
    except (OtelflowError, OSError) as error:
        if options.traceback:
            print_traceback(error)
        if isinstance(error, OtelflowError):
            say(str(error))
            sys.exit(BAD_INPUT)
        say(f"what was asked for could not be written or read: {error}")
        # The interpreter flushes stdout when it ends, and would report the same error once more.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILURE)
    except Terminated as signal:
        sys.exit(signal.code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"otelflow {otelflow.__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    del version  # its callback has done it


_Tree = Annotated[
    bool | None, typer.Option("--tree/--no-tree", help="Print the trace as a tree on stderr; by default on a terminal.")
]
_NoLive = Annotated[
    bool, typer.Option("--no-live", help="Show on a terminal only what the flow writes, not what runs.")
]
_Full = Annotated[bool, typer.Option("--full", help="Fold nothing, and cut nothing.")]
_Logs = Annotated[bool, typer.Option("--logs", help="Every message, also of folded calls.")]
_FailedOnly = Annotated[bool, typer.Option("--failed-only", help="Of the tree only what failed.")]
_Spool = Annotated[Path | None, typer.Argument(help="The spool; every one of this user if left out.")]


@app.command(
    context_settings={"allow_extra_args": True},
    epilog=examples(
        "otelflow run shop.py",
        "otelflow run shop.py:nightly --param day=2026-01-31",
        "otelflow run package.module:flow --tree 2> tree.txt",
        "otelflow run --instrument otelflow.toml -- python -m service",
    ),
)
def run(
    context: typer.Context,
    target: Annotated[
        str | None, typer.Argument(help="path/to/file.py:flow or package.module:flow", metavar="TARGET")
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option("--param", "-p", metavar="NAME=VALUE", help="A parameter of the flow.")
    ] = None,
    tree: _Tree = None,
    no_live: _NoLive = False,
    full: _Full = False,
    logs: _Logs = False,
    failed_only: _FailedOnly = False,
    traceback: Traceback = False,
    strict_telemetry: Strict = False,
    instrument: Annotated[
        list[Path] | None,
        typer.Option(
            "--instrument", metavar="FILE", help="Run a command whose functions this file makes flows and tasks."
        ),
    ] = None,
) -> None:
    """Run a flow: a decorated function, a subclass of Flow, or a Flow. Or, with --instrument, any command after --.

    Its exit code is the flow's: 0 success, 1 failure, n for sys.exit(n), 130 after Ctrl-C, 143 after SIGTERM, 129 when
    its terminal was closed; 2 for input that cannot be run. Parameters are converted by their annotations; lists,
    dicts, dataclasses and pydantic models are JSON.
    """
    if instrument:
        show_warnings(with_tracebacks=traceback)
        from otelflow._cli.instrument import run as run_command

        run_command(instrument, context)
    begin_command(context, traceback=traceback)
    if target is None:
        context.fail("Missing argument 'TARGET'.")
    if context.args:
        refuse_surplus(target, context.args[0])
    from otelflow._cli._footer import is_possible
    from otelflow._cli.run import RunOptions, run_target
    from otelflow_exporters.tree import TreeView

    view = TreeView(full, logs, failed_only)
    has_tree = is_terminal() or view != TreeView() if tree is None else tree
    options = RunOptions(has_tree, traceback, strict_telemetry, is_possible() and not no_live, view)
    raise typer.Exit(run_target(target, param or [], options))


@app.command(epilog=examples("otelflow resume shop.py:nightly flow_id__4bf92f3577b34da6"))
def resume(
    context: typer.Context,
    target: Annotated[str, typer.Argument(help="path/to/file.py:flow or package.module:flow", metavar="TARGET")],
    run_id: Annotated[str, typer.Argument(help="The otelflow.flow.run.id of the run.", metavar="RUN_ID")],
    tree: _Tree = None,
    no_live: _NoLive = False,
    traceback: Traceback = False,
    strict_telemetry: Strict = False,
) -> None:
    """Go on with a run that has failed or was killed, of a flow that keeps its runs: @flow(persist_result=True).

    Tasks that were done are not run again. Parameters are those of the run; exit codes are those of "run".
    """
    begin_command(context, traceback=traceback)
    from otelflow._cli._footer import is_possible
    from otelflow._cli.resume import resume_target
    from otelflow._cli.run import RunOptions

    has_tree = is_terminal() if tree is None else tree
    options = RunOptions(has_tree, traceback, strict_telemetry, is_possible() and not no_live)
    raise typer.Exit(resume_target(target, run_id, options))


@app.command(epilog=examples("otelflow instrument otelflow.toml --dry-run"))
def instrument(
    file: Annotated[Path, typer.Argument(help="An otelflow.toml or pyproject.toml.", metavar="FILE")],
    command: Annotated[
        list[str] | None,
        typer.Argument(
            help="The program, after --: modules are looked for where it will find them.", metavar="COMMAND"
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done, as without it.")] = False,
) -> None:
    """Say which functions the patterns of a file make flows and tasks; "run --instrument" runs a program so.

    Nothing is imported, and no program is run. The exit code is 1 when a pattern means nothing.
    """
    del dry_run
    show_warnings(with_tracebacks=False)
    from otelflow._cli.instrument import print_report

    raise typer.Exit(print_report(file, command or ()))


@app.command(epilog=examples("otelflow demo"))
def demo(
    context: typer.Context, no_live: _NoLive = False, traceback: Traceback = False, strict_telemetry: Strict = False
) -> None:
    """Read Python's whole standard library in a flow, and show its trace."""
    begin_command(context, traceback=traceback)
    from otelflow import settings
    from otelflow._cli._footer import is_possible
    from otelflow._cli.demo.library import read_library
    from otelflow._cli.run import RunOptions, run

    settings.check()
    options = RunOptions(True, traceback, strict_telemetry, is_possible() and not no_live)
    raise typer.Exit(run(read_library(), options, service_name="otelflow-demo"))


_EXCLUSIVE: Final = (
    ("TRACE_ID", "--list"),
    ("TRACE_ID", "--last"),
    ("TRACE_ID", "--failed"),
    ("--list", "--json"),
    ("--list", "--artifact"),
    ("--json", "--artifact"),
    ("--last", "--artifact"),
)


@app.command(
    epilog=examples(
        "otelflow show",
        "otelflow show 4bf9 --full",
        "otelflow show --failed --logs",
        "otelflow show --list --last 50",
        "otelflow show 4bf9 --artifact report > report.json",
    )
)
def show(
    trace_id: Annotated[
        str | None, typer.Argument(help="An id, or how it begins; the newest if left out.", metavar="TRACE_ID")
    ] = None,
    last: Annotated[int | None, typer.Option("--last", "-n", min=1, metavar="N", help="The N newest.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that failed.")] = False,
    only_list: Annotated[bool, typer.Option("--list", help="One line for each: by default of the 20 newest.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="OTLP JSON, one line for each trace.")] = False,
    artifact: Annotated[
        str | None, typer.Option("--artifact", metavar="KEY", help="Write this artifact's whole data to stdout.")
    ] = None,
    full: _Full = False,
    logs: _Logs = False,
    failed_only: _FailedOnly = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="The traceback of every failure.")] = False,
) -> None:
    """Print stored traces again."""
    show_warnings(with_tracebacks=False)
    options = {"TRACE_ID": trace_id, "--list": only_list, "--last": last, "--failed": failed}
    options |= {"--json": as_json, "--artifact": artifact}
    for name, value in (
        ("--full", full),
        ("--logs", logs),
        ("--failed-only", failed_only),
        ("--traceback", traceback),
    ):
        if value and (only_list or as_json or artifact):
            raise ConfigurationError(f"{name} is for a tree: show takes it without --list, --json and --artifact")
    for first, second in _EXCLUSIVE:
        if options[first] and options[second]:
            raise ConfigurationError(f"show takes {first} or {second}, not both")
    from otelflow._cli import show

    if only_list:
        show.list_traces(last or show.LISTED, failed=failed)
    elif artifact is not None:
        show.write_artifact(trace_id, artifact, failed=failed)
    else:
        view = show.TreeView(full, logs, failed_only, "all" if traceback else "causes")
        show.show_traces(trace_id, last or 1, view, failed=failed, as_json=as_json)


@app.command(epilog=examples("otelflow forget 4bf9", "otelflow forget --older-than 2d"))
def forget(
    trace_id: Annotated[str | None, typer.Argument(help="An id, or how it begins.", metavar="TRACE_ID")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every stored trace.")] = False,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="AGE", help="Traces that ended longer ago: 12h, 7d, 2w.")
    ] = None,
) -> None:
    """Delete stored traces, the artifacts that only they have, and the values that their runs have kept.

    What of them waits in a spool is deleted, too, and so never sent.
    """
    show_warnings(with_tracebacks=False)
    from otelflow._cli import show

    show.forget(trace_id, everything=everything, older_than=older_than)


@app.command(epilog=examples("otelflow ship /var/lib/shop/spool", "OTELFLOW_SPOOL_DIR=spool otelflow ship --once"))
def ship(
    directory: Annotated[
        Path | None, typer.Argument(help="The spool; if left out, that of OTELFLOW_SPOOL_DIR, or else of the endpoint.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End when nothing is left, or when it cannot be sent.")] = False,
) -> None:
    """Send the spans and log records that wait in a spool, of processes that run or are gone, to the OTLP endpoint.

    It goes on with what comes later, until Ctrl-C or SIGTERM. With --once it ends, where nobody answers, after one
    request a signal, of OTEL_EXPORTER_OTLP_TIMEOUT at most (2 seconds), and with code 1 when something waits on.
    """
    show_warnings(with_tracebacks=False)
    from otelflow._cli.ship import ship as send

    raise typer.Exit(send(directory, once=once))


@app.command(epilog=examples("otelflow ps", "otelflow ps --follow"))
def ps(
    directory: _Spool = None,
    follow: Annotated[bool, typer.Option("--follow", help="Print them again whenever others are open.")] = False,
) -> None:
    """Print the runs that are open on this machine, of programs that have a spool: since when, and where they are."""
    show_warnings(with_tracebacks=False)
    from otelflow._cli.ps import print_running

    raise typer.Exit(print_running(directory, follow=follow))


@app.command(epilog=examples("otelflow recover --list", "otelflow recover /var/lib/shop/spool"))
def recover(
    directory: _Spool = None,
    only_list: Annotated[bool, typer.Option("--list", help="Print it, and send nothing.")] = False,
) -> None:
    """Print what processes were doing that are lost, killed or crashed, and send it to the OTLP endpoint.

    Each run is reported once, as lost, with what else waits there; with OTELFLOW_METRICS set to otlp, push or textfile,
    metrics tell of it, too. The exit code is 1 when something could not be sent.
    """
    show_warnings(with_tracebacks=False)
    from otelflow._cli import ps

    raise typer.Exit(ps.recover(directory, is_sent=not only_list))


@app.command(epilog=examples("otelflow config", "OTELFLOW_MESSAGE_LEVEL=DEBUG otelflow config"))
def config() -> None:
    """Print the effective settings: each with its value, and where that came from."""
    show_warnings(with_tracebacks=False)
    from otelflow._cli.config import print_configuration

    raise typer.Exit(print_configuration())


_Jaeger = Annotated[str | None, typer.Option("--jaeger", metavar="URL", help="Jaeger's query address.")]
_Prometheus = Annotated[str | None, typer.Option("--prometheus", metavar="URL", help="Prometheus' address.")]


@app.command(epilog=examples("otelflow doctor", "otelflow doctor --jaeger http://jaeger.example:16686"))
def doctor(jaeger: _Jaeger = None, prometheus: _Prometheus = None) -> None:
    """Look at everything between a flow and its dashboards, and say what to do about what is not right.

    The exit code is 1 when something is wrong, and 0 otherwise. What is not there and was not asked for is no fault.
    """
    show_warnings(with_tracebacks=False)
    from otelflow._cli._findings import print_findings

    raise typer.Exit(print_findings(jaeger, prometheus))


@app.command(epilog=examples("otelflow verify", "otelflow verify 4bf9 --jaeger http://jaeger.example:16686 --wait 30"))
def verify(
    trace_id: Annotated[
        str | None,
        typer.Argument(
            help="An id, or how it begins, of a trace in the local store; the newest if left out.", metavar="TRACE_ID"
        ),
    ] = None,
    jaeger: _Jaeger = None,
    wait: Annotated[float, typer.Option("--wait", min=0, metavar="SECONDS", help="How long it may take.")] = 15.0,
) -> None:
    """Tell whether a trace of the local store arrived whole in Jaeger.

    The exit code is 0 when it did, 1 when it did not, 2 for input that cannot be used, and 3 when it cannot be told:
    Jaeger does not answer, or nothing of the trace has ended yet.
    """
    show_warnings(with_tracebacks=False)
    from otelflow._cli._findings import print_differences

    raise typer.Exit(print_differences(trace_id, jaeger, wait_seconds=wait))


_jobs.add_to(app)
