"""What the runs of a worker did: heard there, and sent to the flow as the report of an order."""

from typing import Any, NamedTuple

from otelflow._core.flows.flow_run import Block
from otelflow._core.runs import observers
from otelflow._core.runs.endings import SUCCESS
from otelflow._core.runs.run import Entry, Run
from otelflow._core.runs.spans import context_of
from otelflow.runners import _tallies


class RunReport(NamedTuple):
    """One run that has ended there."""

    kind: str
    flow_name: str | None
    flow_run_id: str | None
    task_name: str | None
    task_run_id: str | None
    started_ns: int
    duration: float
    result: str
    error: BaseException | None
    trace_id: int
    span_id: int
    flags: int
    #: Its value was there: it is that of another run
    is_reused: bool
    #: Its attempts, if it was tried again
    attempts: list["RunReport"]


class Report(NamedTuple):
    """What came of an order."""

    value: Any
    error: BaseException | None
    #: The runs inside, that of the task last, each with what happened in it
    runs: list[tuple[RunReport, list[Entry]]]
    spans: list[Any]
    lines: list[Any]
    artifacts: list[Any]
    results: list[Any]
    changes: dict[str, Any]
    failed_tasks: int
    process_id: int
    #: What was said when its run had ended already
    late_entries: list[Entry]
    #: What was counted there besides; None where it was counted here
    counts: _tallies.Counts | None
    #: Whether it was in the process of the flow, whose observers, spans and hooks have had it all
    is_told: bool


class Record:
    """What the runs of one order did."""

    def __init__(self) -> None:
        self.runs: list[tuple[RunReport, list[Entry]]] = []
        self.late_entries: list[Entry] = []
        # By ``id()`` of the open flow or task that they belong to:
        self.entries: dict[int, list[Entry]] = {}
        self.attempts: dict[int, list[RunReport]] = {}


class Recorder(observers.Observer):
    """Keeps what the runs of each order did; several may run at the same time, in threads."""

    def __init__(self) -> None:
        self.records: dict[int, Record] = {}

    def entry_added(self, run: Run, entry: Entry) -> None:
        """Keep *entry* for the report of the flow or task that *run* is, or is an attempt of."""
        record = self.records.get(_flow_of(run))
        if record is None:
            return
        owner = _owner_of(run)
        if owner.kind and owner.is_open:
            record.entries.setdefault(id(owner), []).append(entry)
        else:
            record.late_entries.append(entry)

    def run_ended(self, run: Run) -> None:
        """Keep how *run* ended."""
        record = self.records.get(_flow_of(run))
        if record is None:
            return
        if run.kind:
            report = _report_of(run, record.attempts.pop(id(run), []))
            record.runs.append((report, record.entries.pop(id(run), [])))
        elif run.attempt:
            record.attempts.setdefault(id(_owner_of(run)), []).append(_report_of(run, []))


def _report_of(run: Run, attempts: list[RunReport]) -> RunReport:
    context = context_of(run.span)
    ids = (0, 0, 0) if context is None else (context.trace_id, context.span_id, int(context.trace_flags))
    names = (run.flow_name, run.flow_run_id, run.task_name, run.task_run_id)
    ending = (run.started_ns, run.duration, run.ending.result, run.ending.error)
    is_reused = not run.was_called and run.ending is SUCCESS
    return RunReport(run.kind, *names, *ending, *ids, is_reused, attempts)


def _owner_of(run: Run) -> Run:
    """Return the flow or task that *run* is, or is a part of."""
    while not run.kind and run.parent is not None:
        run = run.parent
    return run


def _flow_of(run: Run) -> int:
    """Return ``id()`` of the stand-in flow of the order that *run* belongs to, or 0."""
    above: Run | None = run
    while above is not None and above.parent is not None:
        above = above.parent
    return id(above.flow) if isinstance(above, Block) else 0
