"""The listener: a span processor with a hook for each kind of event."""

from collections.abc import Callable
from typing import Any, ClassVar

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from otelflow._core.inside import events, listeners
from otelflow._core.inside.events import Flow_Run__Event, Flow_Run__Event_Type
from otelflow._listeners.from_spans import events_at_end, events_at_start


class Listener(SpanProcessor):
    """Hears about every run. Override the hooks that you need; the others do nothing.

    Each hook takes one ``Flow_Run__Event`` and returns nothing. Its ``event_type`` and ``time_unix_nano`` (nanoseconds
    since the epoch) say what happened and when; its ``event_data`` has the names and ids of the flow's and the task's
    run, the ``span_context``, and:

    ``on_flow_start``, ``on_task_start``
        The run is open and its body has not begun.
    ``on_message``
        The run printed or logged: ``log_level``, and ``data["message_data"]`` with ``message`` and, without colours,
        ``message_text``.
    ``on_artifact``
        The run left an artifact: ``data["artifact_data"]`` with ``key``, ``type``, ``description`` and ``data``.
    ``on_result``
        The run recorded a result: ``data["result_data"]`` with ``key`` and ``description``.
    ``on_flow_stop``, ``on_task_stop``
        The run has ended: ``result`` (``"success"``, ``"failure"``, … of ``otelflow.semconv.RESULTS``, or ``SKIP``),
        ``duration`` in seconds, and after an error ``error_type``, ``error_message`` (redacted) and ``error``, the
        exception itself.
    ``on_event``
        Any of these, before the hook for it.

    A hook is called on the thread of the run and must not block it. One that raises is counted in the metric
    ``otelflow_listener_errors_total``, logged once, and never breaks the run.

    ``otelflow.add_listener(listener)`` lets it hear every run once, messages at once, at any sampling ratio, until
    ``remove_listener``. ``provider.add_span_processor(listener)`` lets it hear the recorded runs of that provider,
    messages when the span ends, and without ``error``. Attached both ways it hears each run once, from the engine.

    >>> from otelflow import Flow, Listener, add_listener, flow
    >>> class Failures(Listener):
    ...     def on_flow_stop(self, event):
    ...         if event.event_data.result == "failure":
    ...             print(event.event_data.flow_name, event.event_data.error_message)
    >>> add_listener(Failures())
    >>> @flow
    ... def fetch():
    ...     raise LookupError("no such page")
    >>> try:
    ...     run = fetch().execute()
    ... except LookupError:
    ...     pass
    fetch no such page
    """

    _overridden: ClassVar[frozenset[Flow_Run__Event_Type]] = frozenset()
    _wants_all: ClassVar[bool] = False

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls._wants_all = hears_all = cls.on_event is not Listener.on_event
        cls._overridden = frozenset(
            kind
            for kind, hook in events.HOOKS.items()
            if hears_all or getattr(cls, hook) is not getattr(Listener, hook)
        )

    def on_flow_start(self, event: Flow_Run__Event) -> None:
        """A flow began: *event* has its name, its run id and its span, which is open."""

    def on_flow_stop(self, event: Flow_Run__Event) -> None:
        """A flow ended: *event* has its result, its duration in seconds and its error."""

    def on_task_start(self, event: Flow_Run__Event) -> None:
        """A task began: *event* has its name, its run id and its span, which is open."""

    def on_task_stop(self, event: Flow_Run__Event) -> None:
        """A task ended: *event* has its result, its duration in seconds and its error."""

    def on_message(self, event: Flow_Run__Event) -> None:
        """A run printed or logged: *event* has the text and the level."""

    def on_artifact(self, event: Flow_Run__Event) -> None:
        """A run left an artifact: *event* has it."""

    def on_result(self, event: Flow_Run__Event) -> None:
        """A run recorded a result: *event* has its key and description."""

    def on_event(self, event: Flow_Run__Event) -> None:
        """Anything happened: called before the hook for *event*."""

    # Driven by the engine

    def wants(self, event_type: Flow_Run__Event_Type) -> bool:
        """Tell whether a hook for *event_type* is overridden."""
        return event_type in self._overridden

    def notify(self, event: Flow_Run__Event) -> None:
        """Call the hooks for *event*; the engine guards this call."""
        hook: Callable[[Flow_Run__Event], None] = getattr(self, events.HOOKS[event.event_type])
        if not self._wants_all:
            return hook(event)  # what an async hook returns is for the guard
        on_event: Callable[[Flow_Run__Event], None] = self.on_event
        try:
            return on_event(event)
        finally:
            hook(event)

    # Driven by the SDK

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Hear of a run whose span starts, unless the engine drives this listener."""
        self._notify_of_span(events_at_start, span)

    def on_end(self, span: ReadableSpan) -> None:
        """Hear of the events and the end of a run whose span ends, unless the engine drives this listener."""
        self._notify_of_span(events_at_end, span)

    def _notify_of_span(self, read: Callable[[ReadableSpan], list[Flow_Run__Event]], span: ReadableSpan) -> None:
        if not listeners.is_listening(self):
            for event in listeners.guarded(self, read, span) or ():
                if event.event_type in self._overridden:
                    listeners.guarded(self, self.notify, event)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return True: nothing is held back."""
        return True
