"""Make the SDK's own spans at two thirds of its price.

``Tracer.start_span`` spends most of its time on what a run never needs: it cleans attributes that are clean, and makes
lists for events and links that most spans do not have. Sampler, id generator, limits, resource and processors are the
provider's, as ever. Private parts of the SDK are used: once per provider a span is made on trial and compared with one
that the SDK makes, and where they differ the SDK's tracer makes the spans. It also takes over where a private part
turns out to be missing later.
"""

import functools
import threading
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, Tracer, TracerProvider, sampling
from opentelemetry.sdk.trace import _Span as SdkSpan  # as the SDK's tracer makes them
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace import Span as ApiSpan

from otelflow._core.process.provider import SpanMaker

_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_NOT_SAMPLED: Final = TraceFlags(TraceFlags.DEFAULT)
_UNSET: Final = Status(StatusCode.UNSET)
_RECORD: Final = sampling.Decision.RECORD_AND_SAMPLE
# The modules that use private parts of the SDK's spans
_OF_PRIVATE_PARTS: Final = frozenset({__name__, SdkSpan.__module__})
# What a QuickSpan has from its first event or link on
_SET_LATER: Final = frozenset({"_events", "_links"})


class _LateList:
    """A bounded list of a span that is made when it is first read."""

    def __init__(self, limit: str) -> None:
        self._limit = limit

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, span: Any, owner: type) -> Any:
        return span.__dict__.setdefault(self._name, BoundedList(getattr(span._limits, self._limit)))


class QuickSpan(SdkSpan):
    """A span of the SDK in every respect but the way it is made."""

    # The SDK makes these at once; most spans never have an event or a link.
    _events: Any = _LateList("max_events")
    _links: Any = _LateList("max_links")

    def __init__(self, tracer: Tracer, name: str, context: SpanContext, parent: SpanContext | None) -> None:
        self._name = name
        self._context = context
        self._kind = SpanKind.INTERNAL
        self._instrumentation_info = tracer.instrumentation_info
        self._instrumentation_scope = tracer._instrumentation_scope
        self._parent = parent
        self._start_time = None
        self._end_time = None
        self._resource = tracer.resource
        self._status = _UNSET
        self._sampler = tracer.sampler
        self._trace_config = None
        self._span_processor = tracer.span_processor
        self._limits = tracer._span_limits
        self._lock = threading.Lock()

    def get_span_context(self) -> SpanContext:
        """Return the span's ids and flags."""
        return self._context  # type: ignore[return-value]  # the SDK says that it may be None, and never lets it be

    def _readable_span(self) -> "QuickSpan":
        return self  # nothing changes any more in a span that has ended

    def end(self, end_time: int | None = None) -> None:
        """End the span; if the SDK misses one of its private parts in it, a span of the SDK ends in its place."""
        try:
            super().end(end_time)
        except (AttributeError, TypeError) as error:
            if not _is_of_private_parts(error):
                raise
            _span_of_the_sdk(self).end(end_time)


class _Ends(SpanProcessor):
    """Tells *processor* of the end of a span, whose start it knows already."""

    def __init__(self, processor: SpanProcessor) -> None:
        self._processor = processor

    def on_end(self, span: ReadableSpan) -> None:
        self._processor.on_end(span)


def _span_of_the_sdk(span: QuickSpan) -> SdkSpan:
    replacement = SdkSpan(
        span._name,
        span.get_span_context(),
        parent=span._parent,
        sampler=span._sampler,
        resource=span._resource,
        attributes=span._attributes,
        events=span._events,
        links=span._links,
        kind=span._kind,
        span_processor=_Ends(span._span_processor),
        instrumentation_info=span._instrumentation_info,
        record_exception=span._record_exception,
        set_status_on_exception=span._set_status_on_exception,
        limits=span._limits,
        instrumentation_scope=span._instrumentation_scope,
    )
    replacement.start(span._start_time)
    replacement.set_status(span._status)
    return replacement


def _is_of_private_parts(error: BaseException) -> bool:
    """Tell whether *error* was raised here or in the SDK's own spans, and not in a sampler, processor or exporter."""
    frames = error.__traceback__
    while frames is not None and frames.tb_next is not None:
        frames = frames.tb_next
    return frames is not None and frames.tb_frame.f_globals.get("__name__") in _OF_PRIVATE_PARTS


