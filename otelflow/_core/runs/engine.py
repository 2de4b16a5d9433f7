"""The only place where a run starts and ends, on every path: sync and async, function and generator."""

import gc
import inspect
import sys
import time
from _thread import get_ident
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from types import CoroutineType
from typing import Any, Final

from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan

from otelflow import semconv
from otelflow._core.inside import journal, log_capture, print_capture
from otelflow._core.process import forks, losses, shutdown
from otelflow._core.process.settings import settings
from otelflow._core.runs import observers, spans
from otelflow._core.runs.current import current_run, enter, leave, left_behind, open_run_here, resume, suspend
from otelflow._core.runs.endings import SUCCESS, Outcome, error_message, error_type, outcome_of, stack_trace
from otelflow._core.runs.run import Run

NewRun = Callable[[tuple[Any, ...], dict[str, Any]], Run]

# Exceptions are remembered to be recorded once; a flow that fails and recovers for ever must not keep them all.
_REMEMBERED: Final = 1_000

# What Python says to who closes such a generator
_IGNORED: Final = "generator ignored GeneratorExit"

_LEFT_BEHIND: Final = Outcome(semconv.FAILURE)


def open_run(run: Run) -> None:
    """Start *run*: its place, its span, its listeners, in that order."""
    parent = current_run()
    if parent is not None and parent.is_closed:
        # Runs that start each other, each after the other's end, must not keep each other in memory.
        parent.parent = open_run_here()
    run.parent = parent
    run.place(parent)
    run.started_ns = time.time_ns()
    run.clock = time.perf_counter()
    try:
        _start(run)
    except Exception as error:  # noqa: BLE001 whatever is wrong with telemetry, the user's function runs
        _complain(run, "start", error)


def _start(run: Run) -> None:
    context = None
    if run.parent is None:
        log_capture.capture_configured()
        context = spans.environment_parent() if run.task is None else None
    run.span = spans.start(run, context)
    run.is_recording = run.span is not INVALID_SPAN and run.span.is_recording()
    enter(run)
    run.is_open = True  # first: a full stack may keep the rest from being done, and closing undoes what was
    print_capture.run_opened(run)
    if observers.watchers:
        observers.started(run)
    if journal.is_wanted(run, run.START):
        journal.announce(run, run.START, time_ns=run.started_ns)
    run.started()


def close_run(run: Run, outcome: Outcome, value: object = None) -> None:
    """End *run* on its span, for its listeners and for its caller, in that order.

    Called on every path; see the table of endings in ``results.outcome_of``. What is done is not done again: the exit
    of the interpreter may end a run that a thread or a generator still holds, and Ctrl-C may come in between.
    """
    this_thread = get_ident()
    if run.closer is None:
        run.closer = this_thread  # no thread can come in between: nothing is called from the look on
    elif run.closer != this_thread or not _was_interrupted(run):
        return
    if run.is_current and current_run() is not run:
        for inner in left_behind(run):
            close_run(inner, outcome if outcome.is_failure else _LEFT_BEHIND)
    duration = time.perf_counter() - run.clock
    run.is_closed = True
    leave(run)
    try:
        _conclude(run, outcome, value, duration)
    except Exception as error:  # noqa: BLE001 whatever is wrong with telemetry, the user's value or exception comes out
        _complain(run, "end", error)
    finally:
        _report(run, outcome, duration)


def _was_interrupted(run: Run) -> bool:
    """Tell whether *run*, which is to be ended again, was not quite ended the first time; its span may be."""
    if run.is_recording and not run.span.is_recording():
        run.span = NonRecordingSpan(run.span.get_span_context())
        run.is_recording = False
    return run.is_open or not run.is_closed


def _conclude(run: Run, outcome: Outcome, value: object, duration: float) -> None:
    if run.fragment:
        print_capture.finish(run)
    run.ended(outcome, value, duration)


def _report(run: Run, outcome: Outcome, duration: float) -> None:
    is_inherited = run.clock < forks.forked_at()
    try:
        if not is_inherited:
            _end_span(run, outcome)
            if outcome.error is not None and run.parent is not None and not run.swallows(outcome):
                _remember(run.parent, run, outcome.error)
    except Exception as error:  # noqa: BLE001 who counts and who listens hears of the end all the same
        _complain(run, "end", error)
    finally:
        if run.is_open:
            print_capture.run_closed(run)
            run.is_open = False
    if not is_inherited:
        try:
            _tell(run, outcome, duration)
        except Exception as error:  # noqa: BLE001 the user's value or exception comes out
            _complain(run, "end", error)
    run.recorded = None
    run.flow_run = None  # a flow's run is its own: without the ring it is gone at once


