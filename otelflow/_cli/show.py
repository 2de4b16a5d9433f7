"""Print stored traces again, and forget them."""

import base64
import contextlib
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain, islice
from typing import Any, Final

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from rich.table import Table
from rich.text import Text

from otelflow import results, semconv, settings
from otelflow._cli._console import page, say
from otelflow._cli._spools import inner_spools, spools
from otelflow._core.process import clock
from otelflow._core.text import durations
from otelflow._core.text.visible import clean, one_line
from otelflow.errors import ConfigurationError, StoreUnreadable, TraceNotFound
from otelflow_exporters._otlp.json import to_otlp_json
from otelflow_exporters._spool.forgetting import forget_log_records
from otelflow_exporters._store.reader import (
    INCOMPLETE,
    Forgotten,
    StoredTrace,
    StoredTraces,
    TraceSummary,
)
from otelflow_exporters._tree.wording import counted
from otelflow_exporters.tree import TreeView, print_trace

__all__ = ["TreeView"]

LISTED: Final = 20
_MOST_TASKS: Final = 1_000
_RUN_ID: Final = semconv.FLOW_RUN_ID
_WIDTHS: Final = {"trace": 32, "name": 16}
_GAP: Final = 2
# A terminal of 80 columns has room for the id, the failures and the name of a trace beside a short time.
_ROOMY: Final = 100
_STYLES: Final = {
    semconv.SUCCESS: "green",
    semconv.CANCELLATION: "yellow",
    semconv.RUNNING: "cyan",
    INCOMPLETE: "yellow",
}


def open_store() -> StoredTraces:
    """Return the store that runs of the command line are kept in. Raises StoreUnreadable when it is off."""
    setting = settings.in_force()["store"]
    store = StoredTraces(setting.value or "on")
    if store.directory is None:
        raise StoreUnreadable(f"The store is off ({setting.origin} says so); nothing was kept that could be shown")
    return store


def show_traces(trace_id: str | None, last: int, view: TreeView, *, failed: bool, as_json: bool) -> None:
    """Print one trace or the *last* newest ones, oldest first, so that the newest is where one looks."""
    store = open_store()
    newest = [] if trace_id is not None else newest_traces(store, last, failed=failed)
    if len(newest) == last == 1:
        newest = [failed_flow(store, newest[0]) if failed else flow_around(store, newest[0])]
    ids = [trace_id] if trace_id is not None else [summary.trace_id for summary in reversed(newest)]
    for number, stored_id in enumerate(ids):
        trace = store.load(stored_id)
        if as_json:
            sys.stdout.write(json.dumps(to_otlp_json(trace.traces)) + "\n")
            continue
        if number:
            sys.stdout.write("\n")
        notes = [
            f"incomplete: the process of {one_line(span.name)} is gone"
            + (f" (run {one_line(str(span.attributes[_RUN_ID]))})" if _RUN_ID in span.attributes else "")
            for span in trace.lost
        ]
        if not any(span.is_local_root for span in trace.spans):
            flows = {span.attributes[semconv.FLOW_NAME] for span in trace.spans if semconv.FLOW_NAME in span.attributes}
            of_flow = f" of flow {flows.pop()}" if len(flows) == 1 else ""
            notes.append(f"incomplete: the root span{of_flow} is missing; its process was killed, or goes on")
        if trace.unreadable:
            notes.append(f"{trace.unreadable:,} bytes of the store are unreadable")
        # Without --full something may be folded; where it is, this is the way to it.
        cure = "" if view.full else f"otelflow show {trace.trace_id} --full"
        print_trace(trace.spans, note="; ".join(notes), view=view._replace(cure=cure))
        for span in trace.spans:
            is_resumable = span.is_local_root and semconv.FLOW_RUN_ATTEMPT in span.attributes and not span.is_open
            if is_resumable and span.attributes.get(semconv.RUN_RESULT) != semconv.SUCCESS:
                run_id = shlex.quote(one_line(str(span.attributes.get(_RUN_ID, ""))))
                say(f"to go on with {one_line(span.name)}: otelflow resume FILE:FLOW {run_id}")
    sys.stdout.flush()


def newest_traces(store: StoredTraces, count: int, *, failed: bool) -> list[TraceSummary]:
    results = (*semconv.FAILED_RESULTS, INCOMPLETE)
    summaries = list(
        islice(
            (trace for trace in store.summaries() if not failed or trace.result in results or trace.failed_flows),
            min(count, sys.maxsize),
        )
    )
    if not summaries:
        damage = f" ({store.unreadable:,} bytes there are unreadable)" if store.unreadable else ""
        if failed:  # that of a flow; one that succeeded may have tasks that failed
            cure = "'otelflow show --list' has the others, and how many of their tasks failed"
            raise TraceNotFound(f"No flow that failed is stored in {store.directory}{damage}; {cure}")
        raise TraceNotFound(f"No trace is stored in {store.directory} yet{damage}; 'otelflow demo' makes one")
    return summaries


