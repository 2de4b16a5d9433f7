"""Run one flow with telemetry configured, and report how it went."""

import asyncio
import contextlib
import inspect
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import SpanContext, format_trace_id

import otelflow
from otelflow import Flow_Run__Event, errors, settings
from otelflow._cli import _parameters as parameters
from otelflow._cli import _targets as targets
from otelflow._cli._console import describe, print_traceback, say
from otelflow._cli._exit_codes import (
    SUCCESS,
    TELEMETRY_LOST,
    Ending,
    by_which_signal,
    end_at_once_next_time,
    ending_of,
    interrupted,
    orderly_termination,
)
from otelflow_exporters._store.reader import StoredTrace, StoredTraces
from otelflow_exporters._tree.wording import format_duration
from otelflow_exporters.tree import print_trace

if TYPE_CHECKING:
    from otelflow_exporters._otlp.model import Span

_FLUSH_MILLIS: Final = 10_000
# Without a store the tree is drawn from memory, which must not grow with the run.
_MOST_GATHERED: Final = 20_000
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class Wishes(NamedTuple):
    """What the user wants besides the run itself."""

    tree: bool
    traceback: bool = False
    strict_telemetry: bool = False


class _Gathering(SpanProcessor):
    """Keeps the ended spans in memory, up to a bound."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        self.omitted = 0

    def on_end(self, span: ReadableSpan) -> None:
        """Keep *span*."""
        if len(self.spans) < _MOST_GATHERED:
            self.spans.append(span)
        else:
            self.omitted += 1


class _TraceListener(otelflow.Listener):
    """Hears which trace a flow run became."""

    trace: SpanContext | None = None

    def on_flow_start(self, event: Flow_Run__Event) -> None:
        """Note the trace of the first flow; those that it runs inside are in it or beside it."""
        if self.trace is None:
            self.trace = event.event_data.span_context


def run_target(target: str, texts: Iterable[str], wishes: Wishes) -> int:
    """Run the flow that *target* names with the ``name=value`` *texts*, and return the exit code.

    Raises OtelflowError for input that cannot be run.
    """
    given = parameters.parse(texts)
    settings.check()
    found = targets.find(target)
    return run(prepared(found, given), wishes, service_name=Path(targets.place_of(target)).stem)


def prepared(found: Any, given: Mapping[str, str]) -> otelflow.Flow[Any]:
    """Return the flow that *found* is or makes, set up with the *given* parameters. Raises InvalidParameter."""
    if isinstance(found, type):
        return _set_up(_instance_of(found), given)
    if isinstance(found, otelflow.Flow):
        return _set_up(found, given)
    arguments = parameters.fit(found, given)
    flow = found(*arguments.positional, **arguments.named)
    if not isinstance(flow, otelflow.Flow):
        raise errors.TargetNotFound(f"{found!r:.80} returns {type(flow).__name__}, not a flow")
    return flow


def _instance_of(kind: type[otelflow.Flow[Any]]) -> otelflow.Flow[Any]:
    try:
        return kind()
    except TypeError as error:
        raise errors.TargetNotFound(
            f"{kind.__name__} cannot be made without arguments ({error}); name an instance of it"
        ) from error


def _set_up(flow: otelflow.Flow[Any], given: Mapping[str, str]) -> otelflow.Flow[Any]:
    if flow.flow_target is None:
        flow.setup()
    target = flow.flow_target
    if target is None:
        raise errors.FlowNotSetUp
    dependencies = flow.task_dependencies()
    injected = [*dependencies, *_by_type(target, dependencies)]
    already = (flow.flow_args, flow.flow_kwargs)
    arguments = parameters.fit(target, given, injected=injected, already=already)
    flow.flow_args, flow.flow_kwargs = arguments
    return flow


def _by_type(target: Callable[..., Any], dependencies: Mapping[str, Any]) -> list[str]:
    """Return the parameters that a dependency fills by its type."""
    return [
        name
        for name, parameter in inspect.signature(target, eval_str=False).parameters.items()
        if isinstance(parameter.annotation, type)
        and any(isinstance(value, parameter.annotation) for value in dependencies.values())
    ]


def run(
    flow: otelflow.Flow[Any],
    wishes: Wishes,
    *,
    service_name: str,
    watching: AbstractContextManager[Any] | None = None,
) -> int:
    """Run *flow* to its end, with *watching* entered around it, report on stderr and return the exit code.

    The service is called *service_name* unless the ``OTEL_*`` variables name it.
    """
    telemetry = otelflow.configure(service_name=None if _is_service_named() else service_name, store=True)
    gathering = _gather(telemetry) if wishes.tree else None
    listener = _TraceListener()
    otelflow.add_listener(listener)
    process = os.getpid()
    began = time.perf_counter()
    with orderly_termination():
        with watching or nullcontext():
            ending = ending_of(lambda: _to_its_end(flow))
        seconds = time.perf_counter() - began
        if os.getpid() != process:
            sys.exit(ending.code)  # a child that the flow forked and that came back: its parent reports
        otelflow.remove_listener(listener)
        report = Report(flow, ending, seconds, listener.trace)
        return _reported(report, telemetry, gathering, wishes)


def _is_service_named() -> bool:
    """Tell whether the environment names the service, or the program did when it was imported."""
    return (
        bool(os.environ.get("OTEL_SERVICE_NAME"))
        or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        # Asked with that variable, the API would look for the provider, and fail if there is none of that name.
        or bool(os.environ.get("OTEL_PYTHON_TRACER_PROVIDER"))
        or not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    )


def _to_its_end(flow: otelflow.Flow[Any]) -> otelflow.Flow[Any]:
    """Execute *flow*; one that is a generator is iterated, since its run is its steps."""
    flow.execute()
    value: Any = flow.flow_return_value
    if inspect.isgenerator(value):
        for _ in value:
            pass
    elif inspect.isasyncgen(value):
        asyncio.run(_exhaust(value))
    return flow


async def _exhaust(steps: Any) -> None:
    async for _ in steps:
        pass


def _gather(telemetry: otelflow.Telemetry) -> _Gathering | None:
    """Keep the spans in memory when there is no store to read them from."""
    if telemetry.store_directory is not None or telemetry.is_host or not isinstance(telemetry.provider, TracerProvider):
        return None
    gathering = _Gathering()
    telemetry.provider.add_span_processor(gathering)
    return gathering


class Report(NamedTuple):
    """What there is to say about a run."""

    flow: otelflow.Flow[Any]
    ending: Ending
    seconds: float
    trace: SpanContext | None

    @property
    def trace_id(self) -> str:
        """Return the id under which the trace is kept and sent, or nothing when it is neither."""
        is_recorded = self.trace is not None and self.trace.is_valid and self.trace.trace_flags.sampled
        return format_trace_id(self.trace.trace_id) if self.trace is not None and is_recorded else ""


def _reported(report: Report, telemetry: otelflow.Telemetry, gathering: _Gathering | None, wishes: Wishes) -> int:
    """Deliver and report what happened, and return the exit code; a signal meanwhile cuts this short."""
    code = None
    try:
        _deliver(telemetry)
        _tell(report, telemetry, gathering, wishes)
    except KeyboardInterrupt:
        code = interrupted()
        end_at_once_next_time()
        say(f"interrupted{by_which_signal()} after the flow's end, while telemetry was delivered")
    _close(report, telemetry, is_delivered=code is None)
    return _code(report.ending, telemetry, wishes) if code is None else code


def _deliver(telemetry: otelflow.Telemetry) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # the program's own, whatever it did with it
        sys.stdout.flush()
    telemetry.force_flush(_FLUSH_MILLIS)


def _tell(report: Report, telemetry: otelflow.Telemetry, gathering: _Gathering | None, wishes: Wishes) -> None:
    if wishes.tree:
        stored = _stored(report.trace_id, telemetry) if report.trace_id else None
        _show_tree(report.trace_id, stored, gathering)
    error = report.ending.error
    if wishes.traceback and error is not None:
        print_traceback(error)
    if error is not None:
        say(f"{report.flow.flow_name} {_what_happened(error)}")


def _close(report: Report, telemetry: otelflow.Telemetry, *, is_delivered: bool) -> None:
    """Say how the flow ended and where its trace is."""
    lost = _lost(telemetry)
    is_stored = telemetry.store_directory is not None
    if is_stored and lost:
        is_stored = bool(report.trace_id) and _stored(report.trace_id, telemetry) is not None
    where = _where(report, telemetry, is_stored=is_stored, is_sent=is_delivered and not lost)
    say(f"{_outcome(report)} in {_seconds(report)}; {where}{lost}")


def _what_happened(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return f"was interrupted{by_which_signal()}"
    return f"failed: {describe(error)}"


def _outcome(report: Report) -> str:
    return f"flow {report.flow.flow_name}: {report.flow.status or 'not run'}"


def _seconds(report: Report) -> str:
    return format_duration(int(report.seconds * 1e9))


def _where(report: Report, telemetry: otelflow.Telemetry, *, is_stored: bool, is_sent: bool) -> str:
    if not report.trace_id:
        is_sampled_out = report.trace is not None and report.trace.is_valid
        return "its trace was not sampled" if is_sampled_out else "no trace was made: OpenTelemetry is off here"
    if telemetry.is_host:
        return f"trace {report.trace_id} goes where the program's own OpenTelemetry set-up sends it"
    endpoint = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), "")
    places = [f"stored in {_shortened(telemetry.store_directory)}"] if is_stored else []
    places += [f"sent to {otelflow.redact(endpoint)}"] if endpoint and is_sent else []
    return f"trace {report.trace_id} {' and '.join(places) or 'is not stored'}"


def _shortened(path: Path | None) -> str:
    try:
        return f"~/{path.relative_to(Path.home())}" if path is not None else ""
    except (ValueError, RuntimeError):
        return str(path)


def _stored(trace_id: str, telemetry: otelflow.Telemetry) -> StoredTrace | None:
    if telemetry.store_directory is None:
        return None
    try:
        return StoredTraces(telemetry.store_directory).load(trace_id)
    except errors.OtelflowError:
        return None


def _show_tree(trace_id: str, stored: StoredTrace | None, gathering: _Gathering | None) -> None:
    spans: list[Span] | list[ReadableSpan] = stored.spans if stored is not None else []
    note = ""
    if gathering is not None:
        spans = [one for one in gathering.spans if one.context and format_trace_id(one.context.trace_id) == trace_id]
        note = f"{gathering.omitted:,} more spans are not kept in memory" if gathering.omitted else ""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print_trace(spans, file=sys.stderr, note=note)


def _lost(telemetry: otelflow.Telemetry) -> str:
    lost = sorted((reason, count) for (_, reason), count in telemetry.dropped.items() if count)
    return "; telemetry was lost: " + ", ".join(f"{count:,} {reason}" for reason, count in lost) if lost else ""


def _code(ending: Ending, telemetry: otelflow.Telemetry, wishes: Wishes) -> int:
    is_lost = any(telemetry.dropped.values())
    return TELEMETRY_LOST if ending.code == SUCCESS and wishes.strict_telemetry and is_lost else ending.code
