"""One run of a flow or a task, as data: who runs, where it belongs, how far it is, and how it ended."""

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from opentelemetry.trace import INVALID_SPAN, Span

from otelflow import semconv
from otelflow._core.process.forks import fork, notice
from otelflow._core.runs.bounded import BoundedLog, Bounds

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from otelflow._core.process.settings_table import Settings
    from otelflow._core.runs.endings import Ending


class Entry(Protocol):
    """A thing that happened inside a run: a message, an artifact, a result."""

    @property
    def time_ns(self) -> int:
        """When, in nanoseconds since the epoch."""

    @property
    def level(self) -> int:
        """How important it is, as ``logging`` counts."""

    @property
    def is_important(self) -> bool:
        """Whether it is kept when others must be left out."""

    @property
    def event_name(self) -> str:
        """The name of its span event."""

    @property
    def body(self) -> str:
        """The text of its log record."""

    def attributes(self) -> Mapping[str, str | int]:
        """Return the attributes of its span event."""

    def payload(self) -> dict[str, Any]:
        """Return what a listener's event has as ``data``."""


class _EntryLimit:
    """How many entries of one kind a run keeps: the first, the last, and of the important ones between them."""

    __slots__ = ("bounds", "has_states", "omitted")

    def __init__(self, head: int, tail: int, important: int, omitted: str, *, has_states: bool = False) -> None:
        self.bounds = Bounds(head, tail, important, operator.attrgetter("is_important"))
        self.omitted = omitted
        self.has_states = has_states  # an entry may come again, with another state


# Together they leave room for the user's own events among the 128 that the SDK keeps. It throws away the oldest: so
# what can be spared is written first.
_ENTRY_LIMITS: Final = {
    semconv.MESSAGE_EVENT: _EntryLimit(30, 30, 20, semconv.MESSAGES_OMITTED),
    semconv.ARTIFACT_EVENT: _EntryLimit(10, 10, 4, semconv.ARTIFACTS_OMITTED, has_states=True),
    semconv.RESULT_EVENT: _EntryLimit(4, 4, 0, semconv.RESULTS_OMITTED),
}


class Journal:
    """What happened inside a run, kept until its span ends: a bounded log for each kind of entry."""

    __slots__ = ("_logs",)

    def __init__(self) -> None:
        self._logs: dict[str, BoundedLog[Entry]] = {}

    def _log_of(self, event_name: str) -> "BoundedLog[Entry]":
        log = self._logs.get(event_name)
        if log is None:
            # Of two threads that come at once, both get the same log.
            log = self._logs.setdefault(event_name, BoundedLog(_ENTRY_LIMITS[event_name].bounds))
        return log

    def add(self, entry: Entry) -> None:
        """Keep *entry*; one that is there already has a new state, which takes the place of the older."""
        log = self._log_of(entry.event_name)
        if not _ENTRY_LIMITS[entry.event_name].has_states or not any(item is entry for item in log):
            log.append(entry)

    def leave_out(self, event_name: str, count: int) -> None:
        """Count *count* entries that were not even made."""
        self._log_of(event_name).leave_out(count)

    def entries(self) -> list[Entry]:
        """Return what was kept, what can be spared first."""
        logs = self._logs
        return [entry for event_name in _ENTRY_LIMITS if event_name in logs for entry in logs[event_name]]

    def events(self, ended_ns: int | None = None) -> list[tuple[str, int, Mapping[str, str | int]]]:
        """Return name, time and attributes of each as its span keeps it: none is later than the end of that, if any."""
        return [
            (
                entry.event_name,
                entry.time_ns if ended_ns is None else min(entry.time_ns, ended_ns),
                entry.attributes(),
            )
            for entry in self.entries()
        ]

    def omitted(self) -> dict[str, int]:
        """Return how many entries were left out, by the attribute that says so."""
        return {_ENTRY_LIMITS[name].omitted: log.omitted for name, log in self._logs.items() if log.omitted}


if TYPE_CHECKING:  # making a protocol takes a hundredth of an import

    class Body(Protocol):
        """What a run calls."""

        body: "Callable[..., Any]"

        def arguments(self, run: "Run") -> "tuple[tuple[Any, ...], dict[str, Any]]":
            """Return the arguments of *run* with what is injected; from now on it ``was_called``."""

        def call_error(
            self, run: "Run", error: BaseException, args: "tuple[Any, ...]", kwargs: "dict[str, Any]"
        ) -> BaseException | None:
            """Return the error that *error* means if the body did not take its arguments; then it was not called."""

        def call(self, run: "Run") -> Any:
            """Call it with the arguments of *run*; ``run.was_called`` tells whether it came to that."""


class Conduct:
    """What a run does for who holds its ``Flow`` or ``Task`` when it opens and ends: by itself, nothing."""

    __slots__ = ()

    def opened(self, run: Any) -> None:
        """Tell the object that the user holds, and the log, that *run* is open."""

    def ended(self, run: Any, value: object) -> None:
        """Keep *value* and ``ending`` on the object that the user holds, and say in the log how *run* ended."""