def flow_around(store: StoredTraces, newest: TraceSummary) -> TraceSummary:
    """Return the flow during which a task began outside of it, as on a thread of a plain pool; else *newest* itself."""
    count = 0
    for trace in islice(store.summaries(), _MOST_TASKS):
        if trace.service != newest.service:
            continue
        if not trace.name.startswith(semconv.TASK_SPAN):
            if count and trace.name.startswith(semconv.FLOW_SPAN) and trace.end >= newest.start:
                words = f"{counted(count, 'task')} began meanwhile outside of it, each a trace of its own"
                say(f"{words}: 'otelflow show --list' has them")
                return trace
            break
        count += 1
    return newest


def failed_flow(store: StoredTraces, newest: TraceSummary) -> TraceSummary:
    """Return the newest trace with a flow that failed, if *newest* is that of a task alone; else *newest* itself."""
    if not newest.name.startswith(semconv.TASK_SPAN):
        return newest
    for count, trace in enumerate(newest_traces(store, _MOST_TASKS, failed=True)):
        if not trace.name.startswith(semconv.TASK_SPAN):
            words = f"{counted(count, 'task')} outside of any flow failed since, each a trace of its own"
            say(f"{words}: 'otelflow show --list --failed' has them")
            return trace
    return newest


def list_traces(count: int, *, failed: bool) -> None:
    """Print one line for each of the newest traces."""
    store = open_store()
    console = page()
    time = "%Y-%m-%d %H:%M:%S" if console.width >= _ROOMY else "%m-%d %H:%M"
    rows = [
        {
            "trace": Text(summary.trace_id),
            "started": Text(summary.started.astimezone().strftime(time)),
            "result": Text(result_words(summary), style=_STYLES.get(summary.result, "red")),
            "spans": Text(f"{summary.span_count:,}"),
            "failed": Text(f"{summary.failed_count:,}"),
            # Nobody has seen the end of a run whose process is gone.
            "seconds": Text("?" if summary.result == INCOMPLETE else f"{summary.duration:.2f}"),
            "name": Text(one_line(summary.name)),
        }
        for summary in newest_traces(store, count, failed=failed)
    ]
    headings = fitting(rows, console.width)
    if console.width < sum(_WIDTHS.values()) + _GAP:  # an id is never broken: the name stands below it
        for row in rows:
            console.print(row["trace"], soft_wrap=True)
            console.print(Text.assemble("  ", row["result"], "  ", row["name"]), soft_wrap=True)
    else:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for heading in headings:
            is_number = heading in ("spans", "failed", "seconds")
            is_name = heading == "name"
            table.add_column(heading, justify="right" if is_number else "left", no_wrap=not is_name, overflow="fold")
        for row in rows:
            table.add_row(*(row[heading] for heading in headings))
        console.print(table)
    if store.unreadable:
        say(f"{store.unreadable:,} bytes of {store.directory} are unreadable")


def result_words(summary: TraceSummary) -> str:
    if summary.result != semconv.RUNNING:
        return summary.result
    started = summary.started.astimezone()
    is_today = started.date() == datetime.now(started.tzinfo).date()
    return f"running since {started:%H:%M:%S}" if is_today else f"running since {started:%Y-%m-%d %H:%M}"


def fitting(rows: Sequence[Mapping[str, Text]], width: int) -> list[str]:
    """Return the headings of *rows* for which *width* has room; the id and the name are always among them."""
    widths = {heading: max(len(heading), *(row[heading].cell_len for row in rows)) for heading in rows[0]}
    widths["name"] = min(widths["name"], _WIDTHS["name"])
    headings = list(widths)
    for dispensable in ("spans", "seconds", "failed", "started", "result"):
        if sum(widths[heading] + _GAP for heading in headings) - _GAP <= width:
            break
        headings.remove(dispensable)
    return headings


def artifacts_of(trace: StoredTrace) -> dict[str, dict[str, Any]]:
    """Return the attributes of the artifacts in *trace* by their keys, of each key the last one."""
    return {
        str(event.attributes.get(semconv.ARTIFACT_KEY)): dict(event.attributes)
        for span in trace.spans
        for event in span.events
        if event.name == semconv.ARTIFACT_EVENT
    }