def _tell(run: Run, outcome: Outcome, duration: float) -> None:
    if observers.watchers:
        observers.stopped(run, outcome, duration)
    if journal.is_wanted(run, run.STOP):
        journal.announce(run, run.STOP, outcome=outcome, duration=duration)


def _end_span(run: Run, outcome: Outcome) -> None:
    if run.span is not INVALID_SPAN:
        try:
            if run.is_recording:
                _describe(run, outcome)
        finally:
            spans.end(run.span, max(time.time_ns(), run.started_ns))


def _complain(run: Run, moment: str, error: Exception) -> None:
    if moment == "start" or (run.is_recording and run.span.is_recording()):  # a span that has ended is not lost
        losses.lost("traces", f"{moment}_failed")
    losses.warn_once(f"engine {moment}", "The %s of a run could not be reported; the run goes on", moment, error=error)


def _remember(parent: Run, run: Run, error: BaseException) -> None:
    """Let *parent* know that *error* stands in the trace already, on the span where it was raised, if there was one."""
    if not run.is_recording and not _is_recorded(run, error):
        return
    if parent.recorded is None:
        parent.recorded = {}
    if len(parent.recorded) < _REMEMBERED:
        parent.recorded[id(error)] = error


def _is_recorded(run: Run, error: BaseException) -> bool:
    """Tell whether *error* was recorded on a run inside *run*."""
    return run.recorded is not None and id(error) in run.recorded


def _was_thrown_in(run: Run, error: BaseException) -> None:
    """Let a generator's *run* know that *error* comes from outside: where it was raised, it may stand in the trace."""
    above = run.parent
    while above is not None:
        if _is_recorded(above, error):
            run.recorded = {id(error): error}
        above = above.parent


def _describe(run: Run, outcome: Outcome) -> None:
    """Write on the span how the run ended and what happened inside; the exception comes last, so that it stays."""
    run.span.set_attribute(semconv.RUN_RESULT, outcome.result)
    if run.failed_tasks:
        run.span.set_attribute(semconv.FLOW_TASKS_FAILED, run.failed_tasks)
    journal.write_events(run)
    if outcome.error is not None:
        _describe_error(run, outcome, outcome.error)


def _describe_error(run: Run, outcome: Outcome, error: BaseException) -> None:
    limit = settings().value_limit
    text = error_message(error, limit)
    run.span.set_attribute(semconv.ERROR_TYPE, error_type(error))
    if outcome.is_failure:
        spans.fail(run.span, text or error_type(error))
    if not _is_recorded(run, error):
        values = {
            semconv.EXCEPTION_TYPE: error_type(error),
            semconv.EXCEPTION_MESSAGE: text,
            semconv.EXCEPTION_STACKTRACE: stack_trace(error, limit),
        }
        run.span.add_event(semconv.EXCEPTION_EVENT, values)


def _stays_inside(run: Run, error: BaseException, thrown_in: object = None) -> bool:
    """Close *run* with *error*; tell whether the user asked for the exception to stay inside."""
    if error is thrown_in:
        _was_thrown_in(run, error)
    try:
        outcome = outcome_of(error, was_called=run.was_called)
    except Exception:  # noqa: BLE001 a property of a foreign class, or a group nested too deep
        outcome = Outcome(semconv.FAILURE, error)
    close_run(run, outcome)
    return run.swallows(outcome)


def function(new_run: NewRun) -> Callable[..., Any]:
    """Return a function that runs what *new_run* makes of its arguments: the value, or the body's own exception."""

    def run_function(*args: Any, **kwargs: Any) -> Any:
        run = new_run(args, kwargs)
        try:
            open_run(run)
            value = run.call()
            if type(value) is CoroutineType and not _has_begun(value):
                return _when_awaited(run, value)
            close_run(run, SUCCESS, value)
        except BaseException as error:
            run.has_ended = True
            if _stays_inside(run, error):
                return None
            raise
        return value

    return run_function


def _has_begun(body: "CoroutineType[Any, Any, Any]") -> bool:
    return inspect.getcoroutinestate(body) != inspect.CORO_CREATED


