"""The least that a task and a flow of one could take in Python, to know what is out of reach.

Written by hand, for one task and nothing else: the same span, made current and handed to the same queue, the same
numbers counted, one listener told. There is no ``Flow``, no ``Task``, no run that can be ended from elsewhere, no
message, no argument that is filled in, and nothing is guarded against Ctrl-C, forks and generators.
"""

import time
from _thread import RLock
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanContext, TraceFlags
from opentelemetry.trace.span import DEFAULT_TRACE_STATE
from peers import task_attributes

from otelflow import semconv
from otelflow._core.process.ids import new_id
from otelflow._core.runs.current import SPAN_KEY, _attach, current_context
from otelflow._telemetry.span import Origin, RunSpan
from otelflow.metrics._counts import BUCKETS, Distribution

SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class Least:
    """Makes the spans of one tracer."""

    def __init__(self, provider: TracerProvider) -> None:
        tracer = provider.get_tracer("floor")
        self.resource, self.generator = provider.resource, tracer.id_generator
        self.origin = Origin(tracer)
        (self.processor,) = provider._active_span_processor._span_processors
        self.lock = RLock()
        self.of_tasks, self.of_flows = Distribution(BUCKETS), Distribution(BUCKETS)
        self.heard = 0

    def span(self, name: str, attributes: dict[str, Any], outer: Context, began: int) -> Any:
        generator, enclosing, span = self.generator, outer.get(SPAN_KEY), object.__new__(RunSpan)
        span._name, span._start_time, span._end_time, span._plain = name, began, None, attributes
        if enclosing is None:
            parent, ids = None, (generator.generate_trace_id(), generator.generate_span_id(), False, SAMPLED)
        else:
            parent = enclosing._context
            ids = (parent[0], generator.generate_span_id(), False, parent[3])
        span._parent, span._context = parent, tuple.__new__(SpanContext, (*ids, DEFAULT_TRACE_STATE, True))
        span._origin, span._instrumentation_scope, span._resource = self.origin, self.origin.scope, self.resource
        span._lock, span._is_plain = RLock(), True
        _attach(Context({**outer, SPAN_KEY: span}))
        return span

    def end(self, span: Any, outer: Context, clock: float, durations: Distribution) -> None:
        seconds = time.perf_counter() - clock
        _attach(outer)
        span._plain[semconv.RUN_RESULT] = "success"
        span._end_time = span._start_time + round(seconds * 1e9)
        self.processor.on_end(span)
        with self.lock:
            durations.counts[bisect_left(BUCKETS, seconds)] += 1
            durations.total += seconds
        try:
            self.listener(span)
        except Exception:  # noqa: BLE001 as any listener is guarded
            self.heard = 0

    def listener(self, _: Any) -> None:
        self.heard += 1

    def task(self, number: int) -> int:
        outer = current_context()
        span, clock = self.span("task add", task_attributes(), outer, time.time_ns()), time.perf_counter()
        value = number + 1
        self.end(span, outer, clock, self.of_tasks)
        return value

    def flow(self, number: int) -> None:
        outer = current_context()
        attributes = {semconv.FLOW_NAME: "of_one", semconv.FLOW_RUN_ID: new_id("flow_id__")}
        attributes[semconv.CODE_FUNCTION_NAME] = "peers.plain"
        span, clock = self.span("flow of_one", attributes, outer, time.time_ns()), time.perf_counter()
        self.task(number)
        self.end(span, outer, clock, self.of_flows)


def least_of(provider: TracerProvider, kind: str) -> Callable[[Any], Callable[[int], Any]]:
    """Return what gives the call of a task or of a flow of one, for ``subjects.by_hand``."""
    return lambda _: getattr(Least(provider), kind)
