"""What one flow run has submitted: what has not begun, where it runs, and when the flow may end."""

import concurrent.futures
import contextlib
import contextvars
import logging
import threading
from _thread import get_ident
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from otelflow._core.flows.future import Future, Submitted
from otelflow._core.flows.future_states import assign, failure_of
from otelflow._core.flows.future_waits import Waiting, until_done
from otelflow._core.policies.loops import sleep
from otelflow._core.process import clock, forks, losses
from otelflow._core.process.asyncio_loop import running_loop
from otelflow._core.runs.current import is_inside
from otelflow._core.runs.endings import SUCCESS, Ending
from otelflow._core.runs.run import Run
from otelflow._core.text.own_logger import log
from otelflow._core.text.redaction import recorded
from otelflow._core.text.safe_str import comes_from_outside, error_text, type_name
from otelflow.errors import CircularWait, NotSubmittable, OtelflowError

if TYPE_CHECKING:
    from types import TracebackType

# Of the futures that have failed, so many are asked at the end of the flow whether anybody has asked them.
_REMEMBERED: Final = 1_000
_LENGTH: Final = 200
#: Processes that were killed have so long until it is noticed
_SECONDS_OF_KILLED: Final = 3.0
#: The end of a flow that was not a success waits so long for what runs before it says so
_SECONDS_OF_SILENCE: Final = 1.0
_WAITS: Final = (
    "A flow that failed or was interrupted waits for what it has submitted, which runs and cannot be stopped (%d: %s); "
    "Ctrl-C now ends it without them"
)


class Runner(Protocol):
    """Where submitted tasks run."""

    @property
    def window(self) -> int:
        """How many calls it is handed at most that have not ended."""

    def start(self, call: Submitted, finished: Callable[[], None]) -> None:
        """Run *call* now or later, and call *finished* when it has ended."""

    def close(self) -> None:
        """Let go of what it has made: everything has ended, and nothing more comes."""

    def abandon(self) -> bool:
        """Let go of what it has made, though calls still run; tell whether that ends them."""


#: Whose call this context is one of, or was made in: a thread that waits here keeps the runner from other calls
session_of_context: Final = contextvars.ContextVar["Session | None"]("otelflow_session_of_context", default=None)


