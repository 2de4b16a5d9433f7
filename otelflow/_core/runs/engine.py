"""The only place where a run starts and ends, on every path.

Each step stands where it does for a reason. A thread can be stopped between any two of them (Ctrl-C, a full stack, the
exit of the interpreter in another thread), so each leaves a state that ``close_run`` can end. Both run on the thread of
the run, except at the exit of the interpreter: the thread that exits ends what is open.
"""

import contextlib
import logging
from _thread import get_ident
from typing import Final

from opentelemetry.trace import INVALID_SPAN

from otelflow import semconv
from otelflow._core.process import clock, losses, shutdown, trace_address
from otelflow._core.process.forks import fork, notice
from otelflow._core.process.provider import span_maker
from otelflow._core.process.settings import settings
from otelflow._core.runs import log_records, open_runs, spans
from otelflow._core.runs.current import current_run, enter, leave, unclosed_inside
from otelflow._core.runs.endings import CANCELLED, SUCCESS, UNCLOSED, Ending, ending_of
from otelflow._core.runs.observers import observed, tell
from otelflow._core.runs.run import Run
from otelflow._core.text.own_logger import log
from otelflow._core.text.safe_str import comes_from_outside

# Exceptions are remembered to be recorded once; a flow that fails and recovers for ever must not keep them all.
_REMEMBERED: Final = 1_000


def open_run(run: Run, started_ns: int = 0) -> None:
    """Start *run*: its span, its place in the context, the register, and who is told, in that order.

    *started_ns* is when it began (since the epoch), if that was not now. A fork that nobody has told Python of was
    noticed when *run* was made, just now.
    """
    run.started_ns = clock.time_ns()
    run.clock = clock.perf_counter()
    if started_ns:
        run.clock -= max(run.started_ns - started_ns, 0) / 1_000_000_000
        run.started_ns = started_ns
    try:
        maker = span_maker()
        if maker is not None:
            spans.start(run, maker)
        enter(run)
        run.is_open = True  # before the rest: if the stack is full there, close_run() undoes what was done
        open_runs.add(run)
        if observed.started:
            tell(observed.started, run)
        run.conduct.opened(run)
    except Exception as error:  # noqa: BLE001 whatever is wrong with telemetry, the user's function runs
        _report_failure(run, "start", error)


def close_run(run: Run, ending: Ending, value: object = None) -> None:  # noqa: C901 a call would want room on a full stack
    """End *run*, in this order: what was submitted in it, its place in the context, what the user has, span, observers.

    Called on every path, with what ``endings.ending_of`` says. What is done is not done again: the exit of the
    interpreter may end a run that a thread or a generator still holds, and Ctrl-C may come in between.
    """
    if not fork.page[0]:
        notice()
    if run.session is not None:
        _end_session(run, ending, value)
    this_thread = get_ident()
    if run.closing_thread is not None and not _reopen(run, this_thread):
        return
    # No thread can come in between: CPython changes threads at calls and jumps back, and since the look there is none.
    run.closing_thread = this_thread
    if run.is_current and current_run() is not run:
        _close_inside(run, ending)
    if not run.clock:  # Ctrl-C came before open_run() had looked at it
        run.started_ns, run.clock = clock.time_ns(), clock.perf_counter()
    duration = clock.perf_counter() - run.clock
    run.ending = ending
    run.duration = duration = duration if duration > 0 else 0.0  # a test may have put back this clock, too
    run.ended_ns = run.started_ns + int(duration * 1e9 + 0.5)  # round() takes three times as long
    run.is_closed = True
    leave(run)  # before anything that may take long or fail: the caller's run is current again
    is_inherited = run.clock < fork.clock  # its parent process ends and reports it
    # What the user holds, its span, and who is told: each of them, whatever the one before it raises
    try:
        run.conduct.ended(run, value)
    except Exception as error:  # noqa: BLE001 the user's value or exception comes out, whatever is wrong here
        _report_failure(run, "result", error)
    finally:
        try:
            if not is_inherited and (run.span is not INVALID_SPAN or ending.error is not None):
                spans.end(run)
                if ending.error is not None:
                    _report_error(run, ending.error, ending)
        except RecursionError:
            spans.unended.chain = run, False, spans.unended.chain
        except Exception as error:  # noqa: BLE001 observers are told of the end all the same
            _report_failure(run, "end", error)
        finally:
            if run.is_open:
                open_runs.remove(run)
                run.is_open = False
            # In here: of Ctrl-C in a span processor, say, the run is counted all the same.
            if not is_inherited and observed.ended:
                tell(observed.ended, run)
            run.recorded = None
            run.flow_run = None  # a flow's run refers to itself: without that ring it is freed at once


def _end_session(run: Run, ending: Ending, value: object) -> None:
    """Wait for what was submitted in *run*, which is a part of it."""
    try:
        run.session.end(ending)
    except BaseException:  # Ctrl-C
        # A second one, while the run fails already: stop waiting, or nobody closes it.
        if ending.error is not None:
            run.session.give_up()
            close_run(run, ending, value)
        raise


def _close_inside(run: Run, ending: Ending) -> None:
    """End the runs inside *run* that could not be closed because the stack was full."""
    for inner in unclosed_inside(run):
        close_run(inner, ending if ending.is_failure else UNCLOSED)


