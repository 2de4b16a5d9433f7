"""The commands and their options; what they do is in the modules beside this one, imported when it is needed."""

import contextlib
import os
import sys
from typing import Annotated, Final

import typer

import otelflow
from otelflow._cli import generate
from otelflow._cli._console import is_terminal, print_traceback, say, show_warnings
from otelflow._cli._exit_codes import BAD_INPUT, FAILURE, INTERRUPTED, Terminated
from otelflow.errors import ConfigurationError, InvalidParameter, OtelflowError

# The modules of the commands are imported in them: a command needs its own only.
# ruff: noqa: PLC0415


app: Final = typer.Typer(
    help="Run flows whose every run is an OpenTelemetry trace, and see what they did.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(generate.app, name="generate")


class Options:
    """The options that matter also where an error is reported."""

    traceback = False


def run_command_line() -> None:
    """Run the command that ``sys.argv`` names; exit with its code, and 2 with one line for bad input."""
    options = Options()
    try:
        app(prog_name="otelflow", obj=options)
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
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    del version  # its callback has done it


_Traceback = Annotated[bool, typer.Option("--traceback", help="Show the whole traceback of what was raised.")]
_Strict = Annotated[bool, typer.Option("--strict-telemetry", help="Exit with 3 when telemetry was lost.")]
_Tree = Annotated[
    bool | None, typer.Option("--tree/--no-tree", help="Print the trace as a tree on stderr; by default on a terminal.")
]


@app.command(context_settings={"allow_extra_args": True})
def run(
    context: typer.Context,
    target: Annotated[str, typer.Argument(help="path/to/file.py:flow or package.module:flow", metavar="TARGET")],
    param: Annotated[
        list[str] | None, typer.Option("--param", "-p", metavar="NAME=VALUE", help="A parameter of the flow.")
    ] = None,
    tree: _Tree = None,
    traceback: _Traceback = False,
    strict_telemetry: _Strict = False,
) -> None:
    """Run a flow: a decorated function, a subclass of Flow, or a Flow.

    Its exit code is the flow's: 0 success, 1 failure, n for sys.exit(n), 130 after Ctrl-C, 143 after SIGTERM, 129 when
    its terminal was closed; 2 for input that cannot be run. Parameters are converted by their annotations; lists,
    dicts, dataclasses and pydantic models are JSON.
    """
    context.ensure_object(Options).traceback = traceback
    show_warnings(with_tracebacks=traceback)
    if context.args:
        first = context.args[0]
        cure = f"--param {first}" if "=" in first else "--param NAME=VALUE"
        raise InvalidParameter(f"{first!r} is too much: a parameter of the flow is given as {cure}")
    import otelflow._telemetry.configure as _  # noqa: F401 first: it names a variable that the SDK cannot read
    from otelflow._cli.run import RunOptions, run_target

    options = RunOptions(is_terminal() if tree is None else tree, traceback, strict_telemetry)
    raise typer.Exit(run_target(target, param or [], options))


@app.command()
def demo(context: typer.Context, traceback: _Traceback = False, strict_telemetry: _Strict = False) -> None:
    """Read Python's whole standard library in a flow, and show its trace."""
    context.ensure_object(Options).traceback = traceback
    show_warnings(with_tracebacks=traceback)
    import otelflow._telemetry.configure as _  # noqa: F401 first: it names a variable that the SDK cannot read
    from otelflow._cli.demo import run_demo

    raise typer.Exit(run_demo(traceback=traceback, strict_telemetry=strict_telemetry))


_EXCLUSIVE: Final = (
    ("TRACE_ID", "--list"),
    ("TRACE_ID", "--last"),
    ("TRACE_ID", "--failed"),
    ("--list", "--json"),
    ("--list", "--artifact"),
    ("--json", "--artifact"),
    ("--last", "--artifact"),
)


@app.command()
def show(
    trace_id: Annotated[str | None, typer.Argument(help="An id, or how it begins; the newest if left out.")] = None,
    last: Annotated[int | None, typer.Option("--last", "-n", min=1, metavar="N", help="The N newest.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that failed.")] = False,
    only_list: Annotated[bool, typer.Option("--list", help="One line for each: by default of the 20 newest.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="OTLP JSON, one line for each trace.")] = False,
    artifact: Annotated[
        str | None, typer.Option("--artifact", metavar="KEY", help="Write this artifact's whole data to stdout.")
    ] = None,
) -> None:
    """Print stored traces again."""
    show_warnings(with_tracebacks=False)
    options = {"TRACE_ID": trace_id, "--list": only_list, "--last": last, "--failed": failed}
    options |= {"--json": as_json, "--artifact": artifact}
    for first, second in _EXCLUSIVE:
        if options[first] and options[second]:
            raise ConfigurationError(f"show takes {first} or {second}, not both")
    from otelflow._cli import show

    if only_list:
        show.list_traces(last or show.LISTED, failed=failed)
    elif artifact is not None:
        show.write_artifact(trace_id, artifact, failed=failed)
    else:
        show.show_traces(trace_id, last or 1, failed=failed, as_json=as_json)


@app.command()
def forget(
    trace_id: Annotated[str | None, typer.Argument(help="An id, or how it begins.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every stored trace.")] = False,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="AGE", help="Traces that ended longer ago: 12h, 7d, 2w.")
    ] = None,
) -> None:
    """Delete stored traces, and the artifacts that only they have."""
    show_warnings(with_tracebacks=False)
    from otelflow._cli import show

    show.forget(trace_id, everything=everything, older_than=older_than)


@app.command()
def config() -> None:
    """Print the effective settings: each with its value, and where that came from."""
    show_warnings(with_tracebacks=False)
    from otelflow._cli.config import print_configuration

    raise typer.Exit(print_configuration())


_Jaeger = Annotated[str | None, typer.Option("--jaeger", metavar="URL", help="Jaeger's query address.")]
_Prometheus = Annotated[str | None, typer.Option("--prometheus", metavar="URL", help="Prometheus' address.")]


@app.command()
def doctor(jaeger: _Jaeger = None, prometheus: _Prometheus = None) -> None:
    """Look at everything between a flow and its dashboards, and say what to do about what is not right.

    The exit code is 1 when something is wrong. What is not there and was not asked for is no fault.
    """
    show_warnings(with_tracebacks=False)
    from otelflow._cli._findings import print_findings

    raise typer.Exit(print_findings(jaeger, prometheus))


@app.command()
def verify(
    trace_id: Annotated[str, typer.Argument(help="An id, or how it begins, of a trace in the local store.")],
    jaeger: _Jaeger = None,
    wait: Annotated[float, typer.Option("--wait", min=0, metavar="SECONDS", help="How long it may take.")] = 15.0,
) -> None:
    """Tell whether a trace of the local store arrived whole in Jaeger; the exit code is 1 when it did not."""
    show_warnings(with_tracebacks=False)
    from otelflow._cli._findings import print_differences

    raise typer.Exit(print_differences(trace_id, jaeger, wait_seconds=wait))
