"""One run of a flow or a task."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opentelemetry.trace import INVALID_SPAN, Span

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from otelflow._core.flows.flow import Flow
    from otelflow._core.flows.task import Task
    from otelflow._core.inside.artifacts import Artifact, Result
    from otelflow._core.inside.events import Flow_Run__Event_Type
    from otelflow._core.inside.messages import Line
    from otelflow._core.process.settings_table import Settings
    from otelflow._core.runs.bounded import BoundedLog
    from otelflow._core.runs.endings import Outcome


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
        self.messages: BoundedLog[Line] | None = None
        self.artifacts: BoundedLog[Artifact] | None = None
        self.results: BoundedLog[Result] | None = None
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