class Session:
    """The calls that one flow run has submitted and that have not ended, and the runner that runs them."""

    def __init__(self, new_runner: Callable[[], Runner], flow_run: Any, *, runs_on_loop: bool) -> None:
        #: The run of the flow until it ends; a task may begin when the one that has submitted it has ended
        self.flow_run = flow_run
        #: Whether coroutines run on the loop of who submits them, since nothing blocks it
        self.runs_on_loop = runs_on_loop
        self.lock = forks.new_lock()
        self._new_runner = new_runner
        self._runner: Runner | None = None
        #: Why there is none
        self._obstacle: tuple[Exception, TracebackType | None] | None = None
        self._backlog: deque[Submitted] = deque()
        self._handed = 0
        self.started = clock.perf_counter()
        #: The context of the first call of ``submit()``; none is kept for the life of the process
        self.context = contextvars.Context() if flow_run is None else contextvars.copy_context()
        #: Whether nothing is waited for any more
        self.is_given_up = False
        #: The calls that have not ended, with their futures, and those that have not begun
        self.futures: dict[Submitted, Future[Any]] = {}
        self.unstarted: dict[Submitted, Future[Any]] = {}
        #: The asyncio tasks of calls that run on a loop, and the contexts of those
        self.loop_tasks: dict[Any, contextvars.Context] = {}
        #: By thread: what it has yet to skip, as long as it skips something; and the same of what it hands over
        self.skips: dict[int, deque[Callable[[], None]]] = {}
        self.hand_overs: dict[int, deque[Callable[[], None]]] = {}
        #: By thread that waits: what the one beside it has yet to do
        self.beside: dict[int, deque[Callable[[], None]]] = {}
        #: What a runner keeps of tasks, by the id of their definitions
        self.functions: dict[int, Any] = {}
        self.failures: deque[Future[Any]] = deque(maxlen=_REMEMBERED)

    @property
    def runner(self) -> Runner:
        """The runner, made for the first call that needs it. If that raises, each later call raises the same."""
        with self.lock:
            if self._obstacle is not None:  # to try again may take half a minute, for each of thousands
                error, frames = self._obstacle
                raise error.with_traceback(frames)  # else it would have those of each that asks
            if self._runner is None:
                try:
                    self._runner = self._new_runner()
                except Exception as error:
                    if not comes_from_outside(error):
                        self._obstacle = error, error.__traceback__
                    raise
            return self._runner

    def add(self, call: Submitted) -> None:
        """Remember *call*, which was submitted."""
        self.unstarted[call] = self.futures[call] = call.future

    def start(self, call: Submitted) -> None:
        """Hand *call* to the runner, now or when there is room."""
        if self.is_given_up:
            call.future.cancel()
            return
        try:
            runner = self.runner
        except Exception as error:  # a pool or cluster that cannot begin is the task's error
            if comes_from_outside(error):
                raise
            if not isinstance(error, OtelflowError):  # which may say too little
                reason = f"its runner cannot begin ({error_text(type_name(error), recorded(error, _LENGTH))})"
                cause, cure = error, "look whether what task_runner= names is there"
                error = NotSubmittable(call.future.task_name, reason, cure)
                error.__cause__ = cause
            call.fail(error)
            return
        is_handed = False
        try:
            with self.lock:
                if self._handed >= runner.window:
                    self._backlog.append(call)
                    return
                self._handed += 1
                is_handed = True
            self._hand(runner, call)
        except BaseException:  # Ctrl-C; one too many in the runner does no harm, and one too few would for ever
            self._handed -= is_handed
            raise

    def _hand(self, runner: Runner, call: Submitted) -> None:
        try:
            runner.start(call, self._finished)
        except BaseException as error:  # an executor is foreign code, and may take nothing any more
            if not isinstance(error, Exception) or comes_from_outside(error):
                call.give_up(error)
                raise
            call.fail(error)
            self._finished()

    def _finished(self) -> None:
        """Hand over another call, as there is room for it; many that end at once are no deep recursion."""
        _in_turn(self.hand_overs, self._hand_next)

    def _hand_next(self) -> None:
        """Hand the next call to the runner, in the place of one that has ended."""
        with self.lock:
            while self._backlog and self._backlog[0] not in self.unstarted:
                self._backlog.popleft()  # it was cancelled
            if not self._backlog:
                self._handed -= 1
                return
            call = self._backlog.popleft()
        self._hand(self.runner, call)

    def skip_in_turn(self, skip: Callable[[], None]) -> None:
        """Do *skip*, or leave it to the one that this thread is doing: a long chain that fails is no deep recursion."""
        _in_turn(self.skips, skip)

    def is_kept_waiting(self) -> bool:
        """Tell whether a thread of the runner waits here, or for this thread, so that it may as well run a call."""
        return running_loop() is None and self.is_served_here()

    def is_served_here(self) -> bool:
        """Tell whether this is a thread of the runner, perhaps one that other flows have, too, or such a one waits."""
        session, executor = session_of_context.get(), getattr(self._runner, "executor", None)
        while session is not None:
            runner = session._runner  # noqa: SLF001 it is of this class
            if session is self or (executor is not None and getattr(runner, "executor", None) is executor):
                return True
            session = session.context.get(session_of_context)  # of the task that runs the flow
        return threading.current_thread() in getattr(executor, "_threads", ())

    def do_in_thread(self, action: Callable[[], None]) -> None:
        """Do *action* in another thread while this one waits; one such thread does all, one after the other."""
        waiter = get_ident()
        with self.lock:
            waiting = self.beside.get(waiter)
            if waiting is not None:
                waiting.append(action)
                return
            waiting = self.beside[waiter] = deque((action,))

        def work() -> None:
            session_of_context.set(self)
            while True:
                with self.lock:
                    if not waiting:
                        del self.beside[waiter]
                        return
                waiting.popleft()()

        try:
            threading.Thread(target=work, name="otelflow-task-beside", daemon=True).start()
        except RuntimeError:  # there is none to be had: a thread of the runner may get to it
            self.beside.pop(waiter, None)
        except BaseException:  # Ctrl-C
            self.beside.pop(waiter, None)
            raise

    def cancel(self, inside: Run | None = None) -> None:
        """Cancel what has not begun, and what runs on a loop; only what was submitted *inside* of that run, if any."""
        # First what waits to be handed over, or it would take the place of what is taken back.
        for future in _submitted_in(inside, [*list(self.unstarted.values()), *list(self.futures.values())]):
            future.cancel()

    def begin_again(self, attempt: Run) -> None:
        """Cancel as above; what is submitted from now on asks for a runner again, where there was none to be had."""
        self.cancel(attempt)
        with self.lock:
            self._obstacle = None

    def give_up(self) -> bool:
        """Wait for nothing any more, as nobody needs what comes of it; tell whether something runs on.

        What has not begun is cancelled, own processes are ended, and what runs in threads is left alone: who waits for
        its future is told that it is cancelled.
        """
        if self.is_inherited:
            return False
        self.is_given_up = True
        self.cancel()
        with self.lock:
            runner, self._runner = self._runner, None
        running = self._outside_of_loops()  # whose futures may end while the runner is let go of
        try:
            if runner is not None and runner.abandon():
                concurrent.futures.wait(running, _SECONDS_OF_KILLED)
                running = self._outside_of_loops()
        except Exception as error:  # noqa: BLE001 as in end()
            losses.warn_once("runner_close", "What ran tasks could not be closed; the flow goes on", error=error)
        for future in running:
            assign(future, None)  # it is told once
            with contextlib.suppress(concurrent.futures.InvalidStateError):  # it has just ended
                future.set_exception(concurrent.futures.CancelledError())
        return bool(running)

    def end(self, ending: Ending) -> None:
        """Wait until everything has ended; what has not begun is cancelled, unless the flow has ended well."""
        if self.is_inherited:
            return
        has_ended_well = ending.result == SUCCESS.result  # also with SystemExit(0)
        if not has_ended_well:
            self.cancel()
            if not self.is_given_up:
                concurrent.futures.wait(self._outside_of_loops(), _SECONDS_OF_SILENCE)
            self._tell_of_waiting()
        self.wait()
        self.flow_run = None  # which refers to this
        runner, self._runner = self._runner, None
        if runner is not None:
            try:
                runner.close()
            except Exception as error:  # noqa: BLE001 a pool or cluster is foreign code; all that it was for is done
                losses.warn_once("runner_close", "What ran tasks could not be closed; the flow goes on", error=error)
        if has_ended_well:
            self._tell_of_failures()

    def wait(self, inside: Run | None = None) -> None:
        """Wait until everything has ended that runs on no loop, or what of that was submitted *inside* of that run."""
        while not self.is_given_up and (futures := _submitted_in(inside, self._outside_of_loops())):
            try:
                with Waiting(futures):
                    concurrent.futures.wait(futures)
            except CircularWait as error:
                self._give_up_ring(error)

    async def cancel_async(self, error: BaseException) -> None:
        """Cancel what has not begun or runs on a loop, and wait for the rest, as the flow ends with *error*."""
        try:
            self.cancel()
        except BaseException:  # Ctrl-C while it fails already
            self.give_up()
            raise
        has_ended = False
        if type(error) is not GeneratorExit:  # it may not wait
            with contextlib.suppress(BaseException):  # *error* comes out; who cancels once more waits no longer
                loop, timer = running_loop(), None
                if loop is not None:
                    timer = loop.call_later(_SECONDS_OF_SILENCE, self._tell_of_waiting)
                elif self.futures:  # in trio
                    timer = threading.Timer(_SECONDS_OF_SILENCE, self._tell_of_waiting)
                    timer.daemon = True
                    timer.start()
                try:
                    await self.end_async()
                finally:
                    if timer is not None:
                        timer.cancel()
                has_ended = True
        if not has_ended:  # else the end of the run would wait, and the loop with it
            self.give_up()

    async def end_async(self, inside: Run | None = None) -> None:
        """Do as ``wait`` while the loop goes on, and wait for what runs there, too; ``end`` is still to be called."""
        while True:
            contexts = list(self.loop_tasks.items())
            contexts = [(task, context) for task, context in contexts if not task.done()]  # Ctrl-C may have left some
            loop_tasks = {task for task, context in contexts if inside is None or is_inside(context, inside)}
            futures = [] if self.is_given_up else _submitted_in(inside, self._left())
            if not (loop_tasks or futures):
                return
            try:
                with Waiting(futures):
                    if loop_tasks:
                        import asyncio  # noqa: PLC0415 its loop runs, so it is there

                        await asyncio.wait(loop_tasks)
                    for future in futures:
                        await until_done(future)
            except CircularWait as error:
                self._give_up_ring(error)
            await sleep(0)

    def _give_up_ring(self, error: CircularWait) -> None:
        log(losses.logger, logging.ERROR, "A flow ends before what it has submitted: %s", error)
        self.give_up()

    def _left(self) -> list[Future[Any]]:
        """Return the futures of what has not ended, none of them locked by this thread any more."""
        futures = list(self.futures.values())
        for future in futures:
            future._condition.give_back()  # type: ignore[attr-defined]  # noqa: SLF001 it is one of ours
        return futures

    def _outside_of_loops(self) -> list[Future[Any]]:
        """Return the futures of what has not ended and runs on no loop."""
        return [future for future in self._left() if future.call is None or future.call.loop is None]

    @property
    def is_inherited(self) -> bool:
        """Whether it was made before this process was forked off: its threads are the parent's."""
        return self.started < forks.fork.clock

    def _tell_of_waiting(self) -> None:
        """Log what the end of a flow waits for: else one that was interrupted seems not to have heard of it."""
        futures = list(self.futures.values())
        if futures and not self.is_given_up:
            names = sorted({future.task_name for future in futures})
            log(losses.logger, logging.WARNING, _WAITS, len(futures), ", ".join(names[:3]) + ", …" * (len(names) > 3))

    def _tell_of_failures(self) -> None:
        """Log that tasks have failed whose futures nobody has asked: the flow has ended well all the same."""
        failures = [future for future in self.failures if not future.was_asked]
        if failures:
            error = failure_of(failures[0])
            log(
                losses.logger,
                logging.ERROR,
                "%d of the submitted tasks failed and nobody asked for the result; the first was %r: %s",
                len(failures),
                failures[0].task_name,
                error_text(type_name(error), recorded(error, _LENGTH)),
            )


def _submitted_in(run: Run | None, futures: "list[Future[Any]]") -> "list[Future[Any]]":
    """Return those of *futures* that were submitted inside of *run* and have not ended; all, if that is None."""
    if run is None:
        return futures
    return [future for future in futures if (call := future.call) is not None and is_inside(call.context, run)]


def _in_turn(by_thread: dict[int, deque[Callable[[], None]]], action: Callable[[], None]) -> None:
    """Do *action*, or leave it to the call of this function in this thread that is doing another one."""
    thread = get_ident()
    waiting = by_thread.get(thread)
    if waiting is not None:
        waiting.append(action)
        return
    waiting = by_thread[thread] = deque((action,))
    try:
        while waiting:
            waiting[0]()
            waiting.popleft()
    except BaseException:  # Ctrl-C: what waits for the rest would wait for ever; what was done is not done again
        while waiting:
            waiting[0]()
            waiting.popleft()
        raise
    finally:
        del by_thread[thread]
