"""Whose session takes what is submitted here: that of a flow run, of the process, or of nobody any more."""

import concurrent.futures
import contextvars
import functools
from typing import Any, Final

from otelflow import semconv
from otelflow._core.flows import future_runners
from otelflow._core.flows.definition import Kind
from otelflow._core.flows.future_session import Session
from otelflow._core.process import forks
from otelflow._core.process.process import State
from otelflow._core.runs import open_runs
from otelflow._core.runs.current import current_run, open_run_here

_THREADS: Final = "otelflow-task"


class _Process(State):
    """What is submitted outside of any flow."""

    session: Session | None

    def __init__(self) -> None:
        #: Whoever begins a session holds it: two threads of a flow may submit first
        self.lock = forks.new_lock()
        super().__init__()

    def reset(self) -> None:
        """Have submitted nothing."""
        self.session = None


_process: Final = _Process()


def session_here() -> Session:
    """Return the session of the flow run that is current, or that of the process outside of any.

    What is submitted in an attempt that has failed, or by a body that its time-out has left behind, is nobody's.
    """
    run = open_run_here()
    owner: Any = _process if run is None or run.flow_run is None else run.flow_run
    inner, attempts = current_run(), []
    while inner is not None and inner is not owner:
        if inner.is_closed and inner.ending.is_failure and (inner.attempt or inner.ending.result == semconv.TIMEOUT):
            nobodys = Session(future_runners.Inline, None, runs_on_loop=False)
            nobodys.is_given_up = True
            return nobodys
        if inner.attempt:
            attempts.append(inner)
        inner = inner.parent
    session: Session | None = owner.session
    if session is None or session.is_inherited:
        with _process.lock:
            session = owner.session
            if session is None or session.is_inherited:
                session = owner.session = _new_session(owner)
    for attempt in attempts:
        attempt.submits_to = session
    return session


def _new_session(owner: Any) -> Session:
    """Return a session for *owner*, the run of a flow or the process."""
    if owner is _process:  # no flow waits for what is submitted there: the end of the process does
        new_runner = functools.partial(future_runners.Threads, concurrent.futures.ThreadPoolExecutor(None, _THREADS))
        return Session(new_runner, None, runs_on_loop=True)
    definition = getattr(owner, "definition", None)  # none in the block of a flow
    choice = None if definition is None else definition.options.get("task_runner")
    if choice is None:  # it is not decorated, but of a class that has one, or was given one
        choice = getattr(owner.flow, "task_runner", None)
    new_runner_of_flow = functools.partial(future_runners.new_runner, choice)
    return Session(new_runner_of_flow, owner, runs_on_loop=getattr(definition, "kind", None) == Kind.COROUTINE)


def give_up_where(variable: contextvars.ContextVar[Any], value: object) -> None:
    """Give up what open flows have submitted where *variable* is *value*."""
    for run in open_runs.open_runs():
        session = run.session
        if session is not None and session.context.get(variable) is value:
            session.give_up()
