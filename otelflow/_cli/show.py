"""Print stored traces again, and forget them."""

import base64
import contextlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from otelflow import settings
from otelflow._cli._console import page, say
from otelflow._cli._conversion import Unconvertible, duration
from otelflow.errors import ConfigurationError, StoreUnreadable, TraceNotFound
from otelflow_exporters._store.reader import (
    INCOMPLETE,
    Forgotten,
    StoredTrace,
    StoredTraces,
    TraceSummary,
    to_otlp_json,
)
from otelflow_exporters._tree.wording import one_line
from otelflow_exporters.tree import print_trace

LISTED: Final = 20
_SHORT_ID: Final = 12
_NAME_WIDTH: Final = 24
_GAP: Final = 2
_FAILED: Final = ("failure", "timeout", "error", INCOMPLETE)
_STYLES: Final = {"success": "green", "cancellation": "yellow", "incomplete": "yellow"}
_ARTIFACT: Final = "otelflow.artifact"
_FLOW: Final = "otelflow.flow.name"


def opened_store() -> StoredTraces:
    """Return the store that runs of the command line are kept in. Raises StoreUnreadable when it is off."""
    where = settings.in_force()["store"]
    store = StoredTraces(where.value or None) if where.value.lower() not in ("off", "on") else StoredTraces()
    if where.value.lower() == "off" or store.directory is None:
        raise StoreUnreadable(f"The store is off ({where.origin} says so); nothing was kept that could be shown")
    return store


def show_traces(trace_id: str | None, last: int, *, failed: bool, as_json: bool) -> None:
    """Print one trace or the *last* newest ones, oldest first, so that the newest is where one looks."""
    store = opened_store()
    ids = [trace_id] if trace_id is not None else [one.trace_id for one in _newest(store, last, failed=failed)][::-1]
    for number, one in enumerate(ids):
        trace = store.load(one)
        if as_json:
            sys.stdout.write(json.dumps(to_otlp_json(trace.traces)) + "\n")
            continue
        if number:
            sys.stdout.write("\n")
        print_trace(trace.spans, note="; ".join(_notes(trace)))
    sys.stdout.flush()


def _notes(trace: StoredTrace) -> Iterator[str]:
    """Yield what is to be known of a trace that is not whole."""
    if not any(span.is_local_root for span in trace.spans):
        flows = {str(span.attributes[_FLOW]) for span in trace.spans if _FLOW in span.attributes}
        whose = f" of flow {min(flows)}" if len(flows) == 1 else ""
        yield f"incomplete: the root span{whose} is missing; its process was killed, or goes on"
    if trace.unreadable:
        yield f"{trace.unreadable:,} bytes of the store are unreadable"


def _newest(store: StoredTraces, count: int, *, failed: bool) -> list[TraceSummary]:
    summaries = (one for one in store.summaries() if not failed or one.result in _FAILED)
    found = list(islice(summaries, count))
    if not found:
        what = "No failed trace" if failed else "No trace"
        raise TraceNotFound(f"{what} is stored in {store.directory} yet; 'otelflow demo' makes one")
    return found


def list_traces(count: int, *, failed: bool) -> None:
    """Print one line for each of the newest traces."""
    store = opened_store()
    digits = _SHORT_ID if sys.stdout.isatty() else None
    rows = [
        {
            "trace": Text(one.trace_id[:digits]),
            "started": Text(f"{one.started.astimezone():%Y-%m-%d %H:%M:%S}"),
            "result": Text(one.result, style=_STYLES.get(one.result, "red")),
            "spans": Text(f"{one.span_count:,}"),
            "failed": Text(f"{one.failed_count:,}"),
            "seconds": Text(f"{one.duration:.2f}"),
            "name": Text(one_line(one.name)),
        }
        for one in _newest(store, count, failed=failed)
    ]
    console = page()
    headings = fitting(rows, console.width)
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


def fitting(rows: Sequence[Mapping[str, Text]], width: int) -> list[str]:
    """Return the headings of *rows* for which *width* has room; the id and the name are what one needs to go on."""
    widths = {heading: max(len(heading), *(row[heading].cell_len for row in rows)) for heading in rows[0]}
    widths["name"] = min(widths["name"], _NAME_WIDTH)
    headings = list(widths)
    for dispensable in ("spans", "failed", "seconds", "started", "result"):
        if sum(widths[one] + _GAP for one in headings) - _GAP <= width:
            break
        headings.remove(dispensable)
    return headings


def write_artifact(trace_id: str | None, key: str, *, failed: bool) -> None:
    """Write the whole data of the last artifact called *key*. Raises TraceNotFound when there is none."""
    store = opened_store()
    trace = store.load(trace_id or _newest(store, 1, failed=failed)[0].trace_id)
    found = [values for values in _artifacts(trace) if values.get(f"{_ARTIFACT}.key") == key]
    if not found:
        known = sorted({str(values.get(f"{_ARTIFACT}.key")) for values in _artifacts(trace)})
        raise TraceNotFound(f"Trace {trace.trace_id} has no artifact {key!r}; it has: {', '.join(known) or 'none'}")
    reference = found[-1].get(f"{_ARTIFACT}.reference")
    whole = store.payload(str(reference)) if reference else None
    if reference and whole is None:
        say(f"The whole artifact {key} is not stored any more; this is its beginning")
    sys.stdout.buffer.write(whole if whole is not None else _recorded(found[-1]))
    sys.stdout.buffer.flush()


def _recorded(artifact: dict[str, Any]) -> bytes:
    """Return what the event itself holds: a picture is base64 there."""
    data = str(artifact.get(f"{_ARTIFACT}.data", "")).encode()
    if artifact.get(f"{_ARTIFACT}.type") == "image":
        with contextlib.suppress(ValueError):  # an address
            return base64.b64decode(data, validate=True)
    return data


def _artifacts(trace: StoredTrace) -> Iterator[dict[str, Any]]:
    for span in trace.spans:
        for event in span.events:
            if event.name == _ARTIFACT:
                yield dict(event.attributes)


def forget(trace_id: str | None, *, everything: bool, older_than: str | None) -> None:
    """Delete what exactly one of the arguments names. Raises ConfigurationError when it is not exactly one."""
    named = sum((trace_id is not None, everything, older_than is not None))
    if named != 1:
        begins = "Say what to forget" if not named else "forget takes one of these, not several"
        raise ConfigurationError(f"{begins}: a TRACE_ID, or --older-than 7d, or --all")
    store = opened_store()
    if trace_id is not None:
        forgotten = store.forget(trace_id)
    elif older_than is not None:
        forgotten = _forget_old(store, older_than)
    else:
        forgotten = store.forget_all()
    sys.stdout.write(f"Forgot {_counted(forgotten.traces, 'trace')} with {_counted(forgotten.spans, 'span')}.\n")
    sys.stdout.flush()


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _forget_old(store: StoredTraces, older_than: str) -> Forgotten:
    try:
        age = duration(older_than)
        return store.forget_older_than(age)
    except (Unconvertible, OverflowError):
        raise ConfigurationError(f"--older-than {older_than!r} is no age: give 90s, 15m, 12h, 7d or 2w") from None