class Run:
    """One run, complete when it is opened; the engine opens and closes it, and writes how far it is.

    Each kind of run is a subclass, which fills in the fields; flows and tasks are one, and differ by their ``conduct``.
    To the run of a submitted task, ``submit()`` or its worker adds what else they know. A run without a ``kind``
    belongs to the flow and the task around it.
    """

    __slots__ = (
        "__weakref__",
        "args",
        "clock",
        "closing_thread",
        "context",
        "definition",
        "duration",
        "ended_ns",
        "ending",
        "flow",
        "flow_name",
        "flow_run",
        "flow_run_id",
        "flow_state",
        "fragment",
        "has_ended",
        "inner",
        "is_closed",
        "is_current",
        "is_open",
        "is_recording",
        "journal",
        "kwargs",
        "losses_before",
        "made_spans",
        "outer",
        "outer_context",
        "parameters",
        "parent",
        "recorded",
        "settings",
        "span",
        "started_ns",
        "task",
        "task_name",
        "task_run_id",
        "was_called",
    )

    #: ``flow`` and ``task`` are counted and told to listeners; any other kind is a span inside one of them
    kind: str = ""
    #: What it does for the user's ``Flow`` or ``Task``
    conduct: Conduct = Conduct()
    #: How many tasks in it have failed; only flows count them
    failed_tasks: int = 0
    #: Which attempt of the flow or task around it this is, from 1 on, or 0 for what is no attempt
    attempt: int = 0
    #: What was submitted in it; only flows have it
    session: Any = None
    #: Where what is submitted in it goes; only attempts in which something was know that
    submits_to: Any = None
    # What it runs:
    definition: "Body"
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    # How it ended, set by the engine:
    ending: "Ending"
    duration: float  # seconds
    ended_ns: int  # since the epoch: the clock of the system may have been set meanwhile
    # What its process had lost when it started, if it is an outermost one, set by spans.py:
    losses_before: "dict[tuple[str, str], int]"
    # Where it stands in its context, set by current.py:
    context: "Context"
    outer: "Run | None"
    inner: "Run | None"
    outer_context: "Context"

    # Every value here costs each run something: what follows from others is a property.
    def __init__(
        self,
        parent: "Run | None",
        settings: "Settings",
        task: Any = None,
        task_name: str | None = None,
        task_run_id: str | None = None,
    ) -> None:
        if not fork.page[0]:
            notice()
        # Who runs:
        self.parent = parent
        self.settings = settings
        self.flow: Any  # the Flow that the user holds
        self.flow_state: Any  # its state, for which a Flow would have to be asked in Python
        self.flow_run: Any  # a Run that counts its failed tasks, or None
        self.flow_name: str | None
        self.flow_run_id: str | None
        if parent is None:
            self.flow = self.flow_state = self.flow_run = self.flow_name = self.flow_run_id = None
        else:  # it is a part of that flow, unless it is one itself
            self.flow = parent.flow
            self.flow_state = parent.flow_state
            self.flow_run = parent.flow_run
            self.flow_name = parent.flow_name
            self.flow_run_id = parent.flow_run_id
        self.task = task  # the Task that the user holds
        self.task_name = task_name
        self.task_run_id = task_run_id
        self.parameters: Mapping[str, Any] | None = None
        # How far it is, set by the engine:
        self.started_ns = 0  # since the epoch
        self.clock = 0.0  # the same in seconds of time.perf_counter()
        self.span: Span = INVALID_SPAN
        self.is_recording = False
        # Counts the spans of the outermost run and of all inside it: without a lock, since one call to C is one step.
        self.made_spans: Iterator[int] | None = None
        self.is_current = False
        self.is_open = False
        self.was_called = False
        self.has_ended = False  # its body is done: it left an exception, or a generator is exhausted
        self.is_closed = False
        self.closing_thread: int | None = None  # the thread that ends it
        # What happened inside:
        self.journal: Journal | None = None
        self.fragment = ""  # a printed line that is not ended yet
        # Exceptions that stand in the trace already, each with the name of the span of the task or flow that raised it.
        self.recorded: dict[int, tuple[BaseException, str]] | None = None

    # Methods: what is a property takes CPython twice as long to reach.

    def span_name(self) -> str:
        """Return the name of its span."""
        return ""

    def code_name(self) -> str | None:
        """Return the qualified name of the function that it runs."""
        return None

    @property
    def is_generator(self) -> bool:
        """Whether it may wait for its consumer."""
        return False

    @property
    def keeps_errors(self) -> bool:
        """Whether an exception of its body does not come out, as the user asked."""
        return False

    @property
    def run_id(self) -> str | None:
        """The id of this very run."""
        return self.task_run_id or self.flow_run_id

    def attributes(self) -> dict[str, Any]:
        """Return the span attributes that are known when the run starts."""
        attributes: dict[str, Any] = {}
        if self.task_name is not None:
            attributes[semconv.TASK_NAME] = self.task_name
            attributes[semconv.TASK_RUN_ID] = self.task_run_id
        if self.flow_name is not None:
            attributes[semconv.FLOW_NAME] = self.flow_name
            attributes[semconv.FLOW_RUN_ID] = self.flow_run_id
        code_name = self.code_name()
        if code_name is not None:
            attributes[semconv.CODE_FUNCTION_NAME] = code_name
        if self.parameters is not None:
            attributes.update(self.parameters)
        return attributes
