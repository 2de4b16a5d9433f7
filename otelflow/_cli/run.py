"""Run one flow with telemetry configured, and report how it went."""

import asyncio
import contextlib
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import SpanContext, format_trace_id

import otelflow
from otelflow import Flow_Run__Event, errors, semconv, settings
from otelflow._cli import _parameters as parameters
from otelflow._cli import _targets as targets
from otelflow._cli._console import describe, for_page, print_traceback, say
from otelflow._cli._exit_codes import (
    SUCCESS,
    TELEMETRY_LOST,
    Exit,
    Termination,
    end_at_next_interrupt,
    exit_of,
)
from otelflow._cli._live import LiveDisplay
from otelflow._cli.config import say_misspelt_variables
from otelflow._core.process import clock, project_files
from otelflow._core.text.durations import in_words
from otelflow._core.text.safe_str import brief_repr
from otelflow._telemetry.accounts import leave_out
from otelflow_exporters._otlp.endpoint import exporter_names, is_grpc, is_otlp, otlp_settings
from otelflow_exporters._spool.destination import spool_directory
from otelflow_exporters._store.ownership import open_store
from otelflow_exporters._store.reader import StoredTrace, StoredTraces
from otelflow_exporters.tree import TreeView, print_trace

if TYPE_CHECKING:
    from otelflow_exporters._otlp.model import Span

_FLUSH_MILLIS: Final = 10_000
# Without a store the tree is drawn from memory, which must not grow with the run.
_MOST_SPANS: Final = 20_000


class RunOptions(NamedTuple):
    """The options of the user besides the flow and its parameters."""

    tree: bool
    traceback: bool = False
    strict_telemetry: bool = False
    live: bool = False
    view: TreeView = TreeView()
    quiet: bool = False