def _when_awaited(run: Run, body: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
    """Return *body*, which a plain function has returned, as a coroutine with whose end *run* ends."""
    suspend(run)
    return _awaited(run, body, _Owed(run))


async def _awaited(run: Run, body: Coroutine[Any, Any, Any], _: "_Owed") -> Any:
    try:
        resume(run)
        value = await body
        close_run(run, SUCCESS, value)
    except BaseException as error:
        run.has_ended = True
        if _stays_inside(run, error):
            return None
        raise
    return value


class _Owed:
    """Ends a run whose coroutine nobody awaits, when that is certain: when nobody has it any more."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __del__(self) -> None:
        if not self._run.is_closed:
            close_early(self._run)


def coroutine(new_run: NewRun) -> Callable[..., Any]:
    """Return a coroutine function that does as ``function``."""

    async def run_coroutine(*args: Any, **kwargs: Any) -> Any:
        run = new_run(args, kwargs)
        try:
            open_run(run)
            value = await run.call()
            close_run(run, SUCCESS, value)
        except BaseException as error:
            run.has_ended = True
            if _stays_inside(run, error):
                return None
            raise
        return value

    return run_coroutine


def _pause(run: Run, argument: object) -> None:
    """Leave a generator's *run* until its next step; after a GeneratorExit that the body ignored, there is none."""
    if isinstance(argument, GeneratorExit):
        _stays_inside(run, RuntimeError(_IGNORED))
    suspend(run)


def generator(new_run: NewRun) -> Callable[..., Any]:
    """Return a generator function; the run is current only during its steps. Closing it early is a success."""

    def run_generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        run = new_run(args, kwargs)
        argument: Any = None
        try:
            open_run(run)
            body = run.call()
            step = body.send
            while True:
                held = [step(argument)]  # and given up when it is yielded: the consumer alone has it
                _pause(run, argument)
                argument = None
                try:
                    argument = yield held.pop()
                    step = body.send
                except BaseException as thrown:  # noqa: BLE001 whatever the consumer throws is for the body
                    step, argument = body.throw, thrown
                resume(run)
        except StopIteration as end:
            if isinstance(argument, GeneratorExit):
                close_early(run, end.value)
            close_run(run, SUCCESS, end.value)
            return end.value
        except GeneratorExit:
            close_early(run)
            raise
        except BaseException as error:
            if _stays_inside(run, error, argument):
                return None
            raise
        finally:
            run.has_ended = True
            argument = None  # an exception thrown in would hold this frame, and this frame it

    return run_generator


def async_generator(new_run: NewRun) -> Callable[..., Any]:
    """Return an async generator function that does as ``generator``."""

    async def run_async_generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        run = new_run(args, kwargs)
        argument: Any = None
        try:
            open_run(run)
            body = run.call()
            step = _unhooked(body)
            while True:
                held = [await step(argument)]
                _pause(run, argument)
                argument = None
                try:
                    argument = yield held.pop()
                    step = body.asend
                except BaseException as thrown:  # noqa: BLE001 whatever the consumer throws is for the body
                    step, argument = body.athrow, thrown
                resume(run)
        except StopAsyncIteration:
            if isinstance(argument, GeneratorExit):
                close_early(run)
            close_run(run, SUCCESS)
        except GeneratorExit:
            close_early(run)
            raise
        except BaseException as error:
            if not _stays_inside(run, error, argument):
                raise
        finally:
            run.has_ended = True
            argument = None  # an exception thrown in would hold this frame, and this frame it

    return run_async_generator


def _unhooked(body: Any) -> Callable[[Any], Any]:
    """Return the first step of *body*, taken so that the event loop learns of the wrapper only.

    At its shutdown a loop closes every async generator it knows at once: the body, too, while the wrapper closes it.
    """

    def first_step(argument: Any) -> Any:
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(None, None)
        try:
            return body.asend(argument)
        finally:
            sys.set_asyncgen_hooks(*hooks)

    return first_step


def close_early(run: Run, value: object = None) -> None:
    """End the run of a generator whose consumer wants no more: a success that says so."""
    if run.is_recording and not run.is_closed:
        try:
            run.span.set_attribute(semconv.GENERATOR_CLOSED_EARLY, True)
        except Exception as error:  # noqa: BLE001 a host's span is foreign code
            _complain(run, "end", error)
    close_run(run, SUCCESS, value)


_CANCELLED: Final = Outcome(semconv.CANCELLATION)


def end_open_runs() -> None:
    """End each run that is still open, innermost first: it will not get any further.

    They are found among all objects, so that nobody has to keep a list of them.
    """
    if print_capture.is_any_run_open():
        # Not isinstance(): it asks objects for their __class__, which lazy ones and dead proxies do not take well.
        found = [it for it in gc.get_objects() if issubclass(type(it), Run)]
        runs = [run for run in found if run.is_open and not run.is_closed]
        for run in sorted(runs, key=lambda run: run.clock, reverse=True):
            if _waits_for_its_consumer(run):
                close_early(run)
            else:
                close_run(run, _CANCELLED)


def _waits_for_its_consumer(run: Run) -> bool:
    is_generator = getattr(run, "spec").kind.name in ("GENERATOR", "ASYNC_GENERATOR")  # noqa: B009 of each subclass
    return is_generator and not run.is_current


shutdown.runs_end_with(end_open_runs)
