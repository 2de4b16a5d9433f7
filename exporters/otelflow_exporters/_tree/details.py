"""The details below a span: errors, messages, artifacts, results, links; bounded, and cleaned for a terminal."""

import contextlib
import json
from collections.abc import Iterator
from typing import Final, NamedTuple

from otelflow import semconv as names
from otelflow_exporters._otlp.model import Event, Span
from otelflow_exporters._tree.forest import SpanNode
from otelflow_exporters._tree.wording import clean, lines_of, one_line, size

MESSAGES_HEAD: Final = 8
MESSAGES_TAIL: Final = 4
ARTIFACTS_SHOWN: Final = 20
LINKS_SHOWN: Final = 5
_MESSAGE_LINES: Final = 6
_TEXT_LINES: Final = 20
_LONGEST_BLOCK: Final = 20_000
_PLAIN_SEVERITIES: Final = frozenset({"", "INFO", "DEBUG", "TRACE", "NOTSET"})
_BAD_SEVERITIES: Final = frozenset({"ERROR", "CRITICAL", "FATAL"})
_NEVER_LEFT_OUT: Final = (names.ARTIFACT_EVENT, names.RESULT_EVENT, names.EXCEPTION_EVENT)
_OMITTED: Final = (
    (names.MESSAGES_OMITTED, "messages"),
    (names.ARTIFACTS_OMITTED, "artifacts"),
    (names.RESULTS_OMITTED, "results"),
)


class Detail(NamedTuple):
    """One line or block below a span; ``form`` is how *block* is to be rendered."""

    text: str
    style: str = "dim"
    form: str = ""
    block: str = ""
    mark: str = ""


def details_of(node: SpanNode, nodes: dict[str, SpanNode]) -> Iterator[Detail]:
    """Yield the details of one span, errors first."""
    span = node.span
    if span.is_error or span.result not in (names.SUCCESS, names.SKIP):
        yield from _errors(node)
    yield from _events(span)
    if span.attributes.get(names.GENERATOR_CLOSED_EARLY):
        yield Detail("its consumer closed it before its end", mark="more")
    for key, plural in _OMITTED:
        count = span.attributes.get(key)
        if isinstance(count, int) and count > 0:
            yield Detail(f"{count:,} more {plural} were not recorded", mark="more")
    if span.dropped_events:
        yield Detail(f"{span.dropped_events:,} events were dropped by the SDK's limit", mark="more")
    for link in span.links[:LINKS_SHOWN]:
        target = nodes.get(link.span_id)
        if target is not None and link.trace_id == span.trace_id:
            yield Detail(f"linked to {one_line(target.span.name)}", mark="link")
        else:
            yield Detail(f"linked to trace {link.trace_id}, span {link.span_id}", mark="link")
    if len(span.links) > LINKS_SHOWN:
        yield Detail(f"{len(span.links) - LINKS_SHOWN:,} more links", mark="more")


def _errors(node: SpanNode) -> Iterator[Detail]:
    span = node.span
    exceptions = [event for event in span.events if event.name == names.EXCEPTION_EVENT]
    for event in exceptions[-2:]:
        kind = one_line(event.attributes.get(names.EXCEPTION_TYPE, "exception"))
        yield _error(kind, event.attributes.get(names.EXCEPTION_MESSAGE, ""))
    if exceptions:
        return
    # An error that came up from below is described where it was raised; here its type is enough.
    is_from_below = any(
        child.span.is_error and span.status_message.endswith(child.span.status_message) for child in node.children
    )
    kind = one_line(span.attributes.get(names.ERROR_TYPE, ""))
    message = "" if is_from_below else span.status_message
    if kind or message:
        yield _error(kind, message)


def _error(kind: str, message: object) -> Detail:
    lines = lines_of(message, _MESSAGE_LINES)
    return Detail(": ".join(part for part in (kind, "\n".join(lines)) if part), style="red")


