"""The details below a span: messages, artifacts, results, errors, links; bounded, and cleaned for a terminal."""

import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from otelflow import semconv as names
from otelflow._core.text.durations import in_words
from otelflow._core.text.visible import clean, one_line
from otelflow_exporters._otlp.model import Event, Span
from otelflow_exporters._tree.forest import NOUNS, SpanNode
from otelflow_exporters._tree.labels import run_name_of
from otelflow_exporters._tree.tracebacks import place_in, shown_traceback
from otelflow_exporters._tree.view import TreeView
from otelflow_exporters._tree.wording import counted, lines_of, size

MESSAGES_HEAD: Final = 8
MESSAGES_TAIL: Final = 4
MESSAGES_OF_WEIGHT: Final = 20
ARTIFACTS_SHOWN: Final = 20
LINKS_SHOWN: Final = 5
EXCEPTIONS_SHOWN: Final = 2
_MESSAGE_LINES: Final = 6
_TEXT_LINES: Final = 20
_LONGEST_BLOCK: Final = 20_000
_LONGEST_DESCRIPTION: Final = 500
_PAIRS_SHOWN: Final = 8
_LONGEST_PAIR: Final = 180
_ALL_LINES: Final = 100_000
_PLAIN_SEVERITIES: Final = frozenset({"", "INFO", "DEBUG", "TRACE", "NOTSET"})
_BAD_SEVERITIES: Final = frozenset({"ERROR", "CRITICAL", "FATAL"})
_NEVER_LEFT_OUT: Final = (names.ARTIFACT_EVENT, names.RESULT_EVENT, names.EXCEPTION_EVENT)
_WAITED: Final = names.LIMIT_WAITED.format(name="")
_LEAST_WAIT: Final = 0.01  # seconds
_OMITTED: Final = (
    (names.MESSAGES_OMITTED, "message"),
    (names.ARTIFACTS_OMITTED, "artifact"),
    (names.RESULTS_OMITTED, "result"),
)
_NOT_RUN: Final = (
    (names.CACHE_HIT, "its value was cached"),
    (names.RUN_REPLAYED, "its value is that of an earlier attempt"),
)


class Detail(NamedTuple):
    """One line or block below a span; ``form`` is how *block* is to be rendered, *time* when it happened (ns)."""

    text: str
    style: str = "dim"
    form: str = ""
    block: str = ""
    mark: str = ""
    time: int = 0
    is_timed: bool = False
    #: What it stands for without showing it, by noun
    hidden: Counter[str] = Counter()  # noqa: RUF012  # a tuple's field; nobody writes to the default


def details_of(node: SpanNode, nodes: dict[str, SpanNode], view: TreeView, *, is_cause: bool) -> list[Detail]:
    """Return the details of one span in the order in which they happened; *is_cause*: it made the trace fail."""
    span = node.span
    if view.failed_only and not node.is_failed:
        return []
    details = list(_Events(span, view).details())
    details += [*_closing(span), *_links(span, nodes, view)]
    if span.is_error or span.result not in (names.SUCCESS, names.SKIP, names.RUNNING):
        shows_traceback = view.full or view.tracebacks == "all" or (view.tracebacks == "causes" and is_cause)
        details += [detail._replace(time=span.end) for detail in _errors(node, view, shows_traceback=shows_traceback)]
    return sorted(details, key=lambda detail: detail.time)


def _closing(span: Span) -> Iterator[Detail]:
    """Yield what is known of a span without a time."""
    if span.attributes.get(names.GENERATOR_CLOSED_EARLY):
        yield Detail("its consumer closed it before its end", mark="more", time=span.end)
    if span.attributes.get(names.RUN_BODY_RUNNING):
        yield Detail("what it ran was still running then", mark="more", time=span.end)
    for key, seconds in span.attributes.items():
        if key.startswith(_WAITED) and isinstance(seconds, float) and seconds >= _LEAST_WAIT:
            name = one_line(key.removeprefix(_WAITED), _LONGEST_PAIR)
            yield Detail(f"waited {in_words(seconds)} for the limit {name}", mark="more", time=span.start)
    for key, reason in _NOT_RUN:
        if span.attributes.get(key) is True:
            yield Detail(f"it did not run: {reason}", mark="more", time=span.end)
    for key, noun in _OMITTED:
        count = span.attributes.get(key)
        if isinstance(count, int) and count > 0:
            yield Detail(f"{counted(count, noun, 'more ')} {_were(count)} not recorded", mark="more", time=span.end)
    if span.dropped_events:
        text = f"{counted(span.dropped_events, 'event')} {_were(span.dropped_events)} dropped by the SDK's limit"
        yield Detail(text, mark="more", time=span.end)


