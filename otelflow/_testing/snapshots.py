"""A trace as a text that is the same each time it is made anew."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from opentelemetry.sdk.trace import Event, ReadableSpan

from otelflow import semconv

#: Attributes that are another each time, or that the text tells otherwise
_LEFT_OUT: Final = frozenset(
    {
        semconv.FLOW_NAME,
        semconv.FLOW_RUN_ID,
        semconv.TASK_NAME,
        semconv.TASK_RUN_ID,
        semconv.RUN_RESULT,
        semconv.CODE_FUNCTION_NAME,
        semconv.TELEMETRY_SPANS,
        semconv.RUN_RETRY_DELAY,
        semconv.ATTEMPT_DELAY,
        semconv.CACHE_WAIT,
        semconv.RUN_CPU,
        semconv.RUN_MEMORY,
        semconv.JOB_ID,
        semconv.SCHEDULE_TIME,
    }
)
_LEFT_OUT_OF_EACH: Final = semconv.LIMIT_WAITED.format(name="")


def snapshot_lines(spans: Sequence[ReadableSpan], parents: Mapping[int, int]) -> Iterator[str]:
    """Yield a line for each run, below it one for each of its attributes, and one for each of its events.

    *parents* has, by the place of a span in *spans*, that of the run around it.
    """
    inner_places: dict[int | None, list[int]] = {}
    for place in range(len(spans)):
        inner_places.setdefault(parents.get(place), []).append(place)
    waiting = [(place, 0) for place in reversed(inner_places.get(None, []))]
    while waiting:
        place, depth = waiting.pop()
        span = spans[place]
        attributes = dict(span.attributes or {})
        yield f"{'  ' * depth}{span.name} · {attributes.get(semconv.RUN_RESULT, '?')}"
        for name, value in sorted(attributes.items()):
            if name not in _LEFT_OUT and not name.startswith(_LEFT_OUT_OF_EACH):
                yield f"{'  ' * (depth + 1)}{name} = {value!r}"
        for event in span.events:
            yield f"{'  ' * (depth + 1)}{_text_of(event)}"
        waiting += [(inner, depth + 1) for inner in reversed(inner_places.get(place, []))]


def _text_of(event: Event) -> str:
    attributes = event.attributes or {}
    match event.name:
        case semconv.MESSAGE_EVENT:
            return f'"{attributes.get(semconv.MESSAGE_TEXT)}"'
        case semconv.ARTIFACT_EVENT:
            return f"artifact {attributes.get(semconv.ARTIFACT_KEY)}: {attributes.get(semconv.ARTIFACT_DATA)}"
        case semconv.RESULT_EVENT:
            return f"result {attributes.get(semconv.RESULT_KEY)}: {attributes.get(semconv.RESULT_DESCRIPTION)}"
        case semconv.EXCEPTION_EVENT:
            return f"{attributes.get(semconv.EXCEPTION_TYPE)}: {attributes.get(semconv.EXCEPTION_MESSAGE)}"
    return event.name