class _SpanMemory(SpanProcessor):
    """Keeps the ended spans in memory, up to a bound."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        self.omitted = 0

    def on_end(self, span: ReadableSpan) -> None:
        """Keep *span*."""
        if len(self.spans) < _MOST_SPANS:
            self.spans.append(span)
        else:
            self.omitted += 1

    @staticmethod
    def is_needed(telemetry: otelflow.Telemetry) -> bool:
        """Tell whether no store keeps the spans: it is off, or cannot be written."""
        if telemetry.is_host:
            return False
        directory = telemetry.store_directory
        if directory is None:
            return True
        try:
            open_store(directory, is_made=True).close()
        except OSError:
            return True
        return not os.access(directory, os.W_OK)


class _TraceListener(otelflow.Listener):
    """Notes which trace a flow run became."""

    trace: SpanContext | None = None

    def on_flow_start(self, event: Flow_Run__Event) -> None:
        """Note the trace of the first flow; flows that it runs are in that trace, or have one of their own."""
        if self.trace is None:
            self.trace = event.event_data.span_context


def run_target(target: str, texts: Iterable[str], options: RunOptions) -> int:
    """Run the flow that *target* names with the ``name=value`` *texts*, and return the exit code.

    Raises OtelflowError for input that cannot be run.
    """
    values = parameters.parse(texts)
    read_settings(target)
    flow = prepare(targets.find(target), values)
    code = run(flow, options, service_name=service_name_of(target))
    say_how_to_resume(target, flow)
    return code


def read_settings(target: str) -> None:
    """Read the settings that hold for *target*, before it is imported. Raises ConfigurationError for a wrong one."""
    project_files.use_program(targets.file_of(target))
    settings.check()


def service_name_of(target: str) -> str:
    """Return what the service is called that *target* is run in: its file, or its module."""
    return Path(targets.place_of(target)).stem


def say_how_to_resume(target: str, flow: otelflow.Flow[Any]) -> None:
    """Say what goes on with *flow*, which *target* names, if it has not ended well and is kept."""
    definition = flow.flow_state.definition
    if definition is not None and definition.options.get("persist_result") and flow.status != semconv.SUCCESS:
        say(f"to go on with it: otelflow resume {target} {flow.flow_id}")


def prepare(
    target: otelflow.Flow[Any] | type[otelflow.Flow[Any]] | Callable[..., Any], values: Mapping[str, str]
) -> otelflow.Flow[Any]:
    """Return the flow that *target* is or makes, set up with the parameters in *values*.

    Raises InvalidParameter, TargetNotFound, FlowNotSetUp.
    """
    target = new_flow_of(target)
    if isinstance(target, otelflow.Flow):
        return _set_up(target, values)
    arguments = parameters.fit(target, values)
    flow = target(*arguments.positional, **arguments.named)
    if not isinstance(flow, otelflow.Flow):
        raise errors.TargetNotFound(f"{brief_repr(target)} returns {type(flow).__name__}, not a flow")
    flow.flow_state.expect_no_run()  # it is run next, or the mistake that prevents that is reported
    return flow


def new_flow_of(target: Any) -> Any:
    """Return *target*, or the flow that it makes if it is a class. Raises TargetNotFound."""
    if not isinstance(target, type):
        return target
    try:
        return target()
    except TypeError as error:
        raise errors.TargetNotFound(
            f"{target.__name__} cannot be made without arguments ({error}); name an instance of it"
        ) from error


def _set_up(flow: otelflow.Flow[Any], values: Mapping[str, str]) -> otelflow.Flow[Any]:
    if flow.flow_target is None:
        _ = flow.setup()
    if flow.flow_target is None:  # a user's class has a setup() of its own
        _ = otelflow.Flow.setup(flow)
    flow.flow_state.expect_no_run()  # as above
    if flow.flow_target is None:
        raise errors.FlowNotSetUp
    definition = flow.flow_state.definition
    dependencies = flow.task_dependencies()  # what is no mapping, the flow will say itself
    flow.flow_args, flow.flow_kwargs = parameters.fit(
        flow.flow_target,
        values,
        injected=definition.injection.filled_by(dependencies)
        if definition is not None and isinstance(dependencies, Mapping)
        else (),
        preset=(flow.flow_args, flow.flow_kwargs),
    )
    return flow


class Report(NamedTuple):
    """The end of a run, and the telemetry that there is of it."""

    flow: otelflow.Flow[Any]
    ending: Exit
    seconds: float
    trace: SpanContext | None
    telemetry: otelflow.Telemetry
    memory: _SpanMemory | None

    @property
    def trace_id(self) -> str:
        """The id under which the trace is kept and sent, or nothing when it is neither."""
        is_recorded = self.trace is not None and self.trace.is_valid and self.trace.trace_flags.sampled
        return format_trace_id(self.trace.trace_id) if self.trace is not None and is_recorded else ""

    @property
    def stored(self) -> StoredTrace | None:
        """The trace as it is in the store, or None when it is not there."""
        if self.telemetry.store_directory is None or not self.trace_id:
            return None
        try:
            return StoredTraces(self.telemetry.store_directory).load(self.trace_id)
        except errors.OtelflowError:
            return None

    def print_details(self, options: RunOptions, termination: Termination) -> None:
        """Print the tree and the error, as far as they are asked for and there."""
        if options.tree:
            spans: list[Span] | list[ReadableSpan] = []
            note = ""
            if self.memory is not None:
                spans = [
                    span
                    for span in self.memory.spans
                    if span.context and format_trace_id(span.context.trace_id) == self.trace_id
                ]
                note = f"{self.memory.omitted:,} more spans are not kept in memory" if self.memory.omitted else ""
            elif (stored := self.stored) is not None:
                spans = stored.spans
            with contextlib.suppress(OSError, ValueError, AttributeError):  # stderr is closed, or there is none
                cure = f"otelflow show {self.trace_id} --full" if self.memory is None and spans else ""
                print_trace(spans, file=sys.stderr, note=note, view=options.view._replace(cure=cure))
        error = self.ending.error
        if error is None:
            return
        if options.traceback:
            print_traceback(error)
        is_interrupt = isinstance(error, KeyboardInterrupt)
        words = f"was interrupted{termination.cause}" if is_interrupt else f"failed: {describe(error)}"
        say(f"{self.flow.flow_name} {words}")

    def print_summary(self, *, is_delivered: bool) -> None:
        """Print in one line how the flow ended and where its trace is."""
        ledger = self.telemetry.ledger
        losses = sorted((reason, count) for (_, reason), count in self.telemetry.dropped.items() if count)
        # Metrics and log records may have another way, on which they wait or are lost.
        is_lost = any(count for (signal, _), count in self.telemetry.dropped.items() if signal == "traces")
        ways = [account for account in ledger if account.signal == "traces"]
        is_sent = is_delivered or (bool(ways) and not any(account.waiting for account in ways))
        lost = "; telemetry was lost: " + ", ".join(f"{count:,} {reason}" for reason, count in losses) if losses else ""
        if not self.trace_id:
            is_sampled_out = self.trace is not None and self.trace.is_valid
            place = "its trace was not sampled" if is_sampled_out else "no trace was made: OpenTelemetry is off here"
        elif self.telemetry.is_host:
            place = f"trace {self.trace_id} goes where the program's own OpenTelemetry set-up sends it"
        else:
            places = []
            directory = self.telemetry.store_directory
            if directory is not None and (not is_lost or self.stored is not None):
                places.append(f"stored in {_shortened(directory)}")
            endpoint, spool_dir = _endpoint_and_spool()
            if endpoint and is_sent and not is_lost:
                places.append(f"sent to {for_page(endpoint)}")
            elif endpoint and spool_dir and not is_lost:
                folder = _shortened(spool_dir) if spool_dir.is_dir() else "memory"  # it cannot be made
                places.append(f"waiting in {folder} for {for_page(endpoint)}")
            place = f"trace {self.trace_id} {' and '.join(places) or 'is not stored'}"
        template = settings.in_force()["trace_url"].value
        if self.trace_id and template:
            place = f"{place} ({template.replace('{trace_id}', self.trace_id)})"
        duration = in_words(self.seconds)
        say(f"flow {self.flow.flow_name}: {self.flow.flow_state.status or 'not run'} in {duration}; {place}{lost}")
        for account in ledger:
            if account.lost or account.waiting:
                say(str(account))
        leave_out(ledger)


def _endpoint_and_spool() -> tuple[str, Path | None]:
    """Return where spans are sent, if they are, and the folder in which they wait, if there is one."""
    sender = next(filter(is_otlp, exporter_names("traces")), None)
    if sender is None:
        return "", None
    in_force = settings.in_force()
    endpoint = ""
    with contextlib.suppress(errors.ConfigurationError):  # there is no home, or the flow has changed the variables
        endpoint, _ = otlp_settings("traces", "otlp_proto_grpc" if is_grpc("traces", sender) else "otlp_proto_http")
        return endpoint, spool_directory(str(in_force["spool"].value), str(in_force["spool_dir"].value), sender)
    return endpoint, None


def _shortened(directory: Path) -> Path:
    try:
        return Path("~") / directory.relative_to(Path.home())
    except (ValueError, RuntimeError):  # it is elsewhere, or there is no home
        return directory


def run(flow: otelflow.Flow[Any], options: RunOptions, *, service_name: str) -> int:
    """Run *flow* to its end, show what it does meanwhile, report on stderr and return the exit code.

    The service is called *service_name* unless it has a name already.
    """
    telemetry = set_up_telemetry(service_name)
    memory = None
    if options.tree and isinstance(telemetry.provider, TracerProvider) and _SpanMemory.is_needed(telemetry):
        memory = _SpanMemory()
        telemetry.provider.add_span_processor(memory)
    listener = _TraceListener()
    otelflow.add_listener(listener)
    process_id = os.getpid()
    began = clock.perf_counter()
    with Termination() as termination:
        with LiveDisplay() if options.live else nullcontext():
            ending = exit_of(lambda: _execute(flow), termination)
        seconds = clock.perf_counter() - began
        if os.getpid() != process_id:
            sys.exit(ending.code)  # a child that the flow forked and that came back: its parent reports
        otelflow.remove_listener(listener)
        report = Report(flow, ending, seconds, listener.trace, telemetry, memory)
        # A second signal, or Ctrl-C, cuts the delivery short; the flow's end is reported in any case.
        try:
            with contextlib.suppress(OSError, ValueError, AttributeError):  # whatever the program did with it
                sys.stdout.flush()
            is_delivered = telemetry.force_flush(_FLUSH_MILLIS)
            report.print_details(options, termination)
        except KeyboardInterrupt:
            end_at_next_interrupt()
            say(f"interrupted{termination.cause} after the flow's end, while telemetry was delivered")
            report.print_summary(is_delivered=False)
            return termination.code
        if not (options.quiet and is_delivered and ending.code == SUCCESS):
            report.print_summary(is_delivered=is_delivered)
    is_lost = options.strict_telemetry and any(telemetry.dropped.values())
    return TELEMETRY_LOST if is_lost and ending.code == SUCCESS else ending.code


def set_up_telemetry(service_name: str) -> otelflow.Telemetry:
    """Configure the telemetry of a command that runs flows: as the settings say, with a store, and all that is logged.

    The service is called *service_name* unless it has a name already.
    """
    defaults: dict[str, Any] = {}
    if settings.in_force()["capture_loggers"].origin == "default":
        defaults["capture_loggers"] = ["root"]
    say_misspelt_variables()
    return otelflow.configure(service_name=None if _is_service_named() else service_name, store=True, **defaults)


def _is_service_named() -> bool:
    """Tell whether the environment names the service, or the program did when it was imported."""
    return (
        bool(os.environ.get("OTEL_SERVICE_NAME"))
        or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        # Asked with that variable, the API would look for the provider, and fail if there is none of that name.
        or bool(os.environ.get("OTEL_PYTHON_TRACER_PROVIDER"))
        or not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    )


def _execute(flow: otelflow.Flow[Any]) -> otelflow.Flow[Any]:
    """Execute *flow*; one that is a generator is iterated, since its run is its steps."""

    async def exhaust(steps: Any) -> None:
        async for _ in steps:
            pass

    _ = flow.execute()
    value: Any = flow.flow_return_value
    if inspect.isgenerator(value):
        for _ in value:
            pass
    elif inspect.isasyncgen(value):
        asyncio.run(exhaust(value))
    return flow