def _links(span: Span, nodes: dict[str, SpanNode], view: TreeView) -> Iterator[Detail]:
    limit = len(span.links) if view.full else LINKS_SHOWN
    for link in span.links[:limit]:
        target = nodes.get(link.span_id)
        if target is not None and link.trace_id == span.trace_id:
            name = one_line(f"{target.span.name} {run_name_of(target.span)}".rstrip())
            yield Detail(f"linked to {name}", mark="link", time=span.start)
        else:
            yield Detail(f"linked to trace {link.trace_id}, span {link.span_id}", mark="link", time=span.start)
    if len(span.links) > limit:
        yield _omission(Counter(link=len(span.links) - limit), span.start)


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _omission(hidden: Counter[str], time: int) -> Detail:
    """Return the line that stands for what is *hidden*."""
    words = ", ".join(counted(count, noun, "more ") for noun, count in hidden.items())
    return Detail(words, mark="more", time=time, hidden=hidden)


def _errors(node: SpanNode, view: TreeView, *, shows_traceback: bool) -> Iterator[Detail]:
    span = node.span
    exceptions = [event for event in span.events if event.name == names.EXCEPTION_EVENT]
    older = [] if view.full else exceptions[:-EXCEPTIONS_SHOWN]
    if older:
        yield _omission(Counter(exception=len(older)), span.end)
    for event in exceptions[len(older) :]:
        kind = one_line(event.attributes.get(names.EXCEPTION_TYPE, "exception"))
        error = _error(kind, event.attributes.get(names.EXCEPTION_MESSAGE, ""), view)
        yield error
        trace = str(event.attributes.get(names.EXCEPTION_STACKTRACE, ""))
        if trace and shows_traceback:
            lines, hidden = shown_traceback(trace, is_whole=view.full)
            if lines != [error.text]:  # without a frame it would say the same once more
                yield Detail("", "red", "traceback", "\n".join(lines), hidden=_lines(hidden))
        elif place := place_in(trace):
            yield Detail(f"at {place}", "red")
    if exceptions:
        return
    kind = one_line(span.attributes.get(names.ERROR_TYPE, ""))
    # An error that came up from below is described where it was raised; here its type stands on the line of the span.
    if (kind or span.status_message) and not node.error_from_below:
        yield _error(kind, span.status_message, view)


def _error(kind: str, message: object, view: TreeView) -> Detail:
    lines, hidden = lines_of(message, _ALL_LINES if view.full else _MESSAGE_LINES)
    text = ": ".join(part for part in (kind, "\n".join(lines)) if part)
    return Detail(text, style="red", mark="fault", hidden=_lines(hidden))


def _lines(count: int) -> Counter[str]:
    return Counter(line=count) if count else Counter()


class _Events:
    """The events of one span as details; of many messages the first, the last, and those of weight."""

    def __init__(self, span: Span, view: TreeView) -> None:
        self._events = sorted(span.events, key=lambda event: event.time)
        self._view = view
        messages = [event for event in self._events if event.name not in _NEVER_LEFT_OUT]
        self._hidden: set[int] = set()
        if not (view.full or view.logs) and len(messages) > MESSAGES_HEAD + MESSAGES_TAIL + 1:
            middle = messages[MESSAGES_HEAD : len(messages) - MESSAGES_TAIL]
            weighty = [event for event in middle if _severity(event) not in _PLAIN_SEVERITIES][:MESSAGES_OF_WEIGHT]
            self._hidden = {id(event) for event in middle} - {id(event) for event in weighty}
        # Of one progress only the last value counts.
        self._latest = {_key(event): id(event) for event in self._events if _is_progress(event)}

    def details(self) -> Iterator[Detail]:
        """Yield a detail for each event, and one for each row of events that are left out."""
        left_out: list[Event] = []
        artifacts = 0
        for event in self._events:
            if id(event) in self._hidden:
                left_out.append(event)
                continue
            if left_out and event.name not in _NEVER_LEFT_OUT:
                yield self._left_out(left_out)
                left_out = []
            if event.name == names.ARTIFACT_EVENT:
                if not _is_progress(event) or self._latest[_key(event)] == id(event):
                    artifacts += 1
                    if artifacts <= ARTIFACTS_SHOWN or self._view.full:
                        yield _artifact(event, is_whole=self._view.full)
            elif event.name != names.EXCEPTION_EVENT:
                yield _message(event, is_whole=self._view.full or self._view.logs)
        if left_out:
            yield self._left_out(left_out)
        if artifacts > ARTIFACTS_SHOWN and not self._view.full:
            yield _omission(Counter(artifact=artifacts - ARTIFACTS_SHOWN), self._events[-1].time)

    def _left_out(self, events: list[Event]) -> Detail:
        return _omission(Counter(NOUNS.get(event.name, "event") for event in events), events[0].time)


