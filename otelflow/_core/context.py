"""Which run is current: in this thread, in this asyncio task, in this step of a generator."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, Final

from opentelemetry import context as otel_context
from opentelemetry.trace import INVALID_SPAN, Span, set_span_in_context

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from otelflow._core.artifacts import Artifact, Result
    from otelflow._core.bounded import Kept
    from otelflow._core.config import Settings
    from otelflow._core.events import Flow_Run__Event_Type
    from otelflow._core.flow import Flow
    from otelflow._core.messages import Line
    from otelflow._core.results import Outcome
    from otelflow._core.task import Task


class Run:
    """One run of a flow or a task. The engine opens and closes it; flow.py and task.py say what it runs."""

    __slots__ = (
        "__weakref__",
        "artifacts",
        "clock",
        "closer",
        "config",
        "context",
        "failed_tasks",
        "flow",
        "flow_name",
        "flow_run",
        "flow_run_id",
        "fragment",
        "has_ended",
        "inner",
        "is_closed",
        "is_current",
        "is_open",
        "is_recording",
        "messages",
        "outer",
        "outer_context",
        "parent",
        "recorded",
        "results",
        "span",
        "started_ns",
        "task",
        "task_name",
        "task_run_id",
        "was_called",
    )

    START: ClassVar["Flow_Run__Event_Type"]
    STOP: ClassVar["Flow_Run__Event_Type"]

    config: "Settings"
    flow: "Flow[Any] | None"
    task: "Task | None"
    clock: float
    started_ns: int
    context: "Context"
    outer: "Run | None"
    inner: "Run | None"
    outer_context: "Context"

    def __init__(self) -> None:
        self.span: Span = INVALID_SPAN
        self.parent: Run | None = None
        self.flow = None
        self.flow_run: Run | None = None
        self.task = None
        self.flow_name: str | None = None
        self.flow_run_id: str | None = None
        self.task_name: str | None = None
        self.task_run_id: str | None = None
        self.is_recording = False
        self.is_current = False
        self.is_open = False
        self.is_closed = False
        self.closer: int | None = None  # the thread that ends it
        self.has_ended = False  # its body is done, and left an exception
        self.was_called = False
        self.failed_tasks = 0
        self.started_ns = 0
        self.clock = 0.0
        # Exceptions that stand in the trace already, on the span of the task or flow that they came from.
        self.recorded: dict[int, BaseException] | None = None
        # What happens inside is kept until the span ends; most runs never need these.
        self.messages: Kept[Line] | None = None
        self.artifacts: Kept[Artifact] | None = None
        self.results: Kept[Result] | None = None
        self.fragment = ""

    # What flow.py and task.py know and the engine asks:

    @property
    def run_id(self) -> str | None:
        """Return the id of this very run."""
        return self.task_run_id or self.flow_run_id

    def place(self, parent: "Run | None") -> None:
        """Take a place under *parent*: names, ids, settings."""
        raise NotImplementedError

    def span_name(self) -> str:
        """Return the span's name."""
        raise NotImplementedError

    def span_attributes(self) -> Mapping[str, Any]:
        """Return the attributes known when the run starts."""
        raise NotImplementedError

    def call(self) -> Any:
        """Inject what is missing and call the function; ``was_called`` tells whether it came to that."""
        raise NotImplementedError

    def started(self) -> None:
        """The run is open: say so in the log."""
        raise NotImplementedError

    def ended(self, outcome: "Outcome", value: object, duration: float) -> None:
        """The body is done: keep what came of it, and say so in the log."""
        raise NotImplementedError

    def swallows(self, outcome: "Outcome") -> bool:
        """Tell whether the exception stays inside, as the user asked."""
        raise NotImplementedError


_current: Final[ContextVar[Run | None]] = ContextVar("otelflow_current_run", default=None)

current_run = _current.get


def open_run_here() -> Run | None:
    """Return the innermost run of this context that is still open; work may outlive the run that started it."""
    run = _current.get()
    while run is not None and run.is_closed:
        run = run.parent
    return run


def enter(run: Run) -> None:
    """Make *run* and its span current."""
    # Each step leaves a state that ``leave`` can undo: Ctrl-C may come after any of them.
    run.outer = _current.get()
    if run.span is not INVALID_SPAN:
        run.outer_context = otel_context.get_current()
        run.context = set_span_in_context(run.span, run.outer_context)
    run.is_current = True
    _current.set(run)
    if run.span is not INVALID_SPAN:
        otel_context.attach(run.context)


def left_behind(run: Run) -> list[Run]:
    """Return the runs inside *run* that a full stack has kept from being ended, the innermost first."""
    return [inner for inner in _inside(run) if inner.has_ended]


def _inside(run: Run) -> list[Run]:
    inner, found = _current.get(), []
    while inner is not None and inner is not run:
        found.append(inner)
        inner = getattr(inner, "outer", None)
    return found if inner is run else []


def leave(run: Run) -> None:
    """Make current what was current before *run* was entered.

    Without tokens: a coroutine or generator may be closed from another context, where a token is refused and where
    there is nothing to undo.
    """
    if not run.is_current:
        return
    if _current.get() is not run:
        _leave_from_between(run)
        return
    if run.span is not INVALID_SPAN:
        otel_context.attach(run.outer_context)
    outer = run.outer
    while outer is not None and outer.is_closed:
        outer = outer.parent
    _current.set(outer)
    run.is_current = False
    run.outer = None  # a context that outlives the run must not keep what was around it


def _leave_from_between(run: Run) -> None:
    """Let the run inside *run*, which goes on in the same context, come out where *run* would have."""
    inside = _inside(run)
    if not inside:
        return
    inside[-1].outer = run.outer
    run.is_current = False
    run.outer = None
    if run.span is not INVALID_SPAN:
        with_span = [inner for inner in inside if inner.span is not INVALID_SPAN]
        if with_span:
            with_span[-1].outer_context = run.outer_context
        else:
            otel_context.attach(run.outer_context)


def suspend(run: Run) -> None:
    """Make current what was current before the step of a generator, and keep what its body has made current."""
    if not run.is_current:
        return
    run.inner = _current.get()
    if run.span is not INVALID_SPAN:
        run.context = otel_context.get_current()
        otel_context.attach(run.outer_context)
    _current.set(run.outer)
    run.is_current = False
    run.outer = None


def resume(run: Run) -> None:
    """Make current for the next step of a generator what its body had made current in the last one."""
    if not run.is_open:
        return
    run.outer = _current.get()
    if run.span is not INVALID_SPAN:
        run.outer_context = otel_context.get_current()
    run.is_current = True
    _current.set(run.inner)
    run.inner = None
    if run.span is not INVALID_SPAN:
        otel_context.attach(run.context)