def _events(span: Span) -> Iterator[Detail]:
    """Yield the events in their order; of many messages the first and the last."""
    messages = [event for event in span.events if event.name not in _NEVER_LEFT_OUT]
    hidden = (
        messages[MESSAGES_HEAD : len(messages) - MESSAGES_TAIL]
        if len(messages) > MESSAGES_HEAD + MESSAGES_TAIL + 1
        else []
    )
    first_hidden, hidden_ids = (id(hidden[0]) if hidden else 0), {id(event) for event in hidden}
    latest = {_key(event): id(event) for event in span.events if _is_progress(event)}
    artifacts = 0
    for event in span.events:
        if id(event) in hidden_ids:
            if id(event) == first_hidden:
                yield Detail(f"{len(hidden):,} more messages", mark="more")
        elif event.name == names.ARTIFACT_EVENT:
            # Of one progress only the last value counts.
            if not _is_progress(event) or latest[_key(event)] == id(event):
                artifacts += 1
                if artifacts <= ARTIFACTS_SHOWN:
                    yield _artifact(event)
        elif event.name != names.EXCEPTION_EVENT:
            yield _message(event)
    if artifacts > ARTIFACTS_SHOWN:
        yield Detail(f"{artifacts - ARTIFACTS_SHOWN:,} more artifacts", mark="more")


def _is_progress(event: Event) -> bool:
    return event.name == names.ARTIFACT_EVENT and event.attributes.get(names.ARTIFACT_TYPE) == "progress"


def _key(event: Event) -> str:
    return str(event.attributes.get(names.ARTIFACT_KEY, ""))


def _message(event: Event) -> Detail:
    """Return a result, a message, or the event of another program."""
    if event.name == names.RESULT_EVENT:
        key = one_line(event.attributes.get(names.RESULT_KEY, "result"))
        description = "\n".join(lines_of(event.attributes.get(names.RESULT_DESCRIPTION, ""), _MESSAGE_LINES))
        return Detail(f"result {key}" + (f": {description}" if description else ""), "cyan", mark="result")
    if event.name != names.MESSAGE_EVENT:
        pairs = " ".join(
            f"{one_line(key, 60)}={one_line(value, 120)}" for key, value in list(event.attributes.items())[:8]
        )
        return Detail(one_line(f"{one_line(event.name)} {pairs}"), mark="event")
    severity = one_line(event.attributes.get(names.MESSAGE_SEVERITY, "")).upper()
    text = "\n".join(lines_of(event.attributes.get(names.MESSAGE_TEXT, ""), _MESSAGE_LINES))
    if severity in _PLAIN_SEVERITIES:
        return Detail(text, mark="message")
    return Detail(f"{severity} {text}", "red" if severity in _BAD_SEVERITIES else "yellow", mark="message")


def _artifact(event: Event) -> Detail:
    values = event.attributes
    form = one_line(values.get(names.ARTIFACT_TYPE, ""), 40)
    title = " ".join(part for part in ("artifact", one_line(_key(event)), f"({form})" if form else "") if part)
    description = one_line(values.get(names.ARTIFACT_DESCRIPTION, ""))
    if description and description != form:
        title += f": {description}"
    reference = values.get(names.ARTIFACT_REFERENCE)
    if reference:
        amount = values.get(names.ARTIFACT_SIZE)
        whole = f"{size(amount)}, " if isinstance(amount, int | float) else ""
        extent = "beginning" if values.get(names.ARTIFACT_CUT) else "whole"
        title += f"  [{extent}: {whole}{one_line(reference, 100)}]"
    recorded = values.get(names.ARTIFACT_DATA, "")
    block = recorded if isinstance(recorded, str) else f"{recorded}"
    if form == "image" and "://" not in block:  # the picture itself, in base64
        amount = values.get(names.ARTIFACT_SIZE)
        block = f"a picture of {size(amount)}" if isinstance(amount, int | float) else "a picture"
    if form in ("table", "markdown", "progress"):
        return Detail(title, "magenta", form, clean(block, _LONGEST_BLOCK), mark="artifact")
    if form == "json":
        with contextlib.suppress(ValueError, RecursionError):
            block = json.dumps(json.loads(block), indent=2, ensure_ascii=False)
    lines = "\n".join(lines_of(block, _TEXT_LINES))
    return Detail(title, "magenta", "error" if form == "error" else "text", lines, mark="artifact")
