"""The run of a flow, and the block of a ``with flow:``."""

import logging
import sys
import time
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from otelflow import semconv
from otelflow._core.flows.config import Flow_Run__Config
from otelflow._core.flows.definition import Kind, Spec, shown_value
from otelflow._core.flows.injection import dependencies_of
from otelflow._core.inside import events, messages, print_capture
from otelflow._core.inside.artifacts import add_result
from otelflow._core.process.ids import new_id
from otelflow._core.process.settings import settings
from otelflow._core.runs.current import current_run, enter, leave, open_run_here
from otelflow._core.runs.endings import Outcome, error_message
from otelflow._core.runs.run import Run
from otelflow._core.text.safe_str import printable

if TYPE_CHECKING:
    from otelflow._core.flows.flow import Flow
    from otelflow._core.process.settings_table import Settings

_RETURN_VALUE: Final = "flow-return-value"


def new_flow_id() -> str:
    """Return an id that no other flow run has."""
    return new_id("flow_id__")


class Block(Run):
    """What is current inside ``with flow:`` — no run and no span, but whose flow the tasks there belong to."""

    __slots__ = ("around",)

    def __init__(self, flow: "Flow[Any]", around: "Block | None") -> None:
        super().__init__()
        self.around = around
        self.flow = flow
        self.flow_run = self
        self.flow_name = printable(flow.flow_name)
        self.flow_run_id = printable(flow.flow_id)
        self.config = effective(flow.flow_config)

    def open(self) -> None:
        """Make the flow current."""
        self.parent = open_run_here()
        enter(self)
        print_capture.run_opened(self)

    def close(self) -> None:
        """Make current what was before."""
        self.is_closed = True
        leave(self)
        print_capture.run_closed(self)
        print_capture.finish(self)
        self.flow_run = None

    def span_attributes(self) -> Mapping[str, Any]:
        """Return whose block it is."""
        return {semconv.FLOW_NAME: self.flow_name, semconv.FLOW_RUN_ID: self.flow_run_id}


def innermost_block(flow: "Flow[Any]") -> Block | None:
    """Return the open block of *flow* that was entered last in this context, if there is one."""
    run = current_run()
    while run is not None:
        if isinstance(run, Block) and run.flow is flow and not run.is_closed:
            return run
        run = getattr(run, "outer", None)
    return None


def effective(config: Flow_Run__Config) -> "Settings":
    """Return *config* with the process's settings where it says nothing, ready for quick reading."""
    fields = vars(config)
    return settings().with_fields(fields) if fields else settings()


class FlowRun(Run):
    """The run of a flow."""

    __slots__ = ("spec",)

    START: ClassVar = events.Flow_Run__Event_Type.FLOW_START
    STOP: ClassVar = events.Flow_Run__Event_Type.FLOW_STOP

    flow: "Flow[Any]"
    flow_name: str
    flow_run_id: str

    def __init__(self, flow: "Flow[Any]", spec: Spec) -> None:
        super().__init__()
        self.flow = flow
        self.spec = spec
        self.flow_run = self
        self.flow_name = printable(flow.flow_name)
        self.flow_run_id = printable(flow.flow_id)
        self.config = effective(flow.flow_config)

    def place(self, parent: Run | None) -> None:
        """Take an id that no run had before; a block of the same flow is no parent."""
        flow = self.flow
        if isinstance(parent, Block) and parent.flow is flow:
            self.parent = parent.parent
        if flow._used_id is not None:
            flow._forget_run()
            if flow.flow_id == flow._used_id and not flow._has_fixed_id:
                flow.flow_id = new_flow_id()
        flow._used_id = flow.flow_id
        self.flow_run_id = printable(flow.flow_id)
        flow._run = self
        flow.flow_error = None
        if not self._is_generator():
            flow.flow_return_value = None
        flow.status, flow.started_ns, flow.duration = "running", time.time_ns(), None

    def span_name(self) -> str:
        """Return ``flow {name}``."""
        return "flow " + self.flow_name

    def span_attributes(self) -> Mapping[str, Any]:
        """Return who runs."""
        found = {
            semconv.FLOW_NAME: self.flow_name,
            semconv.FLOW_RUN_ID: self.flow_run_id,
            semconv.CODE_FUNCTION_NAME: self.spec.code_name,
        }
        if self.spec.capture_parameters:
            found.update(self.spec.captured_parameters(self.flow.flow_args, self.flow.flow_kwargs))
        return found

    def call(self) -> Any:
        """Call the target with what it asks for."""
        flow = self.flow
        named = {"this_flow": flow, "this_task": None, "flow_data": flow.data, "task_data": {}}
        return self.spec.call_injected(self, flow.flow_args, flow.flow_kwargs, named, dependencies_of(flow))

    def started(self) -> None:
        """Say that the flow is executed."""
        messages.lifecycle(self, logging.DEBUG, messages.created(self.flow_run_id, self.flow_name))
        messages.lifecycle(self, logging.DEBUG, messages.EXECUTING_FLOW, self.flow_run_id)

    def ended(self, outcome: Outcome, value: object, duration: float) -> None:
        """Keep value, error and duration on the flow; what it returns is a result, also when it is falsy."""
        flow = self.flow
        if not self._is_generator():
            flow.flow_return_value = value
        flow.status, flow.flow_error, flow.duration = outcome.result, outcome.error, duration
        flow.ended_ns = time.time_ns()
        flow._run = None
        for artifact in flow.artifacts:
            artifact.leave_run()
        self._say(outcome, value)
        if flow.flow_config.print_error_stack_trace and outcome.error is not None:
            traceback.print_exception(outcome.error)
        if flow.flow_config.print_logs:
            flow.print_log_messages(use_colors=messages.shows_colors(sys.stdout))

    def _is_generator(self) -> bool:
        return self.spec.kind in (Kind.GENERATOR, Kind.ASYNC_GENERATOR)

    def _say(self, outcome: Outcome, value: object) -> None:
        if outcome.error is not None:
            text = error_message(outcome.error, settings().value_limit)
            messages.lifecycle(self, logging.ERROR, messages.FLOW_ERROR, text)
        elif value is not None or self.config.print_none_return_value:
            messages.lifecycle(self, logging.DEBUG, messages.FLOW_VALUE, value)
        if value is not None:
            add_result(self, _RETURN_VALUE, value, changes=False)
            if self.spec.capture_return_value and self.is_recording:
                self.span.set_attribute(semconv.RUN_RETURN_VALUE, shown_value(value))
        if self.config.print_finished_message:
            messages.lifecycle(self, logging.DEBUG, messages.FINISHED_FLOW, self.flow_run_id)

    def swallows(self, outcome: Outcome) -> bool:
        """Keep an exception inside with ``raise_flow_error=False``, unless the flow could not even be called."""
        return (
            not self.config.raise_flow_error
            and outcome.result != semconv.ERROR
            and isinstance(outcome.error, Exception)
        )
