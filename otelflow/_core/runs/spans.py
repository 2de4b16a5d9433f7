"""The span of a run: how it starts, what stands on it, and how it ends."""

import itertools
import os
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, Span, SpanContext, Status, StatusCode

from otelflow import semconv
from otelflow._core.process import losses, provider, trace_address
from otelflow._core.process.process import State
from otelflow._core.process.settings import settings
from otelflow._core.runs.run import Run
from otelflow.errors import UpstreamFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.context import Context

# Of a chain or group of exceptions, at most so many are searched for the one that is recorded already.
_MOST_ERRORS: Final = 100
# Of more links, it is worth while to ask how many the span keeps.
_FEW_LINKS: Final = 64
_INTERRUPTED: Final = "A run was interrupted before it had its span, and is missing in the trace"
_END_FAILED: Final = "A span processor raised when a span ended; the run goes on"


class _Unended(State):
    """The runs that a full stack kept from ending their span, or from handing it on: nothing can be called there.

    *chain* is the last of them, whether its span had ended, and the chain of the others; to add to it takes no call.
    """

    chain: "tuple[Run, bool, Any] | None"

    def reset(self) -> None:
        """Have none, in a forked child, too: its parent counts them."""
        self.chain = None

    begin_anew = reset


unended: Final = _Unended()


def start(run: Run, span_maker: "provider.SpanMaker") -> None:
    """Give *run* the span that *span_maker* makes, if it does."""
    try:
        parent = run.parent
        is_first = parent is None and provider.first_flow.is_to_come and run.kind == "flow"
        context = _environment_parent() if is_first else None
        span = run.span = span_maker.start(run.span_name(), context, run.attributes, run.started_ns)
        if span.is_recording():
            run.is_recording = True
            made_spans = None if parent is None else parent.made_spans
            if made_spans is None:
                made_spans, run.losses_before = itertools.count(), dict(losses.dropped) if losses.dropped else {}
            run.made_spans = made_spans
            next(made_spans)
    except Exception as error:  # noqa: BLE001 samplers, id generators and processors are foreign code
        losses.record("traces", "start_failed", provider.START_FAILED, error=error)


def end(run: Run) -> None:
    """Write on the span of *run* how it ended and what happened inside, and end it."""
    span = run.span
    if not run.is_recording and (span is INVALID_SPAN or getattr(type(span), "end", None) is NonRecordingSpan.end):
        if span is INVALID_SPAN and not run.is_open and provider.span_maker() is not None:  # Ctrl-C came into start()
            losses.record("traces", "start_failed", _INTERRUPTED)
        return  # there is nothing to end
    quick_end: Callable[[Span, str, int, int | None], None] | None = None
    made_spans: int | None = None
    ended_ns = run.ended_ns
    parent, ending = run.parent, run.ending
    try:
        if run.is_recording:
            is_outermost = parent is None or parent.made_spans is None
            # What _write() writes besides must be asked for here, or most runs never get it.
            is_result_all = run.journal is None and ending.error is None and not run.failed_tasks
            if is_result_all and not (is_outermost and losses.dropped):  # as for most runs
                quick_end = getattr(type(span), "end_with", None)
            if is_outermost:
                made_spans = _add_up(run, span)
            if quick_end is None:
                _write(run, span, made_spans, ended_ns)
    finally:
        try:
            if quick_end is None:
                span.end(ended_ns)
            else:
                quick_end(span, ending.result, ended_ns, made_spans)
        except RecursionError:
            unended.chain = run, True, unended.chain
        except Exception as error:  # noqa: BLE001 a processor that raises must not replace the user's exception
            losses.record("traces", "end_failed", _END_FAILED, error=error)


def end_unended() -> None:
    """End the spans that could not be ended while the stack was full; count those that are lost."""
    while unended.chain is not None:
        run, has_ended, unended.chain = unended.chain
        try:
            if run.is_current:  # the run around it ends it
                continue
            if run.is_recording and run.span.is_recording():
                ending = getattr(run, "ending", None)  # it may have come no further than its start
                run.span.set_attribute(semconv.RUN_RESULT, semconv.ERROR if ending is None else ending.result)
                run.span.end(run.ended_ns)
            elif has_ended:
                losses.lost("traces", "end_failed")
        except RecursionError:
            unended.chain = run, has_ended, unended.chain
            raise
        except Exception as error:  # noqa: BLE001 as in end()
            losses.record("traces", "end_failed", _END_FAILED, error=error)


def _write(run: Run, span: Span, made_spans: int | None, ended_ns: int) -> None:
    """Write on *span* how *run* ended and what happened inside: nothing of that is later than its end, *ended_ns*."""
    span.set_attribute(semconv.RUN_RESULT, run.ending.result)
    if run.failed_tasks:
        span.set_attribute(semconv.FLOW_TASKS_FAILED, run.failed_tasks)
    if run.journal is not None:
        for name, time_ns, attributes in run.journal.events(ended_ns):
            span.add_event(name, attributes, time_ns)
        for key, count in run.journal.omitted().items():
            span.set_attribute(key, count)
    if made_spans is not None:
        span.set_attribute(semconv.TELEMETRY_SPANS, made_spans)
        for (signal, reason), count in list(losses.dropped.items()) if losses.dropped else ():
            lost = count - run.losses_before.get((signal, reason), 0)
            if lost:
                span.set_attribute(semconv.TELEMETRY_LOST.format(signal=signal, reason=reason), lost)
    if run.ending.error is not None:  # the exception comes last, so that it stays
        _describe_error(run, span, run.ending.error, ended_ns)


