"""``task.submit()`` and ``task.map()``: a call that waits for others, runs somewhere, and ends once."""

import concurrent.futures
import contextvars
import functools
from _thread import get_ident
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import INVALID_SPAN

from otelflow import semconv
from otelflow._core.flows import future_arguments, future_runners
from otelflow._core.flows.definition import Kind
from otelflow._core.flows.future import Future, FutureList, Submitted, ask
from otelflow._core.flows.future_groups import Group, MapRun
from otelflow._core.flows.future_inputs import first_failed
from otelflow._core.flows.future_owners import session_here
from otelflow._core.flows.future_session import Session, session_of_context
from otelflow._core.flows.future_states import assign, begin, failure_of, is_open, settle, tell_again, withdraw
from otelflow._core.policies.loops import submitted_here
from otelflow._core.process.asyncio_loop import running_loop
from otelflow._core.runs import spans
from otelflow._core.runs.endings import CANCELLED, Ending, ending_of, is_cancellation
from otelflow._core.runs.engine import close_run, open_run
from otelflow._core.text.safe_str import comes_from_outside
from otelflow.errors import UpstreamFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otelflow._core.runs.run import Run


class Call:
    """One call of a task that was submitted."""

    __slots__ = (
        "args", "blocked_on", "cancel_sent", "context", "definition", "future", "group", "index",
        "is_cancel_asked", "is_ended", "kwargs", "loop", "loop_task", "run_of_task", "session", "stop",
        "taker", "upstream", "waits_for",
    )  # fmt: skip

    def __init__(
        self,
        definition: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        upstream: list[Future[Any]],
        session: Session,
        group: Group | None = None,
        index: int = 0,
    ) -> None:
        self.definition = definition
        self.args = args
        self.kwargs = kwargs
        self.upstream = upstream
        self.session = session
        self.group = group
        self.index = index
        self.context = contextvars.copy_context() if group is None else group.context.copy()
        # Of a coroutine function, submitted where a loop runs that nobody blocks
        self.loop = running_loop() if definition.kind == Kind.COROUTINE and session.runs_on_loop else None
        #: The asyncio task that runs it; the coroutine itself, where a thread has a loop for it alone
        self.loop_task: Any = None
        #: What its body waits for, all of it
        self.blocked_on: Sequence[Future[Any]] = ()
        #: Cancels it where it was sent to, if it has not begun there, and tells whether that is so already
        self.cancel_sent: Any = None
        #: Tells the process where it runs to wait no longer
        self.stop: Any = None
        self.run_of_task: Run | None = None
        #: The thread that runs it, or tells why it does not run; 0 until one does
        self.taker = 0
        self.is_ended = self.is_cancel_asked = False
        self.waits_for = 0
        self.future: Future[Any] = Future(definition.name)
        assign(self.future, self)

    def begin(self) -> None:
        """Start it when everything that it waits for is there."""
        self.session.add(self)
        if self.upstream:
            self._start_after(self.upstream, len(self.upstream))
        else:
            self._start()

    def _start_after(self, upstream: list[Future[Any]], count: int) -> None:
        """Start it when the first *count* of *upstream* have ended: of thousands, it waits for one after the other."""
        while count and not is_open(upstream[count - 1]):
            count -= 1
        self.waits_for = count
        if count:
            upstream[count - 1].add_done_callback(lambda _: self._start_after(upstream, count))
        else:
            self._start()

    def _start(self) -> None:
        broken = first_failed(self.upstream)
        if broken is not None:
            self.session.skip_in_turn(functools.partial(self._skip, broken))
        elif self.loop is not None:
            future_runners.start_on_loop(self)
        else:
            self.session.start(self)

    # The ways in which it ends

    def help(self, *, may_run: bool) -> None:
        """Do what this thread would wait for itself: skip it, or run it if *may_run* and the thread is a runner's.

        What it waits for is run, or waited for, before: all threads of a runner may wait as this one does.
        """
        calls: list[Submitted] = [self] if may_run and self.session.is_kept_waiting() else []
        if self.waits_for and not calls:
            return
        while calls:
            future = next((future for future in calls[-1].upstream if not future.done()), None)
            if future is not None and future.call is not None:
                calls.append(future.call)
            elif future is not None:
                concurrent.futures.wait([future])
            elif (call := calls.pop()) is not self:
                call.help_ready(may_run=True)
                concurrent.futures.wait([call.future])
        self.help_ready(may_run=may_run)

    def help_in_thread(self) -> None:
        """Do as ``help`` in a thread beside this one, which goes on: it is a runner's, and waits."""
        session = self.session
        if self in session.unstarted and (self.loop is None or self.waits_for) and session.is_served_here():
            session.do_in_thread(functools.partial(self.help, may_run=True))

    def help_ready(self, *, may_run: bool) -> None:
        """Do as ``help`` when what it waits for has ended."""
        broken = first_failed(self.upstream)
        if broken is not None:
            self._skip(broken)
        elif may_run and self.session.is_kept_waiting() and self.loop is None:
            self.run()

    def take(self) -> bool:
        """Tell whether it has not begun: who asks first runs it, or tells why it does not run."""
        thread = get_ident()
        if self.taker:
            return False
        # No thread can come in between, and no Ctrl-C: see close_run().
        self.taker = thread
        self.session.unstarted.pop(self, None)
        return True

    def drop(self, error: BaseException) -> None:
        """End it with *error*, if this thread was to end it: as after Ctrl-C between any two steps."""
        if self.taker != get_ident() or self.is_ended:
            return
        is_told = not is_open(self.future)  # perhaps not to all that wait for it
        run = self.run_of_task
        if (run is None or not run.is_closed) and comes_from_outside(error):
            self._end_apart(ending_of(error, was_called=True))
        else:
            self.end(None, error)
        if is_told:
            tell_again(self.future)

    def give_up(self, error: BaseException) -> None:
        """End it with *error*, which has come while it was handed over, unless it runs."""
        self.drop(error)
        self.future.cancel()

    def run(self) -> None:
        """Run it in this thread, unless it has begun already."""
        try:
            if self.claim():
                self.context.run(self._run)
        except BaseException as error:
            self.drop(error)
            raise

    def claim(self) -> bool:
        """Tell whether the caller is to run or end it: it has not begun, and is not cancelled."""
        try:
            if not self.take():
                return False
            if begin(self.future):
                return True
            assign(self.future, None)  # who waits for it has just been told
            self._end_apart(CANCELLED)
        except BaseException as error:
            self.drop(error)
            raise
        return False

    def _run(self) -> None:
        session_of_context.set(self.session)
        submitted_here.set(self)
        try:
            value = self._drive()
            if self.definition.kind == Kind.COROUTINE:
                import asyncio  # noqa: PLC0415 only for coroutine functions

                self.loop_task = value
                value = asyncio.run(value)
            self.end(value, None)
        except BaseException as error:  # it is the future's, whatever it is
            if self.is_ended:
                raise
            self.drop(error)
        finally:
            submitted_here.set(None)  # or it would refer to itself by its context

    async def run_on_loop(self) -> None:
        """Run it on the loop of this task, unless it was cancelled before."""
        try:
            if not self.take():
                return
            submitted_here.set(self)
            self.end(await self._drive(), None)
        except BaseException as error:
            is_of_body = not self.is_ended
            try:
                self.drop(error)
            except BaseException as interrupt:  # Ctrl-C
                self.drop(interrupt)
                raise
            if not (is_of_body and isinstance(error, Exception)):
                raise
        finally:
            submitted_here.set(None)  # as above

    def _drive(self) -> Any:
        args, kwargs = self.args, self.kwargs
        if self.upstream:
            try:
                args, kwargs = future_arguments.resolved_arguments(self.definition.name, args, kwargs)
            except Exception as error:  # a class of the user's that takes no copy of itself
                self._span_of(Ending(semconv.ERROR, error))
                raise
        return self.definition.drive(self._new_run)(*args, **kwargs)

    def _new_run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        run = self.run_of_task = self.definition.new_run(args, kwargs)
        run.flow_run = run.flow_run or self.session.flow_run
        if self.upstream:
            run.links = [context for future in self.upstream if (context := future.span_context) is not None]
        if self.group is not None:
            run.parameters = {**(run.parameters or {}), semconv.TASK_MAP_INDEX: self.index}
        return run

    def end(self, value: Any, error: BaseException | None, result: str | None = None) -> None:
        """Be done, with *value* or *error*: the span first, then the future, then what waits for it.

        *result* is that of a run in another process.
        """
        try:
            if not self.is_ended:
                self.is_ended = True
                self._account(error, result)
        except BaseException:
            if self.group is not None:
                self.group.give_up()
            raise
        finally:  # also after Ctrl-C: who waits for the future would wait for ever
            self.args, self.kwargs, self.upstream, self.run_of_task, self.loop_task = (), {}, [], None, None
            self.blocked_on = ()
            if self.stop is not None:
                self.stop.clear()
            try:
                settle(self.future, value, error)
            except BaseException:  # what is done of it, is not done again
                settle(self.future, value, error)
                tell_again(self.future)
                raise
            finally:
                self.session.futures.pop(self, None)  # first: the end of the flow waits for what is in there
                self.session.unstarted.pop(self, None)

    def _account(self, error: BaseException | None, result: str | None) -> None:
        future, run = self.future, self.run_of_task
        if run is not None and run.is_closed:
            result = run.ending.result
            if run.span is not INVALID_SPAN:
                future.span_context = spans.context_of(run.span)
        if self.group is not None:
            self.group.ended(result or semconv.ERROR)
        is_failure = error is not None and not isinstance(error, UpstreamFailed) and not is_cancellation(error)
        if is_failure and self.session.flow_run is not None:  # the end of the flow tells of it
            self.session.failures.append(future)

    def cancelled(self) -> None:
        """Tell that it was cancelled before it ran, or stop it on its loop; the future is cancelled already."""
        try:
            if self.take():
                self._end_apart(CANCELLED)
            elif self.loop is not None:
                future_runners.cancel_on_loop(self)
        except BaseException as error:
            self.drop(error)
            raise

    def take_back(self) -> bool:
        """Cancel it, if an executor has it and has not begun it, else its retries; tell whether it was the former."""
        self.is_cancel_asked = True
        if self.stop is not None:
            self.stop.give()
        cancel_sent, self.cancel_sent = self.cancel_sent, None
        is_taken = cancel_sent is not None and cancel_sent()
        if is_taken:
            self.taken_back()
        return is_taken

    def taken_back(self) -> None:
        """Tell that another process has cancelled it before it began there."""
        if withdraw(self.future):  # else the flow was given up meanwhile
            self._end_apart(CANCELLED)
        self.session.futures.pop(self, None)

    def fail(self, error: Exception) -> None:
        """End it with *error*, which kept it from being run."""
        ending = Ending(semconv.ERROR, error)
        if self.claim():
            self._end_apart(ending)

    def _skip(self, upstream: Future[Any]) -> None:
        self.future.skipped_for = upstream
        if self.future.was_asked:
            ask(upstream)
        ending = Ending(semconv.SKIP, UpstreamFailed(self.definition.name, upstream.task_name, failure_of(upstream)))
        if self.claim():
            self._end_apart(ending)

    def _end_apart(self, ending: Ending) -> None:
        try:
            # Another thread may be in its context, to hand it over.
            self.context.copy().run(self.end_unrun, ending)
        except BaseException:  # as in end(): Ctrl-C may come before that
            if not self.is_ended:
                self.end(None, ending.error)
            raise

    def end_unrun(self, ending: Ending, started_ns: int = 0) -> None:
        """Make the span of a task that was never run, or that ran, since *started_ns*, in a process that is lost."""
        try:
            self._span_of(ending, started_ns)
        finally:  # as in end()
            self.end(None, ending.error)

    def _span_of(self, ending: Ending, started_ns: int = 0) -> None:
        run = self._new_run(self.args, self.kwargs)
        run.has_ended = not started_ns  # nobody is told that it runs
        try:
            open_run(run, started_ns)
            close_run(run, ending)
        except BaseException:  # Ctrl-C: what is done is not done again
            close_run(run, ending)
            raise


