"""The run of a flow, and the block of a ``with flow:``."""

import logging
import sys
from typing import TYPE_CHECKING, Final, Protocol

from otelflow import semconv
from otelflow._core import inside
from otelflow._core.flows.definition import Definition, shown_value
from otelflow._core.flows.execution import FUTURES, ExecutedRun
from otelflow._core.flows.flow_state import id_of, name_of
from otelflow._core.inside import messages, print_capture
from otelflow._core.process import clock
from otelflow._core.process.ids import new_id
from otelflow._core.runs import open_runs
from otelflow._core.runs.current import current_run, enter, leave, open_run_here, parent_here
from otelflow._core.runs.endings import Ending
from otelflow._core.runs.run import Conduct, Run
from otelflow._core.text.safe_str import bounded_name

if TYPE_CHECKING:
    from otelflow._core.flows.flow_state import FlowState

_RETURN_VALUE: Final = "flow-return-value"


if TYPE_CHECKING:  # making a protocol takes a hundredth of an import

    class HeldFlow(Protocol):
        """The ``Flow`` that the user holds, as its run sees it."""

        @property
        def flow_state(self) -> "FlowState": ...


def new_flow_id() -> str:
    """Return an id that no other flow run has."""
    return new_id("flow_id__")


class Block(Run):
    """What is current inside ``with flow:`` — no run and no span, but whose flow the tasks there belong to."""

    __slots__ = ("around", "failed_tasks", "session")

    def __init__(self, flow: "HeldFlow", around: "Block | None") -> None:
        state = flow.flow_state
        super().__init__(None, state.settings())
        self.around = around
        self.failed_tasks = 0
        self.session = None
        self.flow, self.flow_state = flow, state
        self.flow_run = self
        self.flow_name = bounded_name(name_of(flow))
        self.flow_run_id = bounded_name(id_of(flow))

    def open(self) -> None:
        """Make the flow current."""
        self.parent = open_run_here()
        enter(self)
        open_runs.add(self)

    def close(self, ending: Ending) -> None:
        """Wait for what was submitted in it, as *ending* wants, and make current what was before."""
        try:
            if self.session is not None:
                self.session.end(ending)
        except BaseException:  # Ctrl-C
            self.session.give_up()
            raise
        finally:
            self.is_closed = True
            leave(self)
            open_runs.remove(self)
            print_capture.finish(self)
            self.flow_run = None


def innermost_block(flow: "HeldFlow") -> Block | None:
    """Return the open block of *flow* that was entered last in this context, if there is one."""
    run = current_run()
    while run is not None:
        if isinstance(run, Block) and run.flow is flow and not run.is_closed:
            return run
        run = getattr(run, "outer", None)
    return None


class _FlowConduct(Conduct):
    __slots__ = ()

    def opened(self, run: ExecutedRun) -> None:
        """Say that the flow is executed."""
        run.flow_state.started_ns = run.started_ns
        messages.log_lifecycle(run, logging.DEBUG, messages.created(run.flow_run_id or "", run.flow_name or ""))
        messages.log_lifecycle(run, logging.DEBUG, messages.EXECUTING_FLOW, run.flow_run_id)

    def ended(self, run: ExecutedRun, value: object) -> None:
        """Keep value, error and duration on the flow; what it returns is a result, also when it is falsy."""
        if run.fragment:
            print_capture.finish(run)
        state, ending = run.flow_state, run.ending
        if not run.definition.is_generator:
            state.return_value = value
        state.status, state.error, state.duration = ending.result, ending.error, run.duration
        state.ended_ns = now = run.ended_ns
        state.run = None
        if ending.error is not None:
            text = ending.error_message or ending.error_type
            messages.log_lifecycle(run, logging.ERROR, messages.FLOW_ERROR, text, now)
        elif value is not None or run.settings.print_none_return_value:
            is_captured = run.definition.capture_return_value
            messages.log_lifecycle(run, logging.DEBUG, messages.FLOW_VALUE, value, now, not is_captured)
            if is_captured and run.is_recording:
                run.span.set_attribute(semconv.RUN_RETURN_VALUE, shown_value(value))
        if value is not None:
            inside.artifacts.add_result(run, _RETURN_VALUE, value, ended_ns=now)
        if run.settings.print_finished_message:
            messages.log_lifecycle(run, logging.DEBUG, messages.FINISHED_FLOW, run.flow_run_id, now)
        if ending.error is not None and run.settings.print_error_stack_trace:
            messages.print_traceback(ending.error)
        if run.settings.print_logs:
            has_colors = messages.shows_colors(sys.stdout)
            messages.to_stdout("".join(messages.for_console(line, has_colors=has_colors) for line in state.log))


_CONDUCT: Final = _FlowConduct()

_new_object: Final = object.__new__
_begin: Final = Run.__init__


def new_flow_run(flow: "HeldFlow", definition: Definition) -> ExecutedRun:
    """Return the next run of *flow*, which is to run what *definition* knows."""
    parent = parent_here()
    if isinstance(parent, Block) and parent.flow is flow:  # a block of the same flow is no parent
        parent = parent.parent
    state = flow.flow_state
    if state.used_id is not None:  # this is not the first run: it takes an id that no run had
        state.forget_run()
        if state.id == state.used_id and not (state.has_fixed_id or definition.options.get("is_resumed")):
            state.id = new_flow_id()
    state.used_id = state.id
    name = bounded_name(name_of(flow))
    run: ExecutedRun = _new_object(ExecutedRun)  # as in new_task_run()
    _begin(run, parent, state.settings())
    run.kind, run.failed_tasks, run.session, run.links = "flow", 0, None, ()
    run.conduct = _CONDUCT if definition.hooks is None else definition.hooks.conduct(_CONDUCT)
    run.flow_name = name
    run.flow, run.flow_state = flow, state
    run.flow_run = run
    run.flow_run_id = bounded_name(id_of(flow))
    run.definition, run.args, run.kwargs = definition, state.args, state.kwargs
    if definition.records_arguments:
        run.parameters = definition.recorded_parameters(run.args, run.kwargs, semconv.FLOW_RUN_NAME)
    if run.settings.flow_data__capture_events:
        inside.listeners.capture_events()
    state.run = run
    state.error = None
    if not definition.is_generator:
        state.return_value = None
    state.status, state.started_ns, state.duration = semconv.RUNNING, clock.time_ns(), None
    if FUTURES in sys.modules:
        sys.modules[FUTURES].fill_in(run)
    return run