def _add_up(run: Run, span: Span) -> int | None:
    """Let the trace of an outermost run be the last one; return how many spans it has made, if that was counted."""
    context = context_of(span)
    if context is not None:
        trace_address.remember(context.trace_id)
    return None if run.made_spans is None else next(run.made_spans)


def _describe_error(run: Run, span: Span, error: BaseException, ended_ns: int) -> None:
    error_type, message = run.ending.error_type, run.ending.error_message
    span.set_attribute(semconv.ERROR_TYPE, error_type)
    if run.ending.is_failure:
        culprit = origin(run, error) if run.kind == "flow" else None
        if culprit:
            span.set_attribute(semconv.FLOW_FAILED_IN, culprit)
            message = f"{culprit}: {message or error_type}"
        if not _may_fail(run, error):
            span.set_status(Status(StatusCode.ERROR, message or error_type))
    if settings().events != "log" and not is_recorded(run, error):
        span.add_event(semconv.EXCEPTION_EVENT, run.ending.exception_attributes(), ended_ns)


def is_recorded(run: Run, error: BaseException) -> bool:
    """Tell whether *error* was recorded on a run inside *run*."""
    return run.recorded is not None and id(error) in run.recorded


def origin(run: Run, error: BaseException) -> str | None:
    """Return the name of the span inside *run* that raised *error*, or something that *error* came of."""
    if run.recorded is None:
        return None
    rest: list[Any] = [error]
    for _ in range(_MOST_ERRORS):
        if not rest:
            break
        item = rest.pop()
        if item is None:
            continue
        # A task that was not run because another failed is not where it went wrong.
        reason = item.__cause__ if issubclass(type(item), UpstreamFailed) else None
        record = run.recorded.get(id(reason)) or run.recorded.get(id(item))
        if record is not None:
            return record[1]
        rest += [item.__context__, item.__cause__]
        if issubclass(type(item), BaseExceptionGroup):  # isinstance() would ask the exception itself, too
            rest += reversed(item.exceptions[:_MOST_ERRORS])
    return None


def _may_fail(run: Run, error: BaseException) -> bool:
    """Tell whether something around *run* goes on although it failed, as the user asked: no span says ERROR then.

    Whoever looks at a list of traces could not tell that one from a trace that failed.
    """
    if run.ending.result == semconv.ERROR or not issubclass(type(error), Exception):
        return False
    inner: Run | None = run
    while inner is not None:
        if inner.keeps_errors and (inner.parent is not None or getattr(inner.span, "parent", None) is not None):
            return True
        inner = inner.parent
    return False


def link_to_each(span: Span, contexts: "Sequence[SpanContext]") -> None:
    """Link *span* to the spans of *contexts*; the first of more than it keeps count as dropped, without being made."""
    if len(contexts) > _FEW_LINKS:
        pieces: Any = getattr(span, "_links", None)  # the SDK's, which keeps the last
        most = getattr(getattr(pieces, "_dq", None), "maxlen", None)
        if most is not None and len(contexts) > most:
            pieces.dropped += len(contexts) - most
            contexts = contexts[len(contexts) - most :]
    for context in contexts:
        span.add_link(context)


def note(run: Run, key: str, value: "str | float | Sequence[str]") -> None:
    """Write an attribute that a policy learns while *run* is open on its span."""
    if run.is_recording:
        try:
            run.span.set_attribute(key, value)
        except Exception as error:  # noqa: BLE001 a host's span is foreign code
            losses.warn_once("note", "A span does not take an attribute; the run goes on", error=error)


def give_up(run: Run) -> None:
    """Write nothing more on the span of *run*, which has ended."""
    run.span = NonRecordingSpan(run.span.get_span_context())
    run.is_recording = False


def context_of(span: Span) -> SpanContext | None:
    """Return the ids of *span*, or None when there are none; a host's span is foreign code, too."""
    if span is INVALID_SPAN:
        return None
    try:
        return span.get_span_context()
    except Exception as error:  # noqa: BLE001 see above
        losses.warn_once("span_context", "A span does not tell its ids; the run goes on", error=error)
        return None


def _environment_parent() -> "Context | None":
    """Return the context that the environment names for the first flow of this process, once.

    ``OTEL_PROPAGATORS`` says in which form: ``TRACEPARENT`` unless it is set.
    """
    # In one step: of two threads that have come here, one has the first flow.
    is_first, provider.first_flow.is_to_come = provider.first_flow.is_to_come, False
    if not is_first:
        return None
    traceparent = os.environ.get("TRACEPARENT")
    if not (traceparent or os.environ.get("OTEL_PROPAGATORS")):
        return None
    if trace.get_current_span().get_span_context().is_valid:
        return None
    try:
        from opentelemetry import propagate  # noqa: PLC0415 it reads OTEL_PROPAGATORS, and may refuse it

        from otelflow._core.runs import propagation  # noqa: PLC0415 few programs go on with a trace
    except Exception as error:  # noqa: BLE001 a propagator is foreign code
        losses.warn_once("propagators", "OTEL_PROPAGATORS cannot be used (%s); a new trace begins", error)
        return None
    # TRACEPARENT is the variable for traceparent, X_B3_TRACEID the one for x-b3-traceid, and so on.
    context = propagation.context_of({name.lower().replace("_", "-"): value for name, value in os.environ.items()})
    if trace.get_current_span(context).get_span_context().is_valid:
        return context
    if traceparent and "traceparent" in propagate.get_global_textmap().fields:
        losses.warn_once("traceparent", "TRACEPARENT=%r is not a W3C traceparent; a new trace begins", traceparent)
    return None