def _reopen(run: Run, this_thread: int) -> bool:
    """Tell whether *this_thread* was interrupted when it ended *run*, before it was done; its span may have ended."""
    if run.closing_thread != this_thread:
        return False
    if run.is_recording and not run.span.is_recording():
        spans.give_up(run)
    return run.is_open or not run.is_closed


def close_with(run: Run, error: BaseException, thrown_in: object = None) -> bool:
    """End *run* with *error*, which has left its body; tell whether it stays inside, as the user asked.

    *thrown_in* is the exception that the consumer of a generator has thrown into the body, if it has.
    """
    if error is thrown_in:
        _find_recorded(run, error)
    try:
        try:
            ending = ending_of(error, was_called=run.was_called)
        except BaseException as trouble:  # a property of a foreign class, or a group nested too deep
            ending = Ending(semconv.FAILURE, error)
            if comes_from_outside(trouble):
                close_run(run, ending)
                raise
        close_run(run, ending)
    except RecursionError:
        spans.unended.chain = run, False, spans.unended.chain
        raise
    if spans.unended.chain is not None:
        with contextlib.suppress(RecursionError):  # there is no room yet
            spans.end_unended()
    if not keeps_inside(run, ending, error):
        if run.kind == "flow" and run.is_recording and settings().note_trace:
            _note_trace(run, error)
        return False
    if ending.is_failure:
        _log_failure(run, ending)
    return True


def _find_recorded(run: Run, error: BaseException) -> None:
    """Remember for *run*, which *error* was thrown into, where that was raised: it may stand in the trace already."""
    above = run.parent
    while above is not None:
        if spans.is_recorded(above, error):
            run.recorded = {id(error): (error, spans.origin(above, error) or run.span_name())}
        above = above.parent


def _note_trace(run: Run, error: BaseException) -> None:
    """Add to *error*, once, where the trace is in which it stands."""
    context = spans.context_of(run.span)
    if context is None:
        return
    note = f"trace {trace_address.address_of(context.trace_id)}"
    try:
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
    except Exception as trouble:  # noqa: BLE001 the user's exception may be of a class that takes no notes
        losses.warn_once("note", "An exception takes no note of its trace; it comes out as it is", error=trouble)


def _log_failure(run: Run, ending: Ending) -> None:
    """Log a failure that the caller does not get to see."""
    is_task = run.kind == "task"
    owner, name = ("task", run.task_name) if is_task else ("flow", run.flow_name)
    keyword = "raise_on_error=False" if is_task else "raise_flow_error=False"
    error = ending.error if losses.logger.isEnabledFor(logging.DEBUG) else None
    message = "Error executing %s %r: %s (it stays inside: %s)"
    log(losses.logger, logging.ERROR, message, owner, name, ending.reason, keyword, error=error)


def keeps_inside(run: Run, ending: Ending, error: BaseException | None) -> bool:
    """Tell whether *error*, which *ending* is of, stays inside; not when the body could not even be called.

    What ``except Exception`` would catch does: also what ends a program well (``click.exceptions.Exit(0)``).
    """
    return run.keeps_errors and ending.result != semconv.ERROR and issubclass(type(error), Exception)


def close_early(run: Run, value: object = None) -> None:
    """End the run of a generator whose consumer wants no more: a success that says so."""
    if run.is_recording and not run.is_closed:
        try:
            run.span.set_attribute(semconv.GENERATOR_CLOSED_EARLY, True)
        except Exception as error:  # noqa: BLE001 a host's span is foreign code
            _report_failure(run, "end", error)
    close_run(run, SUCCESS, value)


def end_open_runs() -> None:
    """End each run that is still open, innermost first: it will not get any further."""
    spans.end_unended()
    for run in sorted(open_runs.open_runs(), key=lambda run: run.clock, reverse=True):
        if run.session is not None:
            run.session.give_up()
        if run.is_generator and not run.is_current:  # it waits for its consumer
            close_early(run)
        else:
            close_run(run, CANCELLED)


shutdown.runs_end_with(end_open_runs)


def _report_error(run: Run, error: BaseException, ending: Ending) -> None:
    """Emit *error* as a log record if that is wanted, and tell the parent that it is recorded here.

    With neither a span nor a log record, it is left to the parent to record it.
    """
    is_logged, is_recorded = settings().events != "span", spans.is_recorded(run, error)
    if is_logged and not is_recorded:
        log_records.emit_exception(run)
    parent = run.parent
    if parent is None or keeps_inside(run, ending, error) or not (run.is_recording or is_logged or is_recorded):
        return
    if parent.recorded is None:
        parent.recorded = {}
    if len(parent.recorded) < _REMEMBERED:
        # One attempt is no place of its own: it was in the task or flow that is tried.
        parent.recorded[id(error)] = (error, spans.origin(run, error) or (run.span_name() if run.kind else ""))


def _report_failure(run: Run, moment: str, error: Exception) -> None:
    if comes_from_outside(error):
        raise error
    is_lost = moment == "start" or (moment == "end" and run.is_recording and run.span.is_recording())
    if is_lost:  # a span that has ended is not
        losses.lost("traces", f"{moment}_failed")
    if not shutdown.is_too_late(error):
        losses.warn_once(
            f"engine {moment}", "The %s of a run could not be reported; the run goes on", moment, error=error
        )
