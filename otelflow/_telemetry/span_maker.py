"""Make the spans of runs, as the SDK's tracer would: its sampler, ids, resource, limits, scope and processors."""

from _thread import RLock  # that of threading is a function of Python, which takes as long again
from collections.abc import Callable, Mapping
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import Tracer, sampling
from opentelemetry.sdk.trace._tracer_metrics import NoOpTracerMetrics
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    TraceState,
    get_current_span,
)
from opentelemetry.trace import Span as ApiSpan
from opentelemetry.trace.span import DEFAULT_TRACE_STATE

from otelflow._core.runs.current import SPAN_KEY, current_context
from otelflow._telemetry.id_generator import SystemIdGenerator
from otelflow._telemetry.span import DroppedSpan, DroppedTrace, Origin, RunSpan

_new_object: Final = object.__new__
_new_tuple: Final[Any] = tuple.__new__
_RECORD: Final = sampling.Decision.RECORD_AND_SAMPLE
_DROP: Final = sampling.Decision.DROP
_ALWAYS_ON: Final = sampling.ALWAYS_ON
_ALWAYS_OFF: Final = sampling.ALWAYS_OFF
_SAMPLED: Final = TraceFlags.SAMPLED
# An older SDK knows no such flag.
_RANDOM: Final[int] = getattr(TraceFlags, "RANDOM_TRACE_ID", 0)
_FLAGS: Final = [TraceFlags(number) for number in range((_SAMPLED | _RANDOM) + 1)]
_ROOT_FLAGS: Final = _FLAGS[_SAMPLED | _RANDOM]  # of a trace whose id comes from a generator that is known
# Flags that a child of a sampled span has, too
_QUICK_FLAGS: Final = frozenset({_SAMPLED, _SAMPLED | _RANDOM})
# Their ids are valid, and nobody notices whether one was made.
_KNOWN_GENERATORS: Final = frozenset({RandomIdGenerator, SystemIdGenerator})
_PARENT_BASED: Final = frozenset({sampling.ParentBased, sampling.ParentBasedTraceIdRatio})


def known_answer(sampler: Any, parent: SpanContext | None, trace_id: int) -> bool | None:
    """Return whether *sampler* samples a child of *parent*, or None if it has to be asked.

    It is read anew for each span, and by its exact type: a subclass may do anything.
    """
    if type(sampler) in _PARENT_BASED:
        if parent is None:
            sampler = sampler._root
        elif parent.is_remote:
            sampler = sampler._remote_parent_sampled if parent[3] & _SAMPLED else sampler._remote_parent_not_sampled
        else:
            sampler = sampler._local_parent_sampled if parent[3] & _SAMPLED else sampler._local_parent_not_sampled
    if sampler is sampling.ALWAYS_ON:
        return True
    if sampler is sampling.ALWAYS_OFF:
        return False
    if type(sampler) is sampling.TraceIdRatioBased:
        return trace_id & sampler.TRACE_ID_LIMIT < sampler.bound
    return None


