"""Make the SDK's own spans at two thirds of its price.

``Tracer.start_span`` spends most of its time on what a run never needs: it cleans attributes that are clean, and makes
lists for events and links that most spans do not have. Sampler, id generator, limits, resource and processors are the
provider's, as ever. What is used of the SDK's private parts is compared with the SDK once per provider; where anything
is different, the SDK's tracer makes the spans.
"""

import threading
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.trace import SpanLimits, Tracer, sampling
from opentelemetry.sdk.trace import _Span as SdkSpan  # as the SDK's tracer makes them
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
)
from opentelemetry.trace import Span as ApiSpan

from otelflow._core.process.provider import SpanMaker

_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_NOT_SAMPLED: Final = TraceFlags(TraceFlags.DEFAULT)
_UNSET: Final = Status(StatusCode.UNSET)
_RECORD: Final = sampling.Decision.RECORD_AND_SAMPLE
# What a QuickSpan has from its maker, or from its first event or link on.
_SET_LATER: Final = frozenset(
    {"_attributes", "_events", "_links", "_record_end_metrics", "_record_exception", "_set_status_on_exception"}
)


class _WhenNeeded:
    """A bounded list of a span that is made when somebody looks for it."""

    def __init__(self, limit: str) -> None:
        self._limit = limit

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, span: Any, owner: type) -> Any:
        return span.__dict__.setdefault(self._name, BoundedList(getattr(span._limits, self._limit)))


class QuickSpan(SdkSpan):
    """A span of the SDK in every respect but the way it is made."""

    # The SDK makes these at once; most spans never have an event or a link.
    _events: Any = _WhenNeeded("max_events")
    _links: Any = _WhenNeeded("max_links")

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


class QuickSpanMaker:
    """Does what the SDK's ``Tracer.start_span`` does, for internal spans without links."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
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
        tracer, given = self._tracer, attributes
        above = get_current_span(context).get_span_context()
        if not tracer._is_enabled():
            return NonRecordingSpan(above)
        parent = above if above.is_valid else None
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
        when_ended = tracer._tracer_metrics.start_span(parent, decision)
        if decision is sampling.Decision.DROP:
            return NonRecordingSpan(own)
        span = QuickSpan(tracer, name, own, parent)
        span._attributes = _bounded(attributes, span._limits, are_clean=attributes is given)
        span._record_exception, span._set_status_on_exception = record_exception, set_status_on_exception
        span._record_end_metrics = when_ended
        span.start(start_time, context)
        return span


def _bounded(attributes: Mapping[str, Any], limits: SpanLimits, *, are_clean: bool) -> BoundedAttributes:
    most, longest = limits.max_span_attributes, limits.max_span_attribute_length
    if are_clean and longest is None and (most is None or len(attributes) <= most):
        for value in attributes.values():
            if type(value) is not str:
                break
        else:
            bounded = BoundedAttributes(most, None, False)
            bounded._dict.update(attributes)
            return bounded
    return BoundedAttributes(most, attributes, False, longest)


def _follows_sampled_parent(sampler: sampling.Sampler) -> bool:
    """Tell whether *sampler* samples whatever has a sampled local parent, and adds nothing, as the default one does."""
    return type(sampler) is sampling.ParentBased and sampler._local_parent_sampled is sampling.ALWAYS_ON


def quick(tracer: SpanMaker) -> SpanMaker:
    """Return a maker that makes what *tracer* makes, or *tracer* when this is not the SDK that is known here."""
    if type(tracer) is not Tracer:
        return tracer
    try:
        known = QuickSpan(tracer, "probe", SpanContext(1, 1, is_remote=False), None)
        theirs = SdkSpan(
            "probe", SpanContext(1, 1, is_remote=False), resource=tracer.resource, limits=tracer._span_limits
        )
        is_known = vars(theirs).keys() - vars(known).keys() == _SET_LATER
        return QuickSpanMaker(tracer) if is_known and not vars(known).keys() - vars(theirs).keys() else tracer
    except (AttributeError, TypeError):
        return tracer