def submit(definition: Any, wait_for: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future[Any]:
    """Return the future of one call. Raises NotSubmittable."""
    future_arguments.check_submittable(definition, args)
    args, kwargs = future_arguments.whole_arguments(args, kwargs)
    if type(wait_for) is not tuple or wait_for:
        wait_for = future_arguments.checked_wait_for(definition.name, wait_for)
    call = Call(definition, args, kwargs, future_arguments.upstream_of(wait_for, args, kwargs), session_here())
    try:
        call.begin()
    except BaseException as error:
        call.give_up(error)
        raise
    return call.future


def submit_each(definition: Any, wait_for: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> FutureList[Any]:
    """Return the futures of one call for each row of arguments. Raises NotSubmittable."""
    future_arguments.check_submittable(definition, future_arguments.whole_arguments(args, {})[0])
    rows = future_arguments.rows_of(definition.name, args, kwargs)
    session = session_here()
    upstream = future_arguments.upstream_of(future_arguments.checked_wait_for(definition.name, wait_for), (), {})
    run = MapRun(definition.name, len(rows))
    calls: list[Call] = []
    try:
        group = Group(run, len(rows), session.lock)
        for index, row in enumerate(rows):
            own_args, own_kwargs = row[: len(args)], dict(zip(kwargs, row[len(args) :], strict=True))
            own = future_arguments.upstream_of((), own_args, own_kwargs)
            own_upstream = [*upstream, *own] if own else upstream  # one list for all that have no own
            calls.append(Call(definition, own_args, own_kwargs, own_upstream, session, group, index))
        futures = FutureList(call.future for call in calls)
        for call in calls:
            call.begin()
    except BaseException as error:
        for call in calls:
            call.give_up(error)
        if run.started_ns:
            close_run(run, ending_of(error, was_called=True))
        raise
    return futures