class RunSpanMaker:
    """Makes internal spans without links for one tracer of the SDK."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._origin = Origin(tracer)

    def start(
        self, name: str, context: Context | None, attributes: Callable[[], dict[str, str]], start_time: int
    ) -> ApiSpan:
        """Start a span that is not current; its parent is the span of *context*, or the current one.

        The first span of a trace, and the child of one of ours, have a short way of their own here, where the sampler
        is a known one: nearly every span is one of these.
        """
        tracer = self._tracer
        enclosing: Any = (current_context() if context is None else context).get(SPAN_KEY)
        if type(tracer._tracer_metrics) is NoOpTracerMetrics and tracer._is_enabled():
            sampler: Any = tracer.sampler
            is_by_parent = type(sampler) in _PARENT_BASED
            generator = tracer.id_generator
            kind = type(enclosing)
            if kind is RunSpan:
                # A SpanContext is a tuple: trace id, span id, whether it is remote, flags, trace state, whether valid.
                parent = enclosing._context
                answer = sampler._local_parent_sampled if is_by_parent else sampler
                if (
                    answer is _ALWAYS_ON
                    and type(generator) in _KNOWN_GENERATORS
                    and parent[3] in _QUICK_FLAGS
                    and parent[5]
                ):
                    ids = (parent[0], generator.generate_span_id(), False, parent[3], parent[4], True)
                    span = self._span(name, _new_tuple(SpanContext, ids), parent, start_time, attributes())
                    self._origin.processors.started(span, context)
                    return span
            elif kind is DroppedSpan:
                answer = sampler._local_parent_not_sampled if is_by_parent else sampler
                trace: DroppedTrace = enclosing.trace
                if answer is _ALWAYS_OFF and trace.generator is generator:
                    return trace.span()
            elif enclosing is None and type(generator) in _KNOWN_GENERATORS:
                answer = sampler._root if is_by_parent else sampler
                if answer is _ALWAYS_ON:
                    trace_id, span_id = generator.generate_trace_id(), generator.generate_span_id()
                    own = _new_tuple(SpanContext, (trace_id, span_id, False, _ROOT_FLAGS, DEFAULT_TRACE_STATE, True))
                    span = self._span(name, own, None, start_time, attributes())
                    self._origin.processors.started(span, context)
                    return span
        return self._decide(name, context, attributes, start_time)

    def _decide(
        self, name: str, context: Context | None, attributes: Callable[[], dict[str, str]], start_time: int
    ) -> ApiSpan:
        """Start a span step by step as the SDK does."""
        tracer = self._tracer
        parent: SpanContext | None = get_current_span(context).get_span_context()
        if not tracer._is_enabled():
            return NonRecordingSpan(parent)  # type: ignore[arg-type]  # as the SDK does
        generator = tracer.id_generator
        if parent is not None and parent.is_valid:
            trace_id, state, random = parent.trace_id, parent.trace_state, parent.trace_flags & _RANDOM
        else:
            parent, state, trace_id = None, DEFAULT_TRACE_STATE, generator.generate_trace_id()
            random = _RANDOM if _RANDOM and generator.is_trace_id_random() else 0

        answer = known_answer(tracer.sampler, parent, trace_id)
        values: Mapping[str, Any] = {}
        decision: Any
        if answer is None:
            result = tracer.sampler.should_sample(context, trace_id, name, SpanKind.INTERNAL, attributes(), ())
            decision, values = result.decision, result.attributes or {}
            state = result.trace_state or DEFAULT_TRACE_STATE
            is_sampled, is_recording = decision.is_sampled(), decision.is_recording()
        else:
            is_sampled = is_recording = answer
            decision = _RECORD if answer else _DROP

        metrics = tracer._tracer_metrics
        count_end = None if type(metrics) is NoOpTracerMetrics else metrics.start_span(parent, decision)
        if answer is False and type(generator) in _KNOWN_GENERATORS:
            return DroppedTrace(generator, trace_id, _FLAGS[random], state).span()
        own = _ids(generator, trace_id, _FLAGS[random | _SAMPLED if is_sampled else random], state)
        if not is_recording:
            return NonRecordingSpan(own)
        if answer:
            values = attributes()
        span = self._span(name, own, parent, start_time, values, is_clean=answer is not None)
        if count_end is not None:
            span._record_end_metrics = count_end
        self._origin.processors.started(span, context)
        return span

    def _span(
        self,
        name: str,
        own: SpanContext,
        parent: SpanContext | None,
        start_time: int,
        values: Mapping[str, Any],
        *,
        is_clean: bool = True,
    ) -> RunSpan:
        """Return a span that nobody knows of yet; *values* that are not clean are texts and whatever a sampler adds."""
        origin = self._origin
        span: Any = _new_object(RunSpan)  # the SDK's own __new__ takes as long as all of this
        span._name = name
        span._context = own
        span._parent = parent
        span._start_time = start_time
        span._end_time = None
        span._resource = self._tracer.resource  # another one in a forked child
        span._lock = RLock()  # a signal handler that writes on the span may come while it is held
        span._origin = origin
        span._instrumentation_scope = origin.scope
        if is_clean and len(values) <= origin.room:
            span._is_plain = True
            span._plain = values
        else:
            span._attributes = origin.bounded(values)
        return span  # type: ignore[no-any-return]  # a RunSpan


def _ids(generator: IdGenerator, trace_id: int, flags: TraceFlags, state: TraceState) -> SpanContext:
    """Return the ids of a new span; a known generator's are valid, and to know that saves half of the time."""
    span_id = generator.generate_span_id()
    if type(generator) in _KNOWN_GENERATORS:
        context: SpanContext = _new_tuple(SpanContext, (trace_id, span_id, False, flags, state, True))
        return context
    return SpanContext(trace_id, span_id, False, flags, state)
