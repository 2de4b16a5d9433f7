"""What a spool and the runs tell each other: what has happened in open ones, and which were lost with their process."""

from typing import Final

from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_NAMESPACE
from opentelemetry.sdk.trace import Event

from otelflow import semconv
from otelflow._core.process import forks
from otelflow._core.runs import observers
from otelflow._core.runs.run import Entry, Run
from otelflow._core.text.safe_str import bounded_name

# How many runs are written at once; of more with news in the same second, the rest is written a second later.
_MOST_RUNS: Final = 1_000


class SpoolNews(observers.Observer):
    """Knows the open runs in which something has happened since ``take()``."""

    def __init__(self) -> None:
        self.begin_anew()
        forks.begin_anew(self, SpoolNews.begin_anew)

    def begin_anew(self) -> None:
        """Know of no run; in a forked child, the open ones are the parent's."""
        self._runs: dict[int, Run] = {}

    def entry_added(self, run: Run, entry: Entry) -> None:
        """Remember *run*, if there will be anything to tell."""
        if run.is_recording and len(self._runs) < _MOST_RUNS:
            self._runs[id(run)] = run

    def take(self) -> list[tuple[int, list[Event]]]:
        """Return for each of those runs the id of its span, and what its span would hold if it ended now."""
        runs, self._runs = self._runs, {}
        news = []
        for run in list(runs.values()):  # another thread may have just looked up where it adds one
            if not run.is_open or not run.is_recording or run.journal is None:
                continue
            try:
                entries = list(run.journal.entries())
            except RuntimeError:  # another thread adds to it: the next time
                self._runs[id(run)] = run
                continue
            events = [Event(entry.event_name, entry.attributes(), entry.time_ns) for entry in entries]
            news.append((run.span.get_span_context().span_id, events))
        return news


def tell_of_lost_runs(traces: bytes) -> None:
    """Tell observers of the flows and tasks in *traces*, whose processes were lost."""
    for resource_spans in TracesData.FromString(traces).resource_spans:
        texts = {attribute.key: attribute.value.string_value for attribute in resource_spans.resource.attributes}
        service = texts.get(SERVICE_NAMESPACE, ""), bounded_name(texts.get(SERVICE_NAME, ""))
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                if (run := _lost_run(span, service)) is not None:
                    observers.tell_lost(run)


def _lost_run(span: Span, service: tuple[str, str]) -> observers.LostRun | None:
    texts = {attribute.key: attribute.value.string_value for attribute in span.attributes}
    task_name = texts.get(semconv.TASK_NAME) if span.name.startswith(semconv.TASK_SPAN) else None
    if task_name is None and not (span.name.startswith(semconv.FLOW_SPAN) and semconv.FLOW_NAME in texts):
        return None  # of another instrumentation, or something inside a run
    return observers.LostRun(
        texts.get(semconv.FLOW_NAME, ""),
        task_name,
        int.from_bytes(span.trace_id),
        int.from_bytes(span.span_id),
        span.start_time_unix_nano / 1e9,
        (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
        service,
    )