class QuickSpanMaker:
    """Does what the SDK's ``Tracer.start_span`` does, for internal spans without links."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._is_quick = True
        self._follows_sampled_parent = _follows_sampled_parent(tracer.sampler)

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        *,
        attributes: Mapping[str, Any],
        start_time: int,
        record_exception: bool,
        set_status_on_exception: bool,
    ) -> ApiSpan:
        """Start a span that is not current; its parent is the span of *context*, or the current one."""
        if self._is_quick:
            try:
                span = self._make(name, context, attributes, record_exception, set_status_on_exception)
            except (AttributeError, TypeError) as error:
                if not _is_of_private_parts(error):
                    raise
                self._is_quick = False
            else:
                if type(span) is QuickSpan:
                    span.start(start_time, context)  # calls processors: not to be done twice
                return span
        return self._tracer.start_span(
            name,
            context,
            attributes=attributes,
            start_time=start_time,
            record_exception=record_exception,
            set_status_on_exception=set_status_on_exception,
        )

    def _make(
        self,
        name: str,
        context: Context | None,
        attributes: Mapping[str, Any],
        record_exception: bool,
        set_status_on_exception: bool,
    ) -> ApiSpan:
        tracer, clean = self._tracer, attributes
        enclosing = get_current_span(context).get_span_context()
        if not tracer._is_enabled():
            return NonRecordingSpan(enclosing)
        parent = enclosing if enclosing.is_valid else None
        trace_id = tracer.id_generator.generate_trace_id() if parent is None else parent.trace_id
        decision, flags, state = _RECORD, _SAMPLED, None
        if parent is not None and self._follows_sampled_parent and parent.trace_flags.sampled and not parent.is_remote:
            state = parent.trace_state
        else:
            result = tracer.sampler.should_sample(context, trace_id, name, SpanKind.INTERNAL, attributes, ())
            decision, attributes, state = result.decision, result.attributes or {}, result.trace_state
            flags = _SAMPLED if decision is _RECORD else _NOT_SAMPLED
        if tracer.id_generator.is_trace_id_random() if parent is None else parent.trace_flags.random_trace_id:
            flags = TraceFlags(flags | TraceFlags.RANDOM_TRACE_ID)
        own = SpanContext(trace_id, tracer.id_generator.generate_span_id(), False, flags, state)
        record_end_metrics = tracer._tracer_metrics.start_span(parent, decision)
        if decision is sampling.Decision.DROP:
            return NonRecordingSpan(own)
        span = QuickSpan(tracer, name, own, parent)
        span._attributes = _bounded(attributes, span._limits, are_clean=attributes is clean)
        span._record_exception, span._set_status_on_exception = record_exception, set_status_on_exception
        span._record_end_metrics = record_end_metrics
        return span


def _bounded(attributes: Mapping[str, Any], limits: SpanLimits, *, are_clean: bool) -> BoundedAttributes:
    limit, longest = limits.max_span_attributes, limits.max_span_attribute_length
    if are_clean and longest is None and (limit is None or len(attributes) <= limit):
        for value in attributes.values():
            if type(value) is not str:
                break
        else:
            bounded = BoundedAttributes(limit, None, False)
            bounded._dict.update(attributes)
            return bounded
    return BoundedAttributes(limit, attributes, False, longest)


def _follows_sampled_parent(sampler: sampling.Sampler) -> bool:
    """Tell whether *sampler* samples whatever has a sampled local parent, and adds nothing, as the default one does."""
    return type(sampler) is sampling.ParentBased and sampler._local_parent_sampled is sampling.ALWAYS_ON


class _SameIds(IdGenerator):
    def generate_span_id(self) -> int:
        return 1

    def generate_trace_id(self) -> int:
        return 1

    def is_trace_id_random(self) -> bool:
        return True


@functools.cache
def _trial_tracer() -> object:
    # Once for the process: the SDK lets each provider be called in every forked child, for ever.
    provider = TracerProvider(sampling.ALWAYS_ON, Resource.get_empty(), shutdown_on_exit=False, id_generator=_SameIds())
    return provider.get_tracer("trial")


# A span without a parent, and one whose parent has an id that is not random: versions of the SDK differ in its flags.
_TRIAL_CONTEXTS: Final = (
    Context(),
    set_span_in_context(NonRecordingSpan(SpanContext(1, 2, False, _SAMPLED)), Context()),
)


def _trial_span(maker: SpanMaker, context: Context) -> SdkSpan:
    options = {"record_exception": False, "set_status_on_exception": False}
    # Whole microseconds, in which the spans are compared
    span: Any = maker.start_span("trial", context, attributes={"a": "b"}, start_time=1_000, **options)
    span.set_attribute("n", 1)
    span.add_event("event", {"a": "b"}, 2_000)
    span.set_status(Status(StatusCode.ERROR, "trial"))
    span.end(3_000)
    return span  # type: ignore[no-any-return]  # anything else is no span that is compared


def quick(tracer: SpanMaker) -> SpanMaker:
    """Return a maker that makes the spans of *tracer* faster, or *tracer* when this is not the SDK that is known here.

    The spans on trial are those of a provider of their own: no sampler or processor of the program is told of them.
    """
    if type(tracer) is not Tracer:
        return tracer
    try:
        trial: Any = _trial_tracer()
        for context in _TRIAL_CONTEXTS:
            quick_span, span = _trial_span(QuickSpanMaker(trial), context), _trial_span(trial, context)
            parts = vars(span).keys() - vars(quick_span).keys()
            is_known = parts <= _SET_LATER and vars(quick_span).keys() <= vars(span).keys()
            is_same = type(quick_span) is QuickSpan and quick_span.to_json() == span.to_json()
            if not is_known or not is_same or quick_span.get_span_context() != span.get_span_context():
                return tracer
    except (AttributeError, TypeError, ValueError):
        return tracer
    return QuickSpanMaker(tracer)