def write_artifact(trace_id: str | None, key: str, *, failed: bool) -> None:
    """Write the whole data of the last artifact called *key*: of this trace, or of the newest that has it.

    Raises TraceNotFound when there is none.
    """
    store = open_store()
    newest = [] if trace_id else newest_traces(store, LISTED, failed=failed)
    first, *others = [trace_id] if trace_id else [summary.trace_id for summary in newest]
    trace = store.load(first)
    traces = chain((trace,), map(store.load, others))
    artifact = next((artifacts[key] for artifacts in map(artifacts_of, traces) if key in artifacts), None)
    if artifact is None:
        names = ", ".join(sorted(artifacts_of(trace))) or "none"
        if others:
            raise TraceNotFound(
                f"None of the newest {len(newest)} traces has an artifact {key!r}; "
                f"the newest, {trace.trace_id}, has: {names}"
            )
        raise TraceNotFound(f"Trace {trace.trace_id} has no artifact {key!r}; it has: {names}")
    data = str(artifact.get(semconv.ARTIFACT_DATA, "")).encode()
    reference = artifact.get(semconv.ARTIFACT_REFERENCE)
    payload = store.payload(str(reference)) if reference else None
    if payload is not None:
        data = payload
    elif artifact.get(semconv.ARTIFACT_TYPE) == "image":
        with contextlib.suppress(ValueError):  # a picture is base64 in the event, unless it is an address
            data = base64.b64decode(data, validate=True)
    if payload is not None and artifact.get(semconv.ARTIFACT_CUT):
        say(f"The artifact {key} was too large to be stored whole; this is its beginning")
    if reference and payload is None:
        say(f"The whole artifact {key} is not stored any more; this is its beginning")
    if not sys.stdout.isatty():
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    elif b"\0" in data:
        say(f"The artifact {key} is no text but {len(data):,} bytes; lead them into a file: > FILE")
    else:  # a terminal obeys what is in a text, and whoever made it may be anybody
        text = data.decode("utf-8", "replace")
        sys.stdout.write(clean(text, len(text)) + "\n")


def forget(trace_id: str | None, *, everything: bool, older_than: str | None) -> None:
    """Delete what exactly one of the arguments names. Raises ConfigurationError when it is not exactly one."""
    count = sum((trace_id is not None, everything, older_than is not None))
    if count != 1:
        beginning = "Say what to forget" if not count else "forget takes one of these, not several"
        raise ConfigurationError(f"{beginning}: a TRACE_ID, or --older-than 7d, or --all")
    try:
        age = None if older_than is None else timedelta(seconds=durations.parse(older_than))
    except (ValueError, OverflowError):
        raise ConfigurationError(f"--older-than {older_than!r} is no age: give 90s, 15m, 12h, 7d or 2w") from None
    waiting = [StoredTraces(spool, kind="spool") for spool in spools()]
    try:
        stored = [open_store()]
    except StoreUnreadable:
        if not waiting:
            raise
        stored = []
    if trace_id is not None:
        trace_id = _whole_id([*stored, *waiting], trace_id)  # what begins so in one place is meant in all
    missing: list[TraceNotFound] = []
    in_store = _forget_in(stored, trace_id, age, missing)
    in_spools = _forget_in(waiting, trace_id, age, missing)
    if everything:
        _forget_in([StoredTraces(spool, kind="spool") for spool in inner_spools()], None, None, missing)
    log_records = 0 if everything else _forget_log_records(trace_id, age)
    values = results.forget(trace_id, older_than=age)
    if missing and not in_store.traces + in_spools.traces + log_records + values:
        raise missing[0]
    in_words = {
        f"{counted(in_store.traces, 'trace')} with {counted(in_store.spans, 'span')}": bool(stored),
        f"{counted(in_spools.spans, 'span')} of a spool, sent or not": in_spools.traces > 0,
        f"{counted(log_records, 'log record')} of a spool, sent or not": log_records > 0,
        f"{counted(values, 'value')} that tasks and flows had kept": values > 0,
    }
    sys.stdout.write("".join(f"Forgot {words}.\n" for words, is_said in in_words.items() if is_said))
    sys.stdout.flush()


def _forget_in(
    places: list[StoredTraces], trace_id: str | None, age: timedelta | None, missing: list[TraceNotFound]
) -> Forgotten:
    """Delete in *places*, and add to *missing* what is said where there is no such trace."""
    forgotten = []
    for traces in places:
        try:
            if trace_id is not None:
                forgotten.append(traces.forget(trace_id))
            else:
                forgotten.append(traces.forget_all() if age is None else traces.forget_older_than(age))
        except TraceNotFound as error:
            missing.append(error)
    return Forgotten(sum(counts.traces for counts in forgotten), sum(counts.spans for counts in forgotten))


def _whole_id(places: list[StoredTraces], trace_id: str) -> str:
    """Return the id of the only trace that begins like *trace_id* in the first of *places* that has one."""
    reasons = []
    for traces in places:
        try:
            return traces.resolve(trace_id)
        except TraceNotFound as reason:
            reasons.append(reason)
    raise reasons[0]


def _forget_log_records(trace_id: str | None, age: timedelta | None) -> int:
    """Delete the log records of a trace, or those that are older than *age*, wherever they wait; return how many."""
    of_trace = None if trace_id is None else bytes.fromhex(trace_id)
    latest = 0 if age is None else (clock.time() - age.total_seconds()) * 1e9

    def is_forgotten(record: LogRecord) -> bool:
        return record.trace_id == of_trace or (record.time_unix_nano or record.observed_time_unix_nano) < latest

    return sum(forget_log_records(spool, is_forgotten) for spool in spools())
