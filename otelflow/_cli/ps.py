"""``otelflow ps`` and ``recover``: what runs on this machine, and what processes were doing that are lost."""

import contextlib
from pathlib import Path
from typing import Final

from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from rich.table import Table
from rich.text import Text

from otelflow import metrics, semconv
from otelflow._cli._console import page, say
from otelflow._cli._exit_codes import FAILURE
from otelflow._cli._spools import spools
from otelflow._cli.ship import end_of_signals, exporter_of, ship
from otelflow._cli.show import open_store
from otelflow._core.process import clock
from otelflow._core.text import durations
from otelflow._core.text.visible import one_line
from otelflow.errors import ConfigurationError, StoreUnreadable
from otelflow.settings import in_force
from otelflow_exporters._otlp.endpoint import variable
from otelflow_exporters._spool.destination import destination_of
from otelflow_exporters._spool.open_runs import OpenRun, open_runs
from otelflow_exporters._store.ownership import open_store as open_spool
from otelflow_exporters._store.reader import INCOMPLETE
from otelflow_exporters._tree.wording import counted

_LOOK_SECONDS: Final = 1.0
_LONGEST_MESSAGE: Final = 60
#: The outputs of metrics that need nobody who comes to read them
_DELIVERING: Final = ("otlp", "push", "textfile")
_ANY_WIDTH: Final = 10_000


def print_running(directory: Path | None, *, follow: bool) -> int:
    """Print the runs that are open, in *directory* or in every spool of this user and its store; return the exit code.

    With *follow* they are printed again whenever others are open, until the command is told to end.
    """
    end = end_of_signals() if follow else None
    printed: list[tuple[str, str, str]] | None = None
    while True:
        runs = [run for folder in _folders(directory) for run in open_runs(folder) if run.is_alive]
        if directory is None:
            runs += _stored_runs({span.span_id for run in runs for span in (run.span, *run.inside)})
        open_now = [(run.span.span_id, _task_in(run), _last_message(run)) for run in runs]
        if open_now != printed:
            printed = open_now
            _print(runs, "age")
        if end is None or end.wait(_LOOK_SECONDS):
            return 0


def recover(directory: Path | None, *, is_sent: bool) -> int:
    """Print what processes were doing that are lost, and if *is_sent*, send it; return the exit code."""
    lost = {folder: [run for run in open_runs(folder) if not run.is_alive] for folder in _folders(directory)}
    folders = [folder for folder, runs in lost.items() if runs]
    incomplete = 0
    if directory is None and not folders:
        with contextlib.suppress(StoreUnreadable, OSError):  # it is off, or cannot be read
            incomplete = sum(summary.result == INCOMPLETE for summary in open_store().summaries())
    if incomplete:  # they have no spool, from which the next process reports them
        words = f"{counted(incomplete, 'trace')} of the store {'is' if incomplete == 1 else 'are'} incomplete"
        say(f"no run that was lost waits to be sent; {words}: 'otelflow show --list --failed' has them")
    else:
        _print([run for runs in lost.values() for run in runs], "after")
    name, endpoint = variable("traces", "ENDPOINT")
    if folders and is_sent and not endpoint:
        say(f"they wait: set {name} to where they are to be sent, such as http://localhost:4318")
        return FAILURE
    if not is_sent or not folders:
        return 0
    counting = None
    if str(in_force()["metrics"].value).partition(":")[0].strip().lower() in _DELIVERING:
        # Nobody reports these runs again. The metrics of a command have no name of their own.
        service = lost[folders[0]][0].span.service
        counting = metrics.use(resource=Resource({SERVICE_NAME: service}))
    code = max(_sent_from(folder, is_named=directory is not None) for folder in folders)
    if counting is not None:
        counting.shutdown()
    return code


def _sent_from(folder: Path, *, is_named: bool) -> int:
    try:
        if not is_named:
            destination = destination_of("traces", exporter_of("traces"))
            with open_spool(folder, kind="spool") as spool:
                destination.check(spool)
            destination.check_key(folder)
        return ship(folder, once=True)
    except StoreUnreadable as error:  # what is there waits for another endpoint
        say(str(error))
        return FAILURE


def _folders(directory: Path | None) -> list[Path]:
    """Return the spools of this user, or *directory* alone. Raises ConfigurationError if that is not there."""
    if directory is None:
        return spools()
    folder = directory.expanduser().absolute()
    if not folder.is_dir():
        raise ConfigurationError(f"There is no spool {folder}; without a folder, every spool of this user is looked at")
    return [folder]


def _stored_runs(listed: set[str]) -> list[OpenRun]:
    """Return the runs of programs that have a store and no spool, but for those whose spans are *listed* already."""
    try:
        directory = open_store().directory
        runs = [] if directory is None else open_runs(directory, kind="store")
    except (StoreUnreadable, OSError):  # it is off, or cannot be read
        return []
    return [run for run in runs if run.is_alive and run.span.span_id not in listed]


def _last_message(run: OpenRun) -> str:
    messages = [
        (event.time, str(event.attributes.get(semconv.MESSAGE_TEXT, "")))
        for span in (run.span, *run.inside)
        for event in span.events
        if event.name == semconv.MESSAGE_EVENT
    ]
    text = max(messages, default=(0, ""))[1]
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[: _LONGEST_MESSAGE - 1]}…"


def _task_in(run: OpenRun) -> str:
    return run.inside[-1].name if run.inside else ""


def _print(runs: list[OpenRun], heading: str) -> None:
    """Print *runs*; under *heading* stands how long each has run, or had run when it was lost."""
    if not runs:
        say("no run is open" if heading == "age" else "no run was lost")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    headings = ("trace", "process", heading, "service", "run", "inside", "last message")
    for name in headings:
        table.add_column(name, no_wrap=True)
    rows = []
    for run in runs:
        end = clock.time_ns() if run.is_alive else run.last_sign
        age = durations.in_words(max(0, end - run.span.start) / 1e9)
        cells = run.span.trace_id, str(run.pid), age, run.span.service, run.span.name, _task_in(run), _last_message(run)
        rows.append([one_line(text) for text in cells])
        table.add_row(*map(Text, rows[-1]))
    console = page()
    if console.measure(table, options=console.options.update(width=_ANY_WIDTH)).maximum <= console.width:
        console.print(table)
        return
    for trace_id, *others in rows:  # no id and no name is broken: the rest stands below it
        console.print(Text(trace_id), soft_wrap=True)
        for name, text in zip(headings[1:], others, strict=True):
            if text:
                console.print(Text.assemble("  ", (f"{name:<{len(headings[-1])}}", "dim"), "  ", text), soft_wrap=True)