def _is_progress(event: Event) -> bool:
    return event.name == names.ARTIFACT_EVENT and event.attributes.get(names.ARTIFACT_TYPE) == "progress"


def _key(event: Event) -> str:
    return str(event.attributes.get(names.ARTIFACT_KEY, ""))


def _severity(event: Event) -> str:
    return one_line(event.attributes.get(names.MESSAGE_SEVERITY, "")).upper()


def _message(event: Event, *, is_whole: bool) -> Detail:
    """Return a result, a message, or the event of another program."""
    count = _ALL_LINES if is_whole else _MESSAGE_LINES
    if event.name == names.RESULT_EVENT:
        key = one_line(event.attributes.get(names.RESULT_KEY, "result"))
        lines, hidden = lines_of(event.attributes.get(names.RESULT_DESCRIPTION, ""), count)
        text = ": ".join(part for part in (f"result {key}", "\n".join(lines)) if part)
        return Detail(text, "cyan", mark="result", time=event.time, hidden=_lines(hidden))
    if event.name != names.MESSAGE_EVENT:
        pairs = [f"{one_line(key, 60)}={one_line(value, _ALL_LINES)}" for key, value in event.attributes.items()]
        text = whole = " ".join([one_line(event.name, _ALL_LINES), *pairs])
        if not is_whole:
            pairs = [one_line(pair, _LONGEST_PAIR) for pair in pairs[:_PAIRS_SHOWN]]
            text = one_line(" ".join([one_line(event.name), *pairs]))
        return Detail(text, mark="event", time=event.time, is_timed=True, hidden=_lines(int(text != whole)))
    severity = _severity(event)
    lines, hidden = lines_of(event.attributes.get(names.MESSAGE_TEXT, ""), count)
    text, style = "\n".join(lines) if any(map(str.strip, lines)) else "(empty)", "dim"
    if severity not in _PLAIN_SEVERITIES:
        text, style = f"{severity} {text}", "red" if severity in _BAD_SEVERITIES else "yellow"
    return Detail(text, style, mark="message", time=event.time, is_timed=True, hidden=_lines(hidden))


def _artifact(event: Event, *, is_whole: bool) -> Detail:
    values = event.attributes
    form = one_line(values.get(names.ARTIFACT_TYPE, ""), 40)
    title = " ".join(part for part in ("artifact", one_line(_key(event)), f"({form})" if form else "") if part)
    description = one_line(values.get(names.ARTIFACT_DESCRIPTION, ""), _ALL_LINES)
    cut = 0 if is_whole or len(description) <= _LONGEST_DESCRIPTION else 1
    description = one_line(description, _LONGEST_DESCRIPTION) if cut else description
    if description and description != form:
        title += f": {description}"
    reference = values.get(names.ARTIFACT_REFERENCE)
    if reference:
        amount = values.get(names.ARTIFACT_SIZE)
        whole = f"{size(amount)}, " if isinstance(amount, int | float) else ""
        extent = "beginning" if values.get(names.ARTIFACT_CUT) else "whole"
        title += f"  [{extent}: {whole}{one_line(reference, 100)}]"
    block = str(values.get(names.ARTIFACT_DATA, ""))
    if form == "image" and "://" not in block:  # the picture itself, in base64
        amount = values.get(names.ARTIFACT_SIZE)
        block = f"a picture of {size(amount)}" if isinstance(amount, int | float) else "a picture"
    if form in ("table", "markdown", "progress"):
        # What a table holds is read first, and cleaned then.
        longest = _ALL_LINES * 1_000 if is_whole else _LONGEST_BLOCK
        cut += form != "table" and len(block) > longest
        block = block if form == "table" else clean(block, longest)
        return Detail(title, "magenta", form, block, mark="artifact", time=event.time, hidden=_lines(cut))
    if form == "json":
        with contextlib.suppress(ValueError, RecursionError):
            block = json.dumps(json.loads(block), indent=2, ensure_ascii=False)
    lines, hidden = lines_of(block, _ALL_LINES if is_whole else _TEXT_LINES)
    form = "error" if form == "error" else "text"
    hidden_lines = _lines(hidden + cut)
    return Detail(title, "magenta", form, "\n".join(lines), mark="artifact", time=event.time, hidden=hidden_lines)
